"""Building blocks of HTML reports: page, plots, SVG shapes, number format."""
