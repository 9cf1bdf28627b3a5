"""Checks of labels: each rule looks for the figures that betray one kind of label bug.

Main path: :func:`rules.lint` streams the pages of a data set through the checks of all rules, and
returns a :class:`findings.LintReport`. A check keeps counts and a few examples, never the pages.
"""
