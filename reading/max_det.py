"""Limit of detections per image."""

from math import ceil

MIN_MAX_DET = 300
"""Ultralytics' default, and the minimum suggestion."""
MAX_DET_HEADROOM = 1.5


def suggested_max_det(max_symbols: int) -> int:
    """Suggest how many detections to keep per image, so that no symbol is lost.

    A detector may rank false detections of one class above true ones of another, and later pages
    may be fuller than any page so far. The limit is therefore one and a half times the number of
    symbols in the fullest image, in whole hundreds, and at least Ultralytics' default of 300.

    Args:
        max_symbols: Symbols of the fullest image; 0 without images.
    """
    return max(MIN_MAX_DET, ceil(MAX_DET_HEADROOM * max_symbols / 100) * 100)
