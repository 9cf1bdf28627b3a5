"""Initialisation of a model from the weights of another one, with a report.

Backbone, neck and box branch are copied by name and shape. In the class branch, blocks are copied,
and so are the rows of its last layer for classes of the same name. The order of the classes may
differ, and new classes keep their initial values. A head with several groups is built afterwards
from the initialised single head: its branches are clones.

Shapes: C classes.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel

from class_maps import InputError
from settings.activations import PARTS
from settings.head_config import HeadConfig
from training.heads.distance_bins import allow_below_zero, bin_values, set_bins
from training.heads.grouped import (
    GROUP,
    GroupedDetect,
    clones_towers,
    divided,
    widen_towers,
)
from training.models.activations import activations_of

REPORT_FILE = "transfer.json"
"""File in the run folder."""
MIN_MATCH = 0.75
"""Fraction of the backbone's values that must match. Between model families of the same scale up to
.51 match, because some layers happen to have the same shape. Between yolo11 and yolo26, which share
their backbone, all match."""
COPIED_MARK = 4093
"""Value that marks copied entries; no new layer contains it."""
BINS = ".dfl.conv.weight"


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferReport:
    """Number of values per tensor by origin; a tensor may appear under two origins."""

    copied: dict[str, int]
    """Values copied from the weights."""
    cloned: dict[str, int]
    """Values cloned into each of several class groups."""
    new: dict[str, int]
    """Values that start as in a new model."""
    skipped: dict[str, int]
    """Values of the weights that the model cannot use."""
    classes: tuple[str, ...] = ()
    """Classes whose rows were copied."""
    new_classes: tuple[str, ...] = ()
    boxes: bool = True
    """Whether the box branches are those of the weights, rather than new ones."""
    activations: dict[str, str] = field(default_factory=dict)
    """Parts whose activation function is not that of the weights, such as ``silu -> relu``."""

    def to_json(self) -> dict[str, Any]:
        """Convert the report to types that JSON can represent."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Summarise the report in a few lines."""
        parts = {
            "copied": self.copied,
            "cloned": self.cloned,
            "new": self.new,
            "skipped": self.skipped,
        }
        shown = [
            f"{part}: {sum(counts.values()):,} values in {len(counts)} tensors"
            for part, counts in parts.items()
            if counts
        ]
        names = ", ".join(self.new_classes[:5]) + (", ..." if len(self.new_classes) > 5 else "")
        n_known, n_all = len(self.classes), len(self.classes) + len(self.new_classes)
        rows = f"classes: {n_known} of {n_all} by name"
        lines = [*shown, f"{rows}; new: {names}" if names else rows]
        if self.activations:
            changes = ", ".join(f"{part} {change}" for part, change in self.activations.items())
            lines.append(f"activations: {changes}, so the copied weights compute another function")
        return lines if self.boxes else [*lines, "boxes: start as in a new model"]


