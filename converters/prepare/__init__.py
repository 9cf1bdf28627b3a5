"""Preparation of pages: one page in, the images with labels made from it out.

Main path: :mod:`~converters.prepare.preparation` takes a page through
:mod:`~converters.prepare.cleaning`, scaling and :mod:`~converters.prepare.tiles`;
:mod:`~converters.prepare.splits` holds pages out.
"""
