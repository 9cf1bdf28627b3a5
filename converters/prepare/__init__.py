"""Preparation of pages: takes one annotated page and writes the images and labels made from it.

Main path: :func:`preparation.prepare` → :func:`cleaning.clean` → :func:`scaling.scale` →
:func:`tiles.cut` → :func:`converters.formats.yolo.write_labels`. Which pages are held out was
decided before, by :func:`splits.held_out`.
"""
