"""Suggests which classes should share a head, from the labels of a data set."""
