"""Takes over what fits from the weights of another model, and says what that was.

Backbone, neck and box branch are copied by name and shape. Of the class branch the blocks are
copied, and of its last layer the rows of classes that have the same name: the order of the classes
may differ, and new ones start as in a new model. A head of several groups is made afterwards, out
of the single head that has been filled: its branches are clones.

Shapes: C classes.
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel

from class_maps import InputError
from training.heads.distance_bins import allow_below_zero, bin_values, set_bins
from training.heads.grouped import GroupedDetect, clones_towers, divided, widen_towers
from training.heads.head_config import HeadConfig

REPORT_FILE = "transfer.json"
"""In the run folder."""
LEAST = 0.75
"""Share of the backbone's numbers that must fit. Between families of a scale up to .51 do, because
some layers happen to have the same shape; between yolo11 and yolo26, which share it, all do."""
TAKEN = 4093
"""Marks a number as taken over: no new layer starts with it."""
BINS = ".dfl.conv.weight"
GROUP = re.compile(r"\.(towers|branches)\.\d+")
"""Place of a group's branch in a tensor's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferReport:
    """How many numbers of each tensor came from where; a tensor may stand in two of them."""

    copied: dict[str, int]
    """Tensors of the model that were taken over."""
    cloned: dict[str, int]
    """Those that were taken over into each of several groups."""
    new: dict[str, int]
    """Those that start as in a new model."""
    left_out: dict[str, int]
    """Tensors of the weights that the model has no place for."""
    classes: tuple[str, ...] = ()
    """Classes whose rows were taken over."""
    new_classes: tuple[str, ...] = ()
    boxes: bool = True
    """Whether the boxes are the weights': if the box branches are new, they start as in a new
    model."""

    def to_json(self) -> dict[str, Any]:
        """Give everything in forms that JSON knows."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Say it in short."""
        parts = {"copied": self.copied, "cloned": self.cloned, "new": self.new}
        parts["left out"] = self.left_out
        shown = [
            f"{part}: {sum(counts.values()):,} numbers in {len(counts)} tensors"
            for part, counts in parts.items()
            if counts
        ]
        names = ", ".join(self.new_classes[:5]) + (", ..." if len(self.new_classes) > 5 else "")
        known, all_of_them = len(self.classes), len(self.classes) + len(self.new_classes)
        rows = f"classes: {known} of {all_of_them} by name"
        told = [*shown, f"{rows}; new: {names}" if names else rows]
        return told if self.boxes else [*told, "boxes: start as in a new model"]


def set_head(
    model: DetectionModel, names: Sequence[str], heads: HeadConfig | None, *, signed: bool
) -> None:
    """Give a model's single head its final form.

    Args:
        model: With a single head.
        names: Of its classes, C of them.
        heads: Groups of classes with a head each; None for a single head.
        signed: Whether a box may lie beside its anchor point.

    Raises:
        ConfigError: The groups are not of these classes.
    """
    if signed:
        allow_below_zero(model.model[-1])
    if heads:
        model.model[-1] = divided(model.model[-1], heads.labels(names), heads)


def transfer(
    source: DetectionModel,
    target: DetectionModel,
    names: Sequence[str],
    heads: HeadConfig | None = None,
) -> TransferReport:
    """Take over what fits; a target of the same classes then gives the same outputs.

    Args:
        source: Has the weights. Where its head has several groups, the target gets the same.
        target: A new model with a single head, which is filled and gets its final form.
        names: Of the target's classes, C of them.
        heads: Groups of classes with a head each, for a source with a single head.

    Raises:
        ConfigError: The groups are not of these classes.
    """
    theirs = source.model[-1]
    _fit(target.model[-1], theirs, theirs.config if isinstance(theirs, GroupedDetect) else heads)
    if isinstance(theirs, GroupedDetect):
        set_head(target, names, theirs.config, signed=False)
    by_name = _class_layers(target)
    taken = _taken(source, target, names, by_name)
    with torch.random.fork_rng(devices=[]):
        marked = copy.deepcopy(target)
        marks = {
            name: torch.where(kept, TAKEN, 0)
            for name, (_, kept) in taken.items()
            if not name.endswith(BINS)  # which are looked at when more are added
        }
        marked.load_state_dict(marks, strict=False)
    target.load_state_dict({name: values for name, (values, _) in taken.items()})
    boxes = _some_last(taken, "cv2", target)
    wanted = theirs.config if isinstance(theirs, GroupedDetect) else heads
    # Without the weights' own boxes it is as in a new model.
    signed = wanted.box_encoding == "signed" if wanted else not boxes
    new_heads = None if isinstance(theirs, GroupedDetect) else heads
    with torch.random.fork_rng(devices=[]):
        set_head(marked, names, new_heads, signed=signed)
    set_head(target, names, new_heads, signed=signed)
    classes = _some_last(taken, "cv3", target)
    return _report(source, marked, taken, by_name, names, boxes=boxes, classes=classes)


