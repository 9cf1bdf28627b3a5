"""Atomic writing of files and folders, overwrite protection, and the pool of worker processes."""
