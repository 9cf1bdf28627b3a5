"""Detection metrics, computed by hotcoco, or by pycocotools as its reference.

Main paths: :func:`coco.evaluate` → :func:`matching.pair_pages` → :func:`backends.run` →
:class:`eval.reports.detection.DetectionReport`; :func:`evaluation.evaluate_in_depth` →
:class:`eval.reports.evaluation.EvaluationReport`; :func:`comparison.compare_runs` →
:class:`eval.reports.comparison.ComparisonReport`.
"""
