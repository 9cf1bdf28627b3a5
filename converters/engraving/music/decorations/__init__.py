"""Decorations of a score: marks on its notes, and passages between its bars."""
