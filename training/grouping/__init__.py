"""Suggests which classes should share a head, from the labels of a data set.

Main path: :mod:`~training.grouping.statistics` counts how classes occur together,
:mod:`~training.grouping.strategies` divides them, and :mod:`~training.grouping.suggestion`
chooses and explains the division.
"""
