"""How crowded the images of a data set are, and what that asks of a training.

Music is denser than what detectors are tuned for: a page can hold thousands of symbols where
COCO has 7 an image, so defaults such as 300 detections cut most of it off, and memory grows with
the fullest image of a batch rather than with the average one.

Shapes: B images, N symbols in all of them, K different numbers of symbols.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from converters.page import Page

MIN_MAX_DET = 300  # Ultralytics' default: never suggest less
MAX_DET_HEADROOM = 1.5
THIN_PX = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Symbols an image; percentiles are numbers that occur, not interpolated."""

    mean: float
    p50: int
    p95: int
    p99: int
    max: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchMax:
    """The most symbols in any image of a batch drawn at random."""

    expected: float
    p999: int
    """Only one batch in a thousand holds an image with more."""


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
        symbols=_spread(n_symbols),
        symbols_page=_spread(symbols_of_pages or []),
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


def batch_max(n_symbols: ArrayLike, batch: int) -> BatchMax | None:
    """Predict the most symbols in any image of a batch.

    Images are taken as drawn independently, so with F the share of images with at most x symbols
    the largest of ``batch`` is at most x with probability ``F(x) ** batch``. Augmentations that
    join images, such as mosaic, are not in it.

    Args:
        n_symbols: Symbols of each image, shape ``(B,)``.
        batch: Images a batch.

    Returns:
        None where there is no image.

    Source: H. A. David, H. N. Nagaraja, Order Statistics, 3rd ed., 2003, section 2.1.
    """
    values, n_images = np.unique(np.asarray(n_symbols), return_counts=True)  # (K,), (K,)
    if not len(values):
        return None
    at_most = (np.cumsum(n_images) / n_images.sum()) ** batch  # (K,), ends with exactly 1
    return BatchMax(
        expected=float(values @ np.diff(at_most, prepend=0.0)),
        p999=int(values[np.searchsorted(at_most, 0.999)]),
    )


def _training_sizes(page: Page, imgsz: int) -> NDArray[np.float64]:
    """Width and height of each symbol once the image is letterboxed to ``imgsz``, ``(N, 2)``."""
    sides: NDArray[np.float64] = page.boxes_xyxy[:, 2:] - page.boxes_xyxy[:, :2]
    return sides * (imgsz / max(page.width, page.height))


def _spread(n_symbols: ArrayLike) -> Spread | None:
    counts = np.asarray(n_symbols)
    if not counts.size:
        return None
    p50, p95, p99 = np.percentile(counts, [50, 95, 99], method="inverted_cdf").tolist()
    return Spread(mean=float(counts.mean()), p50=p50, p95=p95, p99=p99, max=int(counts.max()))


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
