"""Division of a large file of annotations by its pages, so that it need not be read as a whole.

Pages are read in the order of ``images``. Their annotations are found in a first pass over the
file, which decodes only the ids: they need not be in the same order, but those of a page should be
together.

Shapes: N annotations of a chunk or file, R runs: consecutive annotations of the same page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from converters.files.process_pool import in_order
from converters.formats import deepscores_tables
from converters.formats.annotation_spans import Batch
from converters.formats.deepscores_json import Id
from converters.formats.deepscores_tables import (
    MALFORMED,
    NEXT_ANNOTATION,
    Chunk,
    gc_disabled,
    integers,
)

MOST_PAGES = 100
"""Largest number of pages of a batch."""
MOST_RUNS = 4
"""Runs per page up to which a file is divided; above, its annotations are in no order."""


class _ImageId(msgspec.Struct, gc=False):
    img_id: Id


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Runs:
    """Runs of a chunk."""

    ids: NDArray[np.int64]
    """Annotation ids, shape ``(N,)``."""
    images: NDArray[np.int64]
    """Image id of each run, shape ``(R,)``."""
    counts: NDArray[np.int64]
    """Number of annotations of each run, shape ``(R,)``."""
    ranges: NDArray[np.int64]
    """Start and stop of each run in bytes, shape ``(R, 2)``."""


def batches_of(
    chunks: Sequence[Chunk], row_of_image: Mapping[int, int], workers: int
) -> tuple[Batch, ...]:
    """Divide the pages of a file into batches with at most about ``CHUNK_BYTES`` of annotations.

    Args:
        chunks: All annotations of the file.
        row_of_image: Index of each page by the id of its image.
        workers: Number of processes that read the file.

    Returns:
        All pages in order; empty if the file has to be read as a whole: its annotations are
        malformed or contain objects, an id is a duplicate or unknown, or they are in no order.
    """
    try:
        of_chunks = [*in_order(_runs, chunks, workers)]
    except (InputError, *MALFORMED):
        return ()
    complete = [runs for runs in of_chunks if runs]
    images = np.concatenate([runs.images for runs in complete] or [np.empty(0, np.int64)])
    rows = np.array([row_of_image.get(image, -1) for image in images.tolist()], np.int64)
    if (
        len(complete) < len(chunks)
        or (rows < 0).any()
        or len(rows) > MOST_RUNS * len(row_of_image) + len(chunks)
        or _has_duplicate([runs.ids for runs in complete])
    ):
        return ()
    counts = np.concatenate([runs.counts for runs in complete])
    ranges = np.concatenate([runs.ranges for runs in complete])
    return tuple(_batches(rows, counts, ranges, len(row_of_image)))


def _runs(chunk: Chunk) -> _Runs | None:
    """Find the runs of a chunk; None if annotations contain objects, or a key is unusual."""
    text = chunk.text()
    with gc_disabled():
        decoded = msgspec.json.decode(text, type=dict[str, _ImageId])
        images = integers([row.img_id for row in decoded.values()], decoded, chunk.path, "img_id")
        keys = [*decoded]
        ids = integers(keys, keys, chunk.path, "")
        boundaries = [match.span() for match in NEXT_ANNOTATION.finditer(text)]
    if len(boundaries) + 1 != len(keys):
        return None
    places = zip(boundaries, keys[1:], strict=True)
    if not all(text.startswith(b'"%b"' % key.encode(), stop) for (_, stop), key in places):
        return None
    first = np.flatnonzero(np.diff(images, prepend=-1))  # (R,) annotation that begins each run
    last = np.append(first[1:], len(images)) - 1
    [(offset, end)] = chunk.ranges
    spans = np.array(boundaries, np.int64).reshape(-1, 2) + (offset - 1)  # in the file
    starts, stops = np.append(offset, spans[:, 1]), np.append(spans[:, 0] + 1, end)  # (N,)
    return _Runs(
        ids=ids,
        images=images[first],
        counts=last - first + 1,
        ranges=np.stack((starts[first], stops[last]), axis=1),
    )


def _has_duplicate(ids: Sequence[NDArray[np.int64]]) -> bool:
    ascending = np.concatenate(ids)
    ascending.sort()
    return bool((ascending[1:] == ascending[:-1]).any())


def _batches(
    rows: NDArray[np.int64],
    counts: NDArray[np.int64],
    ranges: NDArray[np.int64],
    n_pages: int,
) -> list[Batch]:
    """Divide pages by the size of their annotations.

    Args:
        rows: Index of the page of each run, shape ``(R,)``.
        counts: Number of annotations of each run, shape ``(R,)``.
        ranges: Start and stop of each run, in the order of the file, shape ``(R, 2)``.
        n_pages: Number of pages.
    """
    n_bytes = np.bincount(rows, ranges[:, 1] - ranges[:, 0], n_pages)
    before = np.cumsum(n_bytes) - n_bytes  # (pages,)
    number = (before // deepscores_tables.CHUNK_BYTES).astype(np.int64)
    number += np.arange(n_pages) // MOST_PAGES
    bounds = [*np.flatnonzero(np.diff(number, prepend=-1)).tolist(), n_pages]
    by_page = np.argsort(rows, kind="stable")
    run_bounds = np.searchsorted(rows[by_page], bounds)
    batches = []
    for i, (first, stop) in enumerate(pairwise(bounds)):
        runs = np.sort(by_page[run_bounds[i] : run_bounds[i + 1]])
        batches.append(
            Batch(
                first=first,
                stop=stop,
                n_annotations=int(counts[runs].sum()),
                ranges=_joined(runs, ranges),
            )
        )
    return batches


def _joined(runs: NDArray[np.int64], ranges: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Return the ranges of runs, in which runs that follow each other are one range."""
    groups = np.split(runs, np.flatnonzero(np.diff(runs) > 1) + 1) if len(runs) else []
    return tuple((int(ranges[group[0], 0]), int(ranges[group[-1], 1])) for group in groups)
