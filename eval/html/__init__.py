"""HTML reports: page templates, plots, SVG shapes and number formats."""
