from pathlib import Path

import pytest

import class_maps
from class_maps import ConfigError, InputError
from settings import head_config
from settings.head_config import Group, HeadConfig

NAMES = ("notehead", "stem", "beam", "dot")
TWO = "groups:\n- {name: a, classes: [notehead, dot]}\n- {name: b, classes: [stem, beam]}\n"


def read(tmp_path: Path, text: str) -> HeadConfig:
    file = tmp_path / "heads.yaml"
    file.write_text(text)
    return head_config.load(str(file))


def test_all_keys_of_a_config(tmp_path: Path) -> None:
    text = TWO.replace("dot]", "dot], weight: 2, similarity: dilated, beta: 3") + (
        "box: separate\ntower: {width: 0.5, depth: 3}\ngate: cbam\nbox_encoding: stock\n"
    )
    assert read(tmp_path, text) == HeadConfig(
        groups=(
            Group(name="a", classes=("notehead", "dot"), weight=2, similarity="dilated", beta=3),
            Group(name="b", classes=("stem", "beam")),
        ),
        box="separate",
        tower_width=0.5,
        tower_depth=3,
        gate="cbam",
        box_encoding="stock",
    )


def test_only_groups_are_required(tmp_path: Path) -> None:
    config = read(tmp_path, TWO)
    assert (config.box, config.tower_width, config.tower_depth) == ("shared", 1, 2)
    assert (config.gate, config.box_encoding) == ("none", "signed")
    assert all((group.similarity, group.beta) == (None, None) for group in config.groups)
    assert config.labels(NAMES) == ((0, 3), (1, 2))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "expected a mapping, got nothing", id="empty"),
        pytest.param("groups: []", "groups: expected at least one group", id="no groups"),
        pytest.param("groups: 3", "groups: expected a list, got int 3", id="no list"),
        pytest.param("groups: [3]", r"groups\[0\]: expected a mapping, got int 3", id="no group"),
        pytest.param(
            "groups: [{name: a, classes: []}]", r"classes: expected at least one", id="empty group"
        ),
        pytest.param("groups: [{classes: [x]}]", r"groups\[0\].name: missing", id="no name"),
        pytest.param(
            TWO.replace("stem", "dot"), "groups: duplicate classes: dot", id="class twice"
        ),
        pytest.param(TWO.replace("b,", "a,"), "groups: duplicate groups: a", id="group twice"),
        pytest.param(TWO + "boxes: shared", r"boxes \(did you mean box\?\)", id="unknown key"),
        pytest.param(TWO + "box: both", "box: expected one of shared, separate", id="no such box"),
        pytest.param(TWO + "gate: true", "gate: expected one of none, cbam, got bool", id="gate"),
        pytest.param(TWO + "tower: {width: 0}", "tower.width: expected a number above 0", id="0"),
        pytest.param(TWO + "tower: {depth: 1.5}", "expected a whole number", id="half a block"),
        pytest.param(
            TWO.replace("dot]", "dot], weight: -1"), r"weight: expected a number above 0", id="-1"
        ),
        pytest.param(
            TWO.replace("dot]", "dot], similarity: giou"),
            r"groups\[0\].similarity: expected one of ciou\+nwd, ciou, iou, nwd, dilated",
            id="unknown similarity",
        ),
    ],
)
def test_errors_name_the_location(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"heads\.yaml: .*{reason}"):
        read(tmp_path, text)


def test_groups_must_fit_the_data(tmp_path: Path) -> None:
    config = read(tmp_path, TWO)
    with pytest.raises(ConfigError, match=r"in no group: tie, rest$"):
        config.labels([*NAMES, "tie", "rest"])
    with pytest.raises(ConfigError, match=r"not in the data: stem \(did you mean stems\?\)"):
        config.labels(["notehead", "stems", "beam", "dot"])


def test_only_some_of_many_unknown_classes_are_listed() -> None:
    with pytest.raises(ConfigError, match=r"in the data: \w+, \w+, \w+, \w+.*, \w+ and 75 more$"):
        head_config.load("coco-standard").labels(NAMES)


def test_an_unknown_config_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"harmoni \(did you mean harmony\?\)"):
        head_config.load("harmoni")
    with pytest.raises(InputError, match=r"none\.yaml: no such head config"):
        head_config.load("none.yaml")


@pytest.mark.parametrize("name", head_config.shipped())
def test_shipped_configs_fit_their_class_map(name: str) -> None:
    maps = [class_maps.load(part) for part in name.split("-")[0].split("+")]
    names = [name for class_map in maps for name in class_map.names]
    labels = head_config.load(name).labels(names)
    assert sorted(label for own in labels for label in own) == [*range(len(names))]
    assert len(labels) == 3 + len(maps)


def test_the_standard_groups_of_coco() -> None:
    labels = head_config.load("coco-standard").labels(class_maps.load("coco").names)
    assert set(labels[0]) == {0, *range(24, 29), *range(31, 45)}
    assert [group.weight for group in head_config.load("coco-standard").groups] == [
        1,
        1.2,
        1.5,
        1.1,
    ]
