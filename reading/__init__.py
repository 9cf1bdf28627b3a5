"""Reading of whole pages: everything except the network itself, without importing torch.

Main path: :func:`page_images.list_pages` finds the pages → :func:`page_reader.prepare` measures the
staff space (:mod:`~converters.prepare.staff_lines`), scales the page and cuts it into tiles
(:mod:`~reading.tiling`) → a :class:`~reading.network.Network` finds the symbols of each tile →
:func:`merging.merge` combines them into the symbols of the page.
"""
