"""Recipes of the models that come with omr, and the command that follows them.

Main path: :func:`run.main` reads a recipe such as ``harmony-tiny.yaml`` and runs its ``omr``
commands. The package is not installed with omr.
"""
