"""Data sets, loaded for training.

Main path: :mod:`~training.data.multi_dataset` combines the data sets and their classes,
:mod:`~training.data.label_files` reads the labels, :mod:`~training.data.dataset` loads images,
:mod:`~training.data.augmentation` transforms them, and :mod:`~training.data.sampling` draws them in
a reproducible order.
"""
