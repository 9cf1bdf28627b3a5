"""How many symbols an image holds at each stage, from the labels to the network.

A page loses symbols to cleaning, tiles divide them and show some twice, and augmentation cuts some
off and joins images. Which stage is how full says where to begin when it is too full.

Shapes: I images or pages of a stage.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from converters.manifest import ConvertedPages

AS_LABELLED = "as labelled"
"""Pages as the data set's authors labelled them."""
AFTER_CLEANING = "after cleaning"
"""Pages with what the class map and the cleaning left."""
AFTER_TILING = "after tiling"
"""Images as they are stored, where a conversion cut pages."""
AS_STORED = "as stored"
"""The same where none is known to have cut them."""
AS_TRAINED = "as trained"
"""Images as the network sees them, after mosaic, shifts and sizes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Symbols an image; percentiles are numbers that occur, not interpolated."""

    mean: float
    p50: int
    p95: int
    p99: int
    max: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """How full images or pages are at one stage."""

    name: str
    n_images: int
    """Images or pages."""
    mean: float | None
    """Symbols an image; None where there is no image."""
    symbols: Spread | None
    """None where there is no image, or where only the mean is known."""
    histogram: tuple[tuple[int, int], ...]
    """Numbers of symbols that occur, rising, and how many images have each; empty where only the
    mean is known."""


def stages(
    stored: ArrayLike, trained: ArrayLike, pages: ConvertedPages | None = None
) -> tuple[Stage, ...]:
    """Put the stages of a data set in their order.

    Args:
        stored: Symbols of each image as it is stored, shape ``(I,)``.
        trained: Symbols of each image as it is trained, shape ``(I,)``, as
            :func:`training.density.simulated_augmentation.as_trained` gives them.
        pages: Of the conversion that made the data set; None where nobody knows of one, or where
            several data sets are trained on together: then there are but the last two stages.
    """
    tiled = pages is not None and pages.are_cut
    return (
        *(_of_pages(pages, stored) if pages else ()),
        stage(AFTER_TILING if tiled else AS_STORED, stored),
        stage(AS_TRAINED, trained),
    )


def stage(name: str, n_symbols: ArrayLike) -> Stage:
    """Describe a stage whose images are all known.

    Args:
        name: What it is called.
        n_symbols: Symbols of each image, shape ``(I,)``.
    """
    numbers, n_images = np.unique(np.asarray(n_symbols, dtype=np.int64), return_counts=True)
    symbols = spread(n_symbols)
    return Stage(
        name=name,
        n_images=int(n_images.sum()),
        mean=symbols.mean if symbols else None,
        symbols=symbols,
        histogram=tuple(zip(numbers.tolist(), n_images.tolist(), strict=True)),
    )


def spread(n_symbols: ArrayLike) -> Spread | None:
    """Describe how many symbols images have; None where there is no image.

    Args:
        n_symbols: Symbols of each image, shape ``(I,)``.
    """
    counts = np.asarray(n_symbols)
    if not counts.size:
        return None
    p50, p95, p99 = np.percentile(counts, [50, 95, 99], method="inverted_cdf").tolist()
    return Spread(mean=float(counts.mean()), p50=p50, p95=p95, p99=p99, max=int(counts.max()))


def _of_pages(pages: ConvertedPages, stored: ArrayLike) -> tuple[Stage, Stage]:
    """The stages before a page became images; where it became one, that one has its symbols."""
    labelled = Stage(
        name=AS_LABELLED,
        n_images=pages.n_pages,
        mean=pages.mean_annotations,
        symbols=None,
        histogram=(),
    )
    if pages.annotations is not None:
        labelled = stage(AS_LABELLED, pages.annotations)
    cleaned = stored if pages.symbols is None else pages.symbols
    return labelled, stage(AFTER_CLEANING, cleaned)
