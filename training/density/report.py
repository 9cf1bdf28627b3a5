"""How crowded the images of a data set are, and what that asks of a training.

Music is denser than what detectors are tuned for: a page can hold thousands of symbols where
COCO has 7 an image, so defaults such as 300 detections cut most of it off, and memory grows with
the fullest image of a batch rather than with the average one.

Shapes: B images, N symbols in all of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.page import Page
from training.density.batches import BatchMax, batch_max
from training.density.stages import Spread, spread

MIN_MAX_DET = 300  # Ultralytics' default: never suggest less
MAX_DET_HEADROOM = 1.5
THIN_PX = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDensity:
    """Number and size of one class's symbols; sizes are None where there are none."""

    name: str
    count: int
    share: float
    """Of all symbols, 0 to 1."""
    median_width_px: float | None
    """At the training size."""
    median_height_px: float | None
    """At the training size."""
    under_2px: float | None
    """Share of its symbols whose smaller side is under 2 px at the training size, 0 to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """Settings that fit the data."""

    max_det: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DensityReport:
    """What :func:`analyze` found; None where there is no image."""

    n_images: int
    n_symbols: int
    imgsz: int
    batch: int
    symbols: Spread | None
    """Of the images as they are stored: tiles, where the data set is tiled."""
    symbols_page: Spread | None
    """Of the pages that the tiles were cut from; None where the images are no tiles."""
    batch_max: BatchMax | None
    classes: tuple[ClassDensity, ...]
    """Most frequent first."""
    suggest: Suggestion

    def to_json(self) -> dict[str, Any]:
        """Give nested dicts, lists and numbers."""
        return asdict(self) | {"classes": [asdict(row) for row in self.classes]}


def analyze(
    pages: Iterable[Page],
    names: Sequence[str],
    *,
    imgsz: int,
    batch: int,
    symbols_of_pages: Sequence[int] | None = None,
) -> DensityReport:
    """Measure how many symbols the images hold and how large they are in training.

    Args:
        pages: Images with their symbols; those without symbols count.
        names: Class names; a label is a place in this list.
        imgsz: Longer side of the network input in pixels.
        batch: Images a batch.
        symbols_of_pages: Where the images are tiles: the symbols of each page that was cut.

    Raises:
        ValueError: ``imgsz`` or ``batch`` is below 1, or a label is not in ``names``.
    """
    if imgsz < 1 or batch < 1:
        raise ValueError(f"imgsz and batch must be at least 1, got {imgsz} and {batch}")
    counts, labels, sizes = [], [np.empty(0, dtype=np.int64)], [np.empty((0, 2))]
    for page in pages:
        page.check_labels(len(names))
        counts.append(len(page.labels))
        labels.append(page.labels)
        sizes.append(_training_sizes(page, imgsz))
    n_symbols = np.array(counts, dtype=np.int64)  # (B,)
    most = int(n_symbols.max(initial=0))
    return DensityReport(
        n_images=len(n_symbols),
        n_symbols=int(n_symbols.sum()),
        imgsz=imgsz,
        batch=batch,
        symbols=spread(n_symbols),
        symbols_page=spread(symbols_of_pages or []),
        batch_max=batch_max(n_symbols, batch),
        classes=_classes(names, np.concatenate(labels), np.concatenate(sizes)),
        suggest=Suggestion(max_det=suggested_max_det(most)),
    )


def suggested_max_det(max_symbols: int) -> int:
    """Say how many detections to keep an image, so that no symbol is cut off.

    A detector ranks false candidates of one class above true ones of another, and a page to come
    may be fuller than any seen, so there is room for half as many again as the fullest image has
    symbols, in whole hundreds, and never for fewer than Ultralytics' default of 300.

    Args:
        max_symbols: Symbols of the fullest image, 0 where there is none.
    """
    return max(MIN_MAX_DET, ceil(MAX_DET_HEADROOM * max_symbols / 100) * 100)


def _training_sizes(page: Page, imgsz: int) -> NDArray[np.float64]:
    """Width and height of each symbol once the image is letterboxed to ``imgsz``, ``(N, 2)``."""
    sides: NDArray[np.float64] = page.boxes_xyxy[:, 2:] - page.boxes_xyxy[:, :2]
    return sides * (imgsz / max(page.width, page.height))


def _classes(
    names: Sequence[str], labels: NDArray[np.int64], sizes: NDArray[np.float64]
) -> tuple[ClassDensity, ...]:
    """One row a class, most frequent first, equal ones in the order of ``names``.

    Args:
        names: Class names.
        labels: Shape ``(N,)``.
        sizes: Width and height at the training size, shape ``(N, 2)``.
    """
    rows = []
    for label, name in enumerate(names):
        own = sizes[labels == label]
        width, height = np.median(own, axis=0).tolist() if len(own) else (None, None)
        rows.append(
            ClassDensity(
                name=name,
                count=len(own),
                share=len(own) / max(1, len(labels)),
                median_width_px=width,
                median_height_px=height,
                under_2px=float((own.min(axis=1) < THIN_PX).mean()) if len(own) else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: -row.count))
