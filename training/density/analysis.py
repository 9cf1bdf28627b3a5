"""Analysis of the labels of a planned training run: crowding, symbol sizes, maximum recall.

All figures follow from the labels and the shape of the model's head. :mod:`training.memory`
predicts the GPU memory of a step, and :mod:`training.density.report` combines both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from converters.manifest import converted_pages
from eval.reports.density_figures import AnchorCompetition, PipelineStage, SymbolSpread
from settings.head_config import HeadConfig
from training.config import TrainConfig
from training.data.multi_dataset import MultiDataset
from training.density.anchors import ClassAnchors, anchor_competition, anchor_rows
from training.density.crowding import SPLIT, Crowding, read_labels
from training.density.initial_weights import InitialWeightAnalysis, initial_weights
from training.density.pipeline_counts import pipeline_stages, symbol_spread
from training.density.representation import MaximumRecall, head_settings, maximum_recall
from training.density.sizes import ClassSizes, largest_tile, least_scale, size_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadForm:
    """Properties of a model's head that determine its boxes."""

    strides: tuple[int, ...]
    """Pixels per cell of each level, finest first."""
    reg_max: int
    """Number of distance bins (DFL) in Ultralytics' head; 1 for a head without distance bins."""
    heads: HeadConfig | None = None
    """Groups of classes; None for a single head."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelAnalysis:
    """Analysis of the training labels; sequences over classes are in the order of the names."""

    names: tuple[str, ...]
    symbols: SymbolSpread | None
    """Symbols per stored image, that is, per tile of a tiled data set; None without images."""
    stages: tuple[PipelineStage, ...]
    sizes: tuple[ClassSizes, ...]
    scale: Mapping[str, float | None]
    """Required magnification by class, see :func:`training.density.sizes.least_scale`."""
    tiles: Mapping[str, float]
    """Required tile side by class, see :func:`training.density.sizes.largest_tile`."""
    anchors: tuple[ClassAnchors, ...]
    competition: AnchorCompetition
    """Competition for anchor points, its matrix in the order of the names."""
    maximum_recall: MaximumRecall
    initial_weights: InitialWeightAnalysis
    crowding: Crowding

    @property
    def n_images(self) -> int:
        """Number of stored images in the split."""
        return len(self.crowding.stored)

    @property
    def n_symbols(self) -> int:
        """Number of symbols in all stored images."""
        return sum(row.count for row in self.sizes)


def analyze_labels(
    config: TrainConfig, multi_dataset: MultiDataset, form: HeadForm
) -> LabelAnalysis:
    """Analyse the labels of the ``train`` split.

    Args:
        config: Configuration of the planned training run.
        multi_dataset: Data sets to train on.
        form: Properties of the model's head.

    Raises:
        ConfigError: The groups do not match the classes.
        InputError: A data set cannot be read, or contains an unknown label.
    """
    names = unique_names(multi_dataset.names)
    labels = read_labels(config, multi_dataset, form.strides)
    symbols, crowding, points = labels.symbols, labels.crowding, labels.points
    rows = size_rows(symbols, names)
    dataset = multi_dataset.sources[0].dataset if len(multi_dataset.sources) == 1 else None
    return LabelAnalysis(
        names=names,
        symbols=symbol_spread(crowding.stored),
        stages=pipeline_stages(
            crowding.stored, crowding.trained, converted_pages(dataset, SPLIT) if dataset else None
        ),
        sizes=rows,
        scale=least_scale(symbols, names),
        tiles=largest_tile(symbols, labels.stored, names),
        anchors=anchor_rows(symbols, names, form.strides, points),
        competition=anchor_competition(symbols, names, form.strides, form.heads),
        maximum_recall=maximum_recall(
            symbols, names, head_settings(form.strides, form.reg_max), {form.strides: points}
        ),
        initial_weights=initial_weights(
            rows,
            form.strides,
            heads=form.heads,
            options=config.loss_options(),
            reg_max=form.reg_max,
            size_prior=config.size_prior,
        ),
        crowding=crowding,
    )


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Append the label to class names that occur more than once.

    Args:
        names: Class names, indexed by label.
    """
    return tuple(
        f"{name} ({label})" if names.count(name) > 1 else name for label, name in enumerate(names)
    )
