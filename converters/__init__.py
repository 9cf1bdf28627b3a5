"""Conversion of annotated pages: reads, cleans, tiles and writes the formats of public data sets.

Main path: :func:`conversion.convert` opens a source with :mod:`~converters.formats`, prepares its
pages with :mod:`~converters.prepare`, and writes the data set and its :mod:`~converters.manifest`.
"""
