"""Contact sheets: crops of the symbols of each class and source, for looking through a data set.

Main path: :class:`selection.Selector` chooses boxes while the labels are read,
:func:`crops.cut_crops` cuts them out of their pages at equal staff space, and
:func:`sheets.write_sheets` arranges them in pictures and in an HTML index.
"""
