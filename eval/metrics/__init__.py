"""Detection metrics: average precision per class, computed by pycocotools.

Main path: :func:`coco.evaluate` → :func:`matching.pair_pages` → pycocotools' ``COCOeval`` →
:class:`eval.reports.detection.DetectionReport`.
"""