def check_fit(source: DetectionModel, target: DetectionModel, file: Path, name: str) -> None:
    """Make sure that weights are of the model that they are to fill, or of one much like it.

    Args:
        source: Has the weights.
        target: A new model.
        file: Of the weights, for the error message.
        name: Of the target.

    Raises:
        InputError: Less than three quarters of the backbone fit.
    """
    theirs = source.state_dict()
    mine = {name: own for name, own in target.state_dict().items() if own.is_floating_point()}
    fits = {
        name for name, own in mine.items() if name in theirs and theirs[name].shape == own.shape
    }
    layers = {str(i) for i in range(len(target.yaml["backbone"]))}
    backbone = {name: own.numel() for name, own in mine.items() if name.split(".")[1] in layers}
    if sum(backbone[name] for name in backbone.keys() & fits) < LEAST * sum(backbone.values()):
        raise InputError(
            f"of another model: {len(fits)} of {len(mine)} tensors fit {name}; give the --model "
            "that it was trained with",
            path=file,
        )


def _fit(head: Detect, theirs: Detect, heads: HeadConfig | None) -> None:
    """Give a new single head the bins and the width of class branches that the weights have."""
    if head.reg_max > 1 and theirs.reg_max > 1:
        set_bins(head, bin_values(theirs))
    if heads and not clones_towers(head.cv3[0], heads):
        return  # none of the width that the weights have is left
    branches = [getattr(level, "towers", [level])[0] for level in theirs.cv3]
    if [_inputs(branch) for branch in branches] == [_inputs(branch) for branch in head.cv3]:
        widen_towers(head, branches[0][-1].in_channels)


def _inputs(branch: nn.Module) -> int:
    """Count the channels of the map that a branch looks at."""
    return next(part.in_channels for part in branch.modules() if isinstance(part, nn.Conv2d))


def _taken(
    source: DetectionModel, target: DetectionModel, names: Sequence[str], by_name: set[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Choose the numbers of each tensor of the target, and tell which of them are the source's."""
    theirs, mine = source.state_dict(), target.state_dict()
    label_of = {name: label for label, name in source.names.items()}
    rows = torch.tensor([label_of.get(name, -1) for name in names])
    taken = {}
    for name, own in mine.items():
        values, kept = own.clone(), torch.zeros(own.shape, dtype=torch.bool)
        other = theirs.get(name)
        if name in by_name:
            weight = name.rpartition(".")[0] + ".weight"
            if weight in theirs and theirs[weight].shape[1:] == mine[weight].shape[1:]:
                kept[rows >= 0] = True
                values[rows >= 0] = theirs[name][rows[rows >= 0]].to(own)
        elif other is not None and other.shape == own.shape:
            values, kept = other.to(own), ~kept
        taken[name] = values, kept
    return taken


def _class_layers(model: DetectionModel) -> set[str]:
    """Name the tensors of a single head with a row for each class; a head of groups has none."""
    head, place = model.model[-1], f"model.{len(model.model) - 1}"
    if isinstance(head, GroupedDetect):
        return set()
    return {
        f"{place}.{name}.{level}.{len(branch) - 1}.{part}"
        for name in ("cv3", "one2one_cv3")
        for level, branch in enumerate(getattr(head, name, None) or ())
        for part in ("weight", "bias")
    }


def _some_last(
    taken: dict[str, tuple[Tensor, Tensor]], branch: str, target: DetectionModel
) -> bool:
    """Tell whether a last layer of a branch of the head has numbers of the source.

    Of a branch only the last layer has a bias that is not of batch normalisation.
    """
    start = f"model.{len(target.model) - 1}.{branch}."
    return any(
        bool(kept.any())
        for name, (_, kept) in taken.items()
        if name.startswith(start) and name.endswith(".bias") and ".bn." not in name
    )


def _report(
    source: DetectionModel,
    marked: DetectionModel,
    taken: dict[str, tuple[Tensor, Tensor]],
    by_name: set[str],
    names: Sequence[str],
    *,
    boxes: bool,
    classes: bool,
) -> TransferReport:
    """Read off a copy of the filled model, which has marks for numbers, what became of them."""
    copied: dict[str, int] = {}
    cloned: dict[str, int] = {}
    new: dict[str, int] = {}
    used = {name: int(kept.sum()) for name, (_, kept) in taken.items()}
    for name, tensor in marked.state_dict().items():
        single = GROUP.sub("", name)
        n_taken = used[name] if name.endswith(BINS) else int((tensor == TAKEN).sum())
        if n_taken:
            of_group = name not in taken and single not in by_name
            (cloned if of_group else copied)[name] = n_taken
        if n_taken < tensor.numel():
            new[name] = tensor.numel() - n_taken
    left = {name: own.numel() - used.get(name, 0) for name, own in source.state_dict().items()}
    known = set(source.names.values()) if classes else set()
    return TransferReport(
        copied=copied,
        cloned=cloned,
        new=new,
        left_out={name: n for name, n in left.items() if n},
        classes=tuple(name for name in names if name in known),
        new_classes=tuple(name for name in names if name not in known),
        boxes=boxes,
    )
