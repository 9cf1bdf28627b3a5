"""Losses of a detection head, computed from a flat list of positives.

Main path: :func:`detection.detection_criterion` creates a :class:`detection.DetectionLoss`, whose
assigner comes from :func:`assigner_factory.make_assigner`; each step calls
:meth:`detection.DetectionLoss.loss` → :class:`head_outputs.HeadOutputs` → the assigner →
:meth:`class_terms.ClassTerm.total`.
"""
