"""Scores predictions against ground truth. Needs no torch."""
