"""Reads, cleans, tiles and writes annotated pages in the formats of the public data sets."""
