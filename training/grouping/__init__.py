"""Class grouping: suggests which classes should share a head, from the labels of a data set.

Main path: :mod:`~training.grouping.statistics` counts how classes occur together,
:mod:`~training.grouping.strategies` divides them into groups, and
:mod:`~training.grouping.suggestion` selects a strategy and describes its result.
"""
