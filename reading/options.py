"""Options of page reading and their defaults, importable without heavy packages."""

from dataclasses import dataclass

from converters.names import MAX_PIXELS

DEFAULT_CONF = 0.25
"""Confidence threshold for weights that record none."""
DEFAULT_DPI = 300
"""Resolution in which pages of PDF files are drawn."""
PAGES_AHEAD = 2
"""Pages that are decoded while earlier ones are read; more would need memory and gain nothing."""
AUTO, NONE = "auto", "none"
"""Values of ``--staff-space``: measure it, and do not scale the page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageOptions:
    """How page images are decoded."""

    dpi: int = DEFAULT_DPI
    """Resolution in which pages of PDF files are drawn."""
    max_pixels: int = MAX_PIXELS
    """Largest number of pixels of a page."""
