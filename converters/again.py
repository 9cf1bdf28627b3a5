"""Converts a source once more: the line that made a data set, with other tiles."""
