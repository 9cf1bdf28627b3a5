"""Small engraved pages for tests."""

from pathlib import Path
from typing import Any

from converters.engraving.dataset import EngravingOptions, engrave
from converters.engraving.pages import PageOptions


def engraved_pages(
    folder: Path,
    *,
    pages: int,
    width: int = 500,
    height: int = 600,
    **page_options: Any,  # noqa: ANN401
) -> Path:
    """Engrave pages, each a separate piece, into ``folder`` and return the folder."""
    page = PageOptions(width=width, height=height, **page_options)
    engrave(folder, EngravingOptions(pages=pages, page=page))
    return folder
