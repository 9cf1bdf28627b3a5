"""Reports: dataclasses with the figures of a report, and web pages drawn from them.

Main path: :func:`training.density.report.analyze` fills a :class:`density_report.DensityReport`,
from which :func:`density.write_density_report` draws the page of ``omr analyze-density``.
:func:`page_viewer.write_page_viewer` writes pages and their symbols as an HTML file to zoom and
filter. :func:`evaluation_files.write_evaluation_report` writes an
:class:`evaluation.EvaluationReport`, which contains a :class:`detection.DetectionReport`, as a web
page, Markdown and JSON; :func:`evaluation_priorities.work_next` chooses the classes to work on.
"""
