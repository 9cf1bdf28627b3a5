"""Symbols per image at each stage between annotation and network input.

Cleaning removes symbols from a page, tiling divides them and duplicates those in overlaps, and
augmentation crops and combines images. The counts per stage show where crowding arises.

Shapes: I images or pages of a stage.
"""

import numpy as np
from numpy.typing import ArrayLike

from converters.manifest import ConvertedPages
from eval.reports.density_figures import PipelineStage, SymbolSpread

AS_LABELLED = "as labelled"
"""Pages as annotated by the authors of the data set."""
AFTER_CLEANING = "after cleaning"
"""Pages with the symbols that class map and cleaning kept."""
AFTER_TILING = "after tiling"
"""Stored images of a conversion that cut pages into tiles."""
AS_STORED = "as stored"
"""Stored images that are not known to be tiles."""
AS_TRAINED = "as trained"
"""Images as the network receives them, after mosaic, translation and scaling."""


def pipeline_stages(
    stored: ArrayLike, trained: ArrayLike, pages: ConvertedPages | None = None
) -> tuple[PipelineStage, ...]:
    """Return the stages of a data set, from annotation to network input.

    Args:
        stored: Symbols per stored image, shape ``(I,)``.
        trained: Symbols per training image, shape ``(I,)``, as returned by
            :func:`training.density.simulated_augmentation.simulate_draws`.
        pages: Pages of the conversion that made the data set; None if it is not known, or for
            several data sets, to return only the last two stages.
    """
    tiled = pages is not None and pages.are_cut
    return (
        *(_page_stages(pages, stored) if pages else ()),
        pipeline_stage(AFTER_TILING if tiled else AS_STORED, stored),
        pipeline_stage(AS_TRAINED, trained),
    )


def pipeline_stage(name: str, n_symbols: ArrayLike) -> PipelineStage:
    """Describe a stage whose images are all known.

    Args:
        name: Name of the stage.
        n_symbols: Symbols per image, shape ``(I,)``.
    """
    values, n_images = np.unique(np.asarray(n_symbols, dtype=np.int64), return_counts=True)
    symbols = symbol_spread(n_symbols)
    return PipelineStage(
        name=name,
        n_images=int(n_images.sum()),
        mean=symbols.mean if symbols else None,
        symbols=symbols,
        histogram=tuple(zip(values.tolist(), n_images.tolist(), strict=True)),
    )


def symbol_spread(n_symbols: ArrayLike) -> SymbolSpread | None:
    """Return mean and percentiles of the symbols per image, or None without images.

    Args:
        n_symbols: Symbols per image, shape ``(I,)``.
    """
    counts = np.asarray(n_symbols)
    if not counts.size:
        return None
    p50, p95, p99 = np.percentile(counts, [50, 95, 99], method="inverted_cdf").tolist()
    return SymbolSpread(mean=float(counts.mean()), p50=p50, p95=p95, p99=p99, max=int(counts.max()))


def _page_stages(pages: ConvertedPages, stored: ArrayLike) -> tuple[PipelineStage, PipelineStage]:
    """Describe the two stages before tiling; uncut pages have the symbols of their images."""
    labelled = PipelineStage(
        name=AS_LABELLED,
        n_images=pages.n_pages,
        mean=pages.mean_annotations,
        symbols=None,
        histogram=(),
    )
    if pages.annotations is not None:
        labelled = pipeline_stage(AS_LABELLED, pages.annotations)
    cleaned = stored if pages.symbols is None else pages.symbols
    return labelled, pipeline_stage(AFTER_CLEANING, cleaned)
