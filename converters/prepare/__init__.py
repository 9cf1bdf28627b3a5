"""Preparation of pages: takes one annotated page and writes the images and labels made from it.

Main path: :func:`preparation.prepare` runs :func:`cleaning.clean`, :func:`scaling.scale` and
:func:`tiles.cut` on a page; :mod:`~converters.prepare.splits` chooses the pages to hold out.
"""
