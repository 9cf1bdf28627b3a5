"""Conversion of annotated pages: reads, cleans, tiles and writes the formats of public data sets.

Main path: :func:`conversion.convert` → :func:`formats.sources.open_source`, which opens a source
with the reader of its format → :func:`prepare.preparation.prepare` for each page → the writers in
:mod:`~converters.formats`, and finally :mod:`~converters.manifest`.
"""
