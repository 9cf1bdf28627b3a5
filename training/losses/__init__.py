"""Losses of a detection head, from flat assignments."""
