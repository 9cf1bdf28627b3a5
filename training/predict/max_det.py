"""How many detections to keep an image."""

from math import ceil

MIN_MAX_DET = 300
"""Ultralytics' default: never suggest less."""
MAX_DET_HEADROOM = 1.5


def suggested_max_det(max_symbols: int) -> int:
    """Say how many detections to keep an image, so that no symbol is cut off.

    A detector ranks false candidates of one class above true ones of another, and a page to come
    may be fuller than any seen, so there is room for half as many again as the fullest image has
    symbols, in whole hundreds, and never for fewer than Ultralytics' default of 300.

    Args:
        max_symbols: Symbols of the fullest image, 0 where there is none.
    """
    return max(MIN_MAX_DET, ceil(MAX_DET_HEADROOM * max_symbols / 100) * 100)
