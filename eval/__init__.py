"""Evaluation of predictions against ground truth, pictures of pages, and HTML reports.

Main path: :func:`omr.scoring.score.score_model` → :func:`metrics.coco.evaluate` →
:class:`reports.detection.DetectionReport`, with :func:`pictures.contact_sheet.compare` for the
picture. The package does not import torch.
"""
