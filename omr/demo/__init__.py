"""The demo: runs every command once on a small data set and reports the outcome.

Main path: :mod:`~omr.demo.pipeline` inspects the user's pages (:mod:`~omr.demo.source`) or engraves
some, runs the commands in a folder (:mod:`~omr.demo.folder`), and writes ``REPORT.md``
(:mod:`~omr.demo.report`). For training on several data sets, it draws coloured shapes
(:mod:`~omr.demo.shapes`).
"""
