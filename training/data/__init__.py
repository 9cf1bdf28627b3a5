"""Data sets as a training loads them.

Main path: :mod:`~training.data.multi_dataset` joins the data sets and their classes,
:mod:`~training.data.dataset` loads images and labels, :mod:`~training.data.augmentation` changes
them, and :mod:`~training.data.sampling` draws them in a reproducible order.
"""
