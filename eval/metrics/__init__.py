"""Detection metrics: average precision per class, computed by hotcoco or pycocotools.

Main path: :func:`coco.evaluate` → :func:`matching.pair_pages` → :func:`backends.run` →
:class:`eval.reports.detection.DetectionReport`.
"""
