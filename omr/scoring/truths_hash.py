"""Hash of ground truth, by which two evaluations recognise the same pages."""

import hashlib
from collections.abc import Sequence

import numpy as np

from converters.page import Page

TRUTH_DIGITS = 2
"""Decimal places of ground-truth boxes, in pixels, that the hash covers."""


def hash_of_pages(pages: Sequence[Page]) -> str:
    """Hash the symbols of pages or tiles, to a hundredth of a pixel."""
    digest = hashlib.sha256()
    images = [page.image for page in pages]
    for page in map(pages.__getitem__, sorted(range(len(pages)), key=images.__getitem__)):
        rows = np.column_stack([page.labels, page.boxes_xyxy]).round(TRUTH_DIGITS) + 0.0  # no -0
        rows = rows[np.lexsort(rows.T)]
        digest.update(f"{page.image} {page.width} {page.height} {len(rows)}\n".encode())
        digest.update(rows.astype("<f8").tobytes())
    return digest.hexdigest()
