"""Reads which classes share a head, from YAML.

A head config is a file like this::

    groups:                          # every class of the data in one of them
    - name: noteheads
      classes: [noteheadBlack, noteheadHalf]
      weight: 1.0                    # of this group's losses
    - name: stems
      classes: [stem, beam]
      similarity: nwd                # box similarity: ciou+nwd, ciou, iou, nwd, dilated
      beta: 3                        # power of the overlap in the metric of the assigner tal
    box: separate                    # shared: one box branch for all groups
    tower: {width: 1.0, depth: 2}    # of each group's class branch, against a single head's
    gate: none                       # cbam: attention before each tower
    box_encoding: signed             # stock: a box holds its anchor point

Only ``groups`` must be there.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml

from class_maps import ConfigError, and_more, some, with_nearest, yaml_files
from class_maps.yaml_files import Checked, read
from training.assigners.similarity import SimilarityName

SHOWN = 5
"""Classes that an error names; with the wrong config they are all wrong."""

BoxBranch = Literal["shared", "separate"]
Gate = Literal["none", "cbam"]
BoxEncoding = Literal["signed", "stock"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Classes that share a head."""

    name: str
    classes: tuple[str, ...]
    weight: float = 1.0
    """Of its losses, against other groups'."""
    similarity: SimilarityName | None = None
    """How the assigner measures the fit of its boxes; as the training says if None."""
    beta: float | None = None
    """Power of the overlap in the metric of ``tal``; as the training says if None."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """Groups of classes, and what the branches of each look like."""

    groups: tuple[Group, ...]
    box: BoxBranch = "shared"
    """``shared``: a box branch for all; ``separate``: one for each group, so that an anchor point
    can predict a box of each."""
    tower_width: float = 1.0
    """Channels of a group's class branch, as a share of a single head's."""
    tower_depth: int = 2
    """Blocks of a group's class branch before its last layer."""
    gate: Gate = "none"
    box_encoding: BoxEncoding = "signed"

    def labels(self, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Find each group's classes among those of a data set.

        Args:
            names: Class names; a label is a place in this list.

        Returns:
            The labels of each group.

        Raises:
            ConfigError: A class of the data is in no group, or a group has one that is not there.
        """
        grouped = [name for group in self.groups for name in group.classes]
        if unknown := [name for name in grouped if name not in names]:
            shown = with_nearest(unknown[:SHOWN], names) + and_more(unknown, SHOWN)
            raise ConfigError(f"heads: not in the data: {shown}")
        if missing := [name for name in names if name not in grouped]:
            raise ConfigError(f"heads: in no group: {some(missing, SHOWN)}")
        label = {name: i for i, name in enumerate(names)}
        return tuple(tuple(label[name] for name in group.classes) for group in self.groups)


def shipped() -> tuple[str, ...]:
    """Names of the head configs that come with the package."""
    return yaml_files.shipped("training.heads", "configs")


def load(name: str) -> HeadConfig:
    """Read a head config.

    Args:
        name: Of a shipped one, or the path of a YAML file.

    Raises:
        ConfigError: There is no shipped one of this name.
        InputError: The file cannot be read, or says something it must not.
    """
    return from_yaml(
        yaml_files.find(name, "training.heads", "configs", "head config", option="heads: ")
    )


def from_yaml(path: Path) -> HeadConfig:
    """Read the head config in the file ``path``.

    Raises:
        InputError: Naming the place in the file.
    """
    return _config(read(path, "head config"))


def from_dict(content: object, path: Path) -> HeadConfig:
    """Read what :func:`to_dict` wrote.

    Args:
        content: What stands in the file.
        path: The file, for an error message.

    Raises:
        InputError: Naming the place in the file.
    """
    return _config(Checked(content, path, "heads"))


def to_dict(config: HeadConfig) -> dict[str, Any]:
    """Say in plain words what a head config says, as it would stand in its file."""
    groups = [asdict(group) | {"classes": list(group.classes)} for group in config.groups]
    return {
        # What is None is left to the training.
        "groups": [{k: v for k, v in group.items() if v is not None} for group in groups],
        "box": config.box,
        "tower": {"width": config.tower_width, "depth": config.tower_depth},
        "gate": config.gate,
        "box_encoding": config.box_encoding,
    }


def to_yaml(config: HeadConfig) -> str:
    """Write a head config so that :func:`from_yaml` reads it back."""
    return yaml.safe_dump(
        to_dict(config),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,  # a list of names fills lines, as in the shipped configs
        width=100,
    )


def _config(data: Checked) -> HeadConfig:
    data.only_keys("groups", "box", "tower", "gate", "box_encoding")
    groups = tuple(_group(entry) for entry in data.mappings("groups"))
    if not groups:
        raise data.error("expected at least one group", "groups")
    for what, found in (
        ("groups", [group.name for group in groups]),
        ("classes", [name for group in groups for name in group.classes]),
    ):
        if repeated := sorted(name for name, n in Counter(found).items() if n > 1):
            raise data.error(f"{what} twice: {', '.join(repeated)}", "groups")
    width, depth = _tower(data)
    return HeadConfig(
        groups=groups,
        box=cast(BoxBranch, data.choice("box", get_args(BoxBranch), "shared")),
        tower_width=width,
        tower_depth=depth,
        gate=cast(Gate, data.choice("gate", get_args(Gate), "none")),
        box_encoding=cast(
            BoxEncoding, data.choice("box_encoding", get_args(BoxEncoding), "signed")
        ),
    )


def _group(data: Checked) -> Group:
    data.only_keys("name", "classes", "weight", "similarity", "beta")
    classes = tuple(data.strings("classes"))
    if not classes:
        raise data.error("expected at least one class", "classes")
    known = get_args(SimilarityName)
    similarity = data.choice("similarity", known, known[0]) if "similarity" in data.value else None
    return Group(
        name=data.string("name"),
        classes=classes,
        weight=data.number("weight", 1.0),
        similarity=cast(SimilarityName | None, similarity),
        beta=data.number("beta", 1.0) if "beta" in data.value else None,
    )


def _tower(data: Checked) -> tuple[float, int]:
    if "tower" not in data.value:
        return 1.0, 2
    tower = data.mapping("tower")
    tower.only_keys("width", "depth")
    depth = tower.number("depth", 2)
    if depth != int(depth):
        raise tower.error(f"expected a whole number, got {depth}", "depth")
    return tower.number("width", 1.0), int(depth)
