"""Head configs: YAML files that define which classes share a head.

Example::

    groups:                          # every class of the data belongs to one group
    - name: noteheads
      classes: [noteheadBlack, noteheadHalf]
      weight: 1.0                    # loss weight of this group
    - name: stems
      classes: [stem, beam]
      similarity: nwd                # box similarity: ciou+nwd, ciou, iou, nwd, dilated
      beta: 3                        # exponent of the similarity in the metric of the assigner tal
    box: separate                    # shared: one box branch for all groups
    tower: {width: 1.0, depth: 2}    # class branch of each group; width relative to a single head
    gate: none                       # cbam: attention before each class branch
    box_encoding: signed             # stock: a box contains its anchor point

Only ``groups`` is required.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml

from class_maps import ConfigError, and_more, short_list, with_nearest, yaml_files
from class_maps.yaml_files import Checked, read
from settings.training import SimilarityName

SHOWN = 5
"""Maximum number of classes listed in an error; a wrong config would otherwise list all."""

BoxBranch = Literal["shared", "separate"]
Gate = Literal["none", "cbam"]
BoxEncoding = Literal["signed", "stock"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Classes that share a head."""

    name: str
    classes: tuple[str, ...]
    weight: float = 1.0
    """Loss weight relative to other groups."""
    similarity: SimilarityName | None = None
    """Box similarity that the assigner uses; None for the training setting."""
    beta: float | None = None
    """Exponent of the similarity in the metric of ``tal``; None for the training setting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """Groups of classes, and the structure of their branches."""

    groups: tuple[Group, ...]
    box: BoxBranch = "shared"
    """``shared``: one box branch for all groups; ``separate``: one per group, so that an anchor
    point can predict a box of each group."""
    tower_width: float = 1.0
    """Channels of a group's class branch, relative to those of a single head."""
    tower_depth: int = 2
    """Blocks of a group's class branch before its last layer."""
    gate: Gate = "none"
    box_encoding: BoxEncoding = "signed"

    def labels(self, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Look up the labels of each group's classes in a data set.

        Args:
            names: Class names of the data set, in the order of their labels.

        Returns:
            Labels of each group.

        Raises:
            ConfigError: A class of the data belongs to no group, or a group contains a class that
                the data does not have.
        """
        grouped = [name for group in self.groups for name in group.classes]
        if unknown := [name for name in grouped if name not in names]:
            shown = with_nearest(unknown[:SHOWN], names) + and_more(unknown, SHOWN)
            raise ConfigError(f"heads: not in the data: {shown}")
        if missing := [name for name in names if name not in grouped]:
            raise ConfigError(f"heads: in no group: {short_list(missing, SHOWN)}")
        label = {name: i for i, name in enumerate(names)}
        return tuple(tuple(label[name] for name in group.classes) for group in self.groups)


def shipped() -> tuple[str, ...]:
    """List the names of the head configs that come with the package."""
    return yaml_files.shipped("settings", "heads")


def load(name: str) -> HeadConfig:
    """Read a head config.

    Args:
        name: Name of a shipped config, or path of a YAML file.

    Raises:
        ConfigError: No shipped config has this name.
        InputError: The file cannot be read, is malformed or contains an invalid value.
    """
    return from_yaml(yaml_files.find(name, "settings", "heads", "head config", option="heads: "))


def from_yaml(path: Path) -> HeadConfig:
    """Read a head config from a YAML file.

    Raises:
        InputError: The file cannot be read, is malformed or contains an invalid value.
    """
    return _config(read(path, "head config"))


def from_dict(content: object, path: Path) -> HeadConfig:
    """Convert the result of :func:`to_dict` back to a head config.

    Args:
        content: Parsed content of a file.
        path: Path of the file, for error messages.

    Raises:
        InputError: The content is malformed or contains an invalid value.
    """
    return _config(Checked(content, path, "heads"))


def to_dict(config: HeadConfig) -> dict[str, Any]:
    """Convert a head config to plain data with the structure of its file."""
    groups = [asdict(group) | {"classes": list(group.classes)} for group in config.groups]
    return {
        # Options that are None are not written.
        "groups": [{k: v for k, v in group.items() if v is not None} for group in groups],
        "box": config.box,
        "tower": {"width": config.tower_width, "depth": config.tower_depth},
        "gate": config.gate,
        "box_encoding": config.box_encoding,
    }


def to_yaml(config: HeadConfig) -> str:
    """Convert a head config to YAML that :func:`from_yaml` can read."""
    return yaml.safe_dump(
        to_dict(config),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,  # several class names per line, as in the shipped configs
        width=100,
    )


def _config(data: Checked) -> HeadConfig:
    data.only_keys("groups", "box", "tower", "gate", "box_encoding")
    groups = tuple(_group(entry) for entry in data.mappings("groups"))
    if not groups:
        raise data.error("expected at least one group", "groups")
    for kind, names in (
        ("groups", [group.name for group in groups]),
        ("classes", [name for group in groups for name in group.classes]),
    ):
        if repeated := sorted(name for name, n in Counter(names).items() if n > 1):
            raise data.error(f"duplicate {kind}: {', '.join(repeated)}", "groups")
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
