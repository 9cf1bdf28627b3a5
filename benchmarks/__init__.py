"""Figures with the commands that made them."""