def set_head(
    model: DetectionModel, names: Sequence[str], heads: HeadConfig | None, *, signed: bool
) -> None:
    """Convert the single head of a model to its final form.

    Args:
        model: Model with a single head.
        names: Names of its C classes.
        heads: Groups of classes, each with its own head; None for a single head.
        signed: Whether the head gets distance bins below zero, for boxes that do not contain their
            anchor point.

    Raises:
        ConfigError: The groups contain other classes.
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
    """Copy the matching weights; if the classes are the same, so are the outputs.

    Args:
        source: Model with the weights. If its head has several groups, the target gets the same
            groups.
        target: New model with a single head, which is initialised and gets its final form.
        names: Names of the target's C classes.
        heads: Groups of classes, each with its own head, for a source with a single head.

    Raises:
        ConfigError: The groups contain other classes.
    """
    source_head = source.model[-1]
    source_groups = source_head.config if isinstance(source_head, GroupedDetect) else None
    final_heads = source_groups or heads
    _match_head(target.model[-1], source_head, final_heads)
    if source_groups:
        set_head(target, names, source_groups, signed=False)
    by_name, rows = _class_layers(target), _rows(source, names)
    copies = _copies(source, target, rows, by_name)
    with torch.random.fork_rng(devices=[]):
        marked = copy.deepcopy(target)
        marks = {
            name: torch.where(is_copied, COPIED_MARK, 0)
            for name, (_, is_copied) in copies.items()
            if not name.endswith(BINS)  # their values matter when bins are added
        }
        marked.load_state_dict(marks, strict=False)
    target.load_state_dict({name: values for name, (values, _) in copies.items()})
    boxes = _has_copied_last_layer(copies, "cv2", target)
    # If no box branches are copied, the encoding is that of a new model.
    signed = final_heads.box_encoding == "signed" if final_heads else not boxes
    new_heads = None if source_groups else heads
    with torch.random.fork_rng(devices=[]):
        set_head(marked, names, new_heads, signed=signed)
    set_head(target, names, new_heads, signed=signed)
    classes = _has_copied_last_layer(copies, "cv3", target)
    known = [name for name, row in zip(names, rows.tolist(), strict=True) if classes and row >= 0]
    report = _report(source, marked, copies, by_name, names, known, boxes=boxes)
    return replace(report, activations=_changed_activations(source, target))


def _changed_activations(source: DetectionModel, target: DetectionModel) -> dict[str, str]:
    """Return the activation functions before and after, for each part where they differ."""
    before, after = activations_of(source), activations_of(target)
    return {
        part: f"{before[part]} -> {after[part]}"
        for part in PARTS
        if part in before and part in after and before[part] != after[part]
    }


def check_fit(source: DetectionModel, target: DetectionModel, file: Path, name: str) -> None:
    """Check that weights come from the model that they initialise, or from a similar one.

    Args:
        source: Model with the weights.
        target: New model.
        file: Weights file, for the error message.
        name: Name of the new model.

    Raises:
        InputError: Less than three quarters of the backbone match.
    """
    source_state = source.state_dict()
    target_state = {n: t for n, t in target.state_dict().items() if t.is_floating_point()}
    matching = {
        name
        for name, tensor in target_state.items()
        if name in source_state and source_state[name].shape == tensor.shape
    }
    layers = {str(i) for i in range(len(target.yaml["backbone"]))}
    backbone = {n: t.numel() for n, t in target_state.items() if n.split(".")[1] in layers}
    n_matching = sum(backbone[name] for name in backbone.keys() & matching)
    if n_matching < MIN_MATCH * sum(backbone.values()):
        raise InputError(
            f"weights of another model: {len(matching)} of {len(target_state)} tensors match "
            f"{name}; give the --model that they were trained with",
            path=file,
        )


def _match_head(head: Detect, source_head: Detect, heads: HeadConfig | None) -> None:
    """Give a new single head the bins and the width of class branches of the weights."""
    if head.reg_max > 1 and source_head.reg_max > 1:
        set_bins(head, bin_values(source_head))
    if heads and not clones_towers(head.cv3[0], heads):
        return  # the final head has another width
    branches = [getattr(level, "towers", [level])[0] for level in source_head.cv3]
    if [_inputs(branch) for branch in branches] == [_inputs(branch) for branch in head.cv3]:
        widen_towers(head, branches[0][-1].in_channels)


def _inputs(branch: nn.Module) -> int:
    """Return the number of input channels of a branch."""
    return next(part.in_channels for part in branch.modules() if isinstance(part, nn.Conv2d))


def _rows(source: DetectionModel, names: Sequence[str]) -> Tensor:
    """Look up the label of each class of the target in the source, shape ``(C,)``.

    The label is -1 for a class that is missing from the source, or whose name is a duplicate there.
    Identical lists of names are matched by position.
    """
    source_names = [source.names[label] for label in range(len(source.names))]
    if source_names == [*names]:
        return torch.arange(len(names))
    is_unique = {name: source_names.count(name) == 1 for name in names}
    return torch.tensor([source_names.index(name) if is_unique[name] else -1 for name in names])


def _copies(
    source: DetectionModel, target: DetectionModel, rows: Tensor, by_name: set[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the values of each tensor of the target, and a mask of the copied values.

    Args:
        source: Model with the weights.
        target: New model.
        rows: Result of :func:`_rows`.
        by_name: Tensors of the target with a row per class.
    """
    source_state, target_state = source.state_dict(), target.state_dict()
    copies = {}
    for name, tensor in target_state.items():
        values, is_copied = tensor.clone(), torch.zeros(tensor.shape, dtype=torch.bool)
        stored = source_state.get(name)
        if name in by_name:
            weight = name.rpartition(".")[0] + ".weight"
            width = target_state[weight].shape[1:]
            if weight in source_state and source_state[weight].shape[1:] == width:
                is_copied[rows >= 0] = True
                values[rows >= 0] = source_state[name][rows[rows >= 0]].to(tensor)
        elif stored is not None and stored.shape == tensor.shape:
            values, is_copied = stored.to(tensor), ~is_copied
        copies[name] = values, is_copied
    return copies


def _class_layers(model: DetectionModel) -> set[str]:
    """List the tensors of a single head with a row per class; a grouped head has none."""
    head, prefix = model.model[-1], f"model.{len(model.model) - 1}"
    if isinstance(head, GroupedDetect):
        return set()
    return {
        f"{prefix}.{name}.{level}.{len(branch) - 1}.{part}"
        for name in ("cv3", "one2one_cv3")
        for level, branch in enumerate(getattr(head, name, None) or ())
        for part in ("weight", "bias")
    }


def _has_copied_last_layer(
    copies: dict[str, tuple[Tensor, Tensor]], branch: str, target: DetectionModel
) -> bool:
    """Return whether the last layer of a branch of the head has values of the source.

    The last layer is the only one of a branch with a bias outside of batch normalisation.
    """
    start = f"model.{len(target.model) - 1}.{branch}."
    return any(
        bool(is_copied.any())
        for name, (_, is_copied) in copies.items()
        if name.startswith(start) and name.endswith(".bias") and ".bn." not in name
    )


def _report(
    source: DetectionModel,
    marked: DetectionModel,
    copies: dict[str, tuple[Tensor, Tensor]],
    by_name: set[str],
    names: Sequence[str],
    known: Sequence[str],
    *,
    boxes: bool,
) -> TransferReport:
    """Build the report from a copy of the target with markers in place of copied values."""
    copied: dict[str, int] = {}
    cloned: dict[str, int] = {}
    new: dict[str, int] = {}
    n_used = {name: int(is_copied.sum()) for name, (_, is_copied) in copies.items()}
    for name, tensor in marked.state_dict().items():
        single = GROUP.sub("", name)
        n_copied = n_used[name] if name.endswith(BINS) else int((tensor == COPIED_MARK).sum())
        if n_copied:
            is_cloned = name not in copies and single not in by_name
            (cloned if is_cloned else copied)[name] = n_copied
        if n_copied < tensor.numel():
            new[name] = tensor.numel() - n_copied
    n_skipped = {n: t.numel() - n_used.get(n, 0) for n, t in source.state_dict().items()}
    return TransferReport(
        copied=copied,
        cloned=cloned,
        new=new,
        skipped={name: n for name, n in n_skipped.items() if n},
        classes=tuple(known),
        new_classes=tuple(name for name in names if name not in known),
        boxes=boxes,
    )
