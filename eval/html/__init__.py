"""HTML reports: page templates, plots, SVG shapes and number formats.

Main path: :func:`eval.reports.density.density_page` draws its plots with :mod:`~eval.html.plots`,
which compose shapes of :mod:`~eval.html.svg`, and passes them to :func:`page.render`, which fills a
template of this folder. ``viewer/`` contains the page viewer that
:func:`eval.reports.page_viewer.write_page_viewer` fills.
"""
