"""Preparation of pages: one annotated page is cleaned, scaled, cut into tiles and written.

Main path: :func:`preparation.prepare` → :func:`cleaning.clean` → :func:`scaling.scale` →
:func:`tiles.cut` → :func:`converters.formats.yolo.write_labels`. Which pages are held out was
decided before, by :func:`splits.held_out`.
"""
