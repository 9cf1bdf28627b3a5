"""Pictures of pages with their boxes.

Main path: :func:`contact_sheet.compare` draws truths next to predictions for ``omr eval``, and
:func:`annotated_page.annotated_page` a single page for ``omr show``, its names placed by
:func:`label_placement.place_labels`. Both draw with :mod:`~eval.pictures.drawing`.
"""
