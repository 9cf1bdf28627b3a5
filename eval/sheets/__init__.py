"""Contact sheets: crops of the symbols of each class and source, for looking through a data set.

Main path: :class:`selection.Selector` chooses among the candidates that are found while the labels
are read or written, :func:`crops.cut_crops` cuts them out of their pages at equal staff space, and
:mod:`sheet_files` writes them as pictures with an HTML index, or as one HTML page.
"""
