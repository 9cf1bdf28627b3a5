"""Hash of ground truth, by which two evaluations recognise the same pages."""

import hashlib
from collections.abc import Iterable

import numpy as np

from converters.page import Page

TRUTH_DIGITS = 2
"""Decimal places of ground-truth boxes, in pixels, that the hash covers."""


def hash_of_pages(pages: Iterable[Page]) -> str:
    """Hash the symbols of pages or tiles, to a hundredth of a pixel."""
    digest = hashlib.sha256()
    for page in sorted(pages, key=lambda page: page.image):
        rows = np.column_stack([page.labels, page.boxes_xyxy]).round(TRUTH_DIGITS) + 0.0  # no -0
        rows = rows[np.lexsort(rows.T)]
        digest.update(f"{page.image} {page.width} {page.height} {len(rows)}\n".encode())
        digest.update(rows.astype("<f8").tobytes())
    return digest.hexdigest()
