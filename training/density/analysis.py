"""Looks at a training's data as the network will see it: how full, how small, what cannot be.

Everything here follows from the labels and the form of the model's head. What a training step needs
of a GPU is :mod:`training.memory`'s, and both come together in :mod:`training.density.report`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from converters.manifest import converted_pages
from training.config import TrainConfig
from training.data.multi_dataset import MultiDataset
from training.density.anchors import ClassAnchors, Contest, anchor_rows, contest
from training.density.crowding import SPLIT, Fullness, read_labels
from training.density.initial_weights import ColdStart, cold_start
from training.density.pipeline_counts import Spread, Stage, spread, stages
from training.density.representation import Ceilings, ceilings, settings
from training.density.sizes import ClassSizes, largest_tile, least_scale, size_rows
from training.heads.head_config import HeadConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadForm:
    """What of a model's head its boxes depend on."""

    strides: tuple[int, ...]
    """Pixels per cell of each level, finest first."""
    reg_max: int
    """Bins of a distance in Ultralytics' head; 1 for a head without distributions."""
    heads: HeadConfig | None = None
    """Groups of classes; None for a single head."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Survey:
    """What the labels of a training say; None where there is no image or symbol to tell it."""

    names: tuple[str, ...]
    symbols: Spread | None
    """Of the images as they are stored: tiles, where the data set is tiled."""
    stages: tuple[Stage, ...]
    sizes: tuple[ClassSizes, ...]
    """Of each class, in the order of the names, as are all that follow."""
    scale: Mapping[str, float | None]
    """Factor by which the network would have to see a class larger, as
    :func:`training.density.sizes.least_scale` gives it."""
    tiles: Mapping[str, float]
    """Tiles that do it, as :func:`training.density.sizes.largest_tile` gives them."""
    anchors: tuple[ClassAnchors, ...]
    contest: Contest
    ceilings: Ceilings
    start: ColdStart
    fullness: Fullness

    @property
    def n_images(self) -> int:
        """Images of the split, as they are stored."""
        return len(self.fullness.stored)

    @property
    def n_symbols(self) -> int:
        """Symbols of all images, as they are stored."""
        return sum(row.count for row in self.sizes)


def survey(config: TrainConfig, joint: MultiDataset, form: HeadForm) -> Survey:
    """Look at the images of ``train``.

    Args:
        config: Of the training that is planned.
        joint: Its data sets.
        form: Of its model's head.

    Raises:
        ConfigError: The groups are not of these classes.
        InputError: A data set cannot be read, or a label is none of its classes.
    """
    names = told_apart(joint.names)
    labels = read_labels(config, joint, form.strides)
    symbols, full, points = labels.symbols, labels.fullness, labels.points
    rows = size_rows(symbols, names)
    alone = joint.sources[0].dataset if len(joint.sources) == 1 else None
    return Survey(
        names=names,
        symbols=spread(full.stored),
        stages=stages(full.stored, full.trained, converted_pages(alone, SPLIT) if alone else None),
        sizes=rows,
        scale=least_scale(symbols, names),
        tiles=largest_tile(symbols, labels.stored, names),
        anchors=anchor_rows(symbols, names, form.strides, points),
        contest=contest(symbols, names, form.strides, form.heads),
        ceilings=ceilings(
            symbols, names, settings(form.strides, form.reg_max), {form.strides: points}
        ),
        start=cold_start(
            rows,
            form.strides,
            heads=form.heads,
            options=config.loss_options(),
            reg_max=form.reg_max,
            size_prior=config.size_prior,
        ),
        fullness=full,
    )


def told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Tell classes apart that have one name, as data of other makers may have.

    Args:
        names: Class names; a label is a place in this list.
    """
    return tuple(
        f"{name} ({label})" if names.count(name) > 1 else name for label, name in enumerate(names)
    )
