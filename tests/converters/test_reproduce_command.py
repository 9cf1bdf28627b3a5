import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from deepscores import NOTE, several_pages, write
from typer.testing import CliRunner

import class_maps
from class_maps import InputError
from converters.manifest import read_manifest
from converters.reproduce_command import reproduce_command
from omr.cli import app

STAFF = ("135", [10, 20, 190, 60])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    data = several_pages([f"lg-{i}-aug-gonville--page-1.png" for i in range(4)], NOTE, STAFF)
    return write(tmp_path / "in", data)


def convert(*arguments: object) -> dict[str, Any]:
    """Convert from the command line; return the options that were used."""
    result = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    manifest = json.loads((Path(str(arguments[1])) / "manifest.json").read_text("utf-8"))
    used: dict[str, Any] = manifest["options"] | {"classes": manifest["class_map"]["name"]}
    return used


UNUSUAL = (
    "--classes", "deepscores", "--overlap", 16, "--min-visible", 0.3, "--dedup-iou", 0.9,
    "--min-side", 3, "--clip", "--val", 0.5, "--split-by", "page", "--seed", 3,
)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "overlap"),
    [
        (("--tile", 64, *UNUSUAL), 24),
        (("--tile", 64), 19),
        ((), 19),
        (("--scale", "staff-space:12.5"), 19),
    ],
)
def test_the_command_recreates_the_data_set_with_other_tiles(
    options: tuple[object, ...], overlap: int, source: Path, tmp_path: Path
) -> None:
    first = convert(source, tmp_path / "a", *options)
    line = reproduce_command(read_manifest(tmp_path / "a"), tmp_path / "b", 96)
    assert line is not None
    program, name, stands_for, *arguments = shlex.split(line)
    assert (program, name, stands_for) == ("omr", "convert", "SOURCE")
    second = convert(source, *arguments)
    visible = first["tiles"]["min_visible"] if first["tiles"] else 0.5
    assert second == first | {
        "tiles": {"size": 96, "overlap": overlap, "min_visible": visible, "blank_tiles": 1.0}
    }


def test_another_annotation_set(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "a", "--tile", 64)
    changed(tmp_path / "a", annotation_set="muscima++")
    line = reproduce_command(read_manifest(tmp_path / "a"), Path("b"), 96)
    assert line is not None
    assert line.endswith(" --annotation-set muscima++")


def changed(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes))


def test_no_command_for_a_custom_class_map(source: Path, tmp_path: Path) -> None:
    shipped = class_maps.load("harmony").path.read_text("utf-8")
    for name, text in (
        ("custom.yaml", shipped.replace("name: harmony", "name: custom")),
        ("harmony.yaml", shipped + "# mine\n"),
    ):
        (tmp_path / name).write_text(text, "utf-8")
        convert(source, tmp_path / name[:-5], "--classes", tmp_path / name)
        assert reproduce_command(read_manifest(tmp_path / name[:-5]), Path("b"), 96) is None


@pytest.mark.parametrize("gone", ["options", "staff_space", "cleaning", "annotation_set"])
def test_an_incomplete_manifest(gone: str, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "a", "--scale", "staff-space:12.5")
    path = tmp_path / "a" / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    for part in (manifest, manifest["options"]):
        part.pop(gone, None)
    path.write_text(json.dumps(manifest))
    line = reproduce_command(read_manifest(tmp_path / "a"), Path("b"), 96)
    whole = "omr convert SOURCE b --classes harmony --tile 96 --scale staff-space:12.5"
    assert line == (whole if gone == "annotation_set" else None)


def test_no_command_without_a_manifest(tmp_path: Path) -> None:
    none = read_manifest(tmp_path)
    assert reproduce_command(none, Path("b"), 96) is None
    assert (none.source, none.pages, none.tiles, none.options) == ("", {}, {}, None)
    for text in ("[]", '{"a', '{"options": 3} 4'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=r"manifest\.json: (expected|not valid|contains)"):
            read_manifest(tmp_path)


def test_a_manifest_of_another_program_is_decoded_lazily(tmp_path: Path) -> None:
    text = '{"splits": ["train"], "tiles": {}, "source": 4, "options": {"staff_space": -3}}'
    (tmp_path / "manifest.json").write_text(text)
    foreign = read_manifest(tmp_path)
    assert (foreign.tiles, foreign.class_map.name, foreign.options) == ({}, "", None)
    assert reproduce_command(foreign, Path("b"), 96) is None
    with pytest.raises(InputError, match=r"manifest\.json: splits: expected `object`"):
        _ = foreign.pages
    with pytest.raises(InputError, match=r"manifest\.json: source: expected `str`"):
        _ = foreign.source


def test_an_invalid_scale(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "a", "--scale", "staff-space:12.5")
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text("utf-8"))
    changed(tmp_path / "a", options=manifest["options"] | {"staff_space": -3})
    assert read_manifest(tmp_path / "a").options is None
