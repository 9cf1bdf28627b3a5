"""Formats of annotated data sets: each module reads or writes one of them."""
