"""Prediction with a trained detector.

Main path: :mod:`~training.predict.image_batches` decodes images,
:mod:`~training.predict.detector` runs the network, and :mod:`~training.predict.detections`
thresholds its output and removes duplicates.
"""
