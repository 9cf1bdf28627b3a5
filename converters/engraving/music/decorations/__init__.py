"""Decorations of a score: marks on its notes, and passages between its bars.

Main path: :func:`converters.engraving.music.decoration.decorate` → :func:`clefs.change_clefs` →
:func:`passages.insert_passages` → :func:`lanes.read_lanes` → the functions of :data:`marks.MARKS`
and :data:`lines.LINES`, which write with a :class:`marker.Marker`.
"""
