"""Label checks before training: refused with one line per rule, without opening a file again."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import planted_labels as bugs
import pytest
from engraved import engraved_pages
from planted_labels import Bug, planted

import class_maps
from class_maps import InputError
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.formats.yolo_labels import label_path
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions
from eval.lint.pages import LintPage, lint_pages
from eval.lint.rules import RULES
from training.checks import check_inputs
from training.config import TrainConfig, read_config
from training.engine.inputs import TrainingInputs, open_inputs
from training.label_checks import check_labels
from training.trainer import run_options, train

PLANTED: dict[str, Bug] = {
    "near-duplicate": bugs.jittered,
    "one-box-two-classes": bugs.as_next_class,
    "corners-as-sizes": bugs.corners_as_sizes,
    "constant-size": bugs.of_one_size,
    "self-suppressed": bugs.overlapping,
}
ADDED = {"near-duplicate", "one-box-two-classes", "self-suppressed"}
"""Bugs that add boxes to the right ones."""


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engraved_pages(
        tmp_path_factory.mktemp("lint") / "pages", pages=4, width=1000, height=1400, seed=3
    )


@pytest.fixture(scope="session")
def clean(pages: Path) -> Path:
    """Data set of whole pages; tests must not change it."""
    convert(pages, pages.parent / "data", ConversionOptions(class_map=class_maps.load("harmony")))
    return pages.parent / "data"


@pytest.fixture
def data(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "data"))


def write_rows(pages: Sequence[LintPage]) -> None:
    """Write rows in place of those of the label files."""
    for page in pages:
        label_path(page.path).write_text(
            "".join(f"{int(row[0])} {' '.join(map(repr, row[1:]))}\n" for row in page.rows.tolist())
        )


def plant(data: Path, bug: Bug, share: float = 0.05, *, adds: bool = False) -> None:
    dataset = open_dataset(data)
    write_rows(planted(lint_pages(dataset), dataset.names, bug, share, adds=adds))


def inputs_of(*folders: Path) -> TrainingInputs:
    config = TrainConfig(data=folders[0], joint=folders[1:], out=folders[0] / "run")
    return open_inputs(run_options(config))


def failed_rules(inputs: TrainingInputs, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the rules that refuse the labels, which are logged in one line each."""
    caplog.clear()
    with pytest.raises(InputError) as error:
        check_labels(inputs, {})
    lines = [record.getMessage() for record in caplog.records]
    n = len(lines)
    assert error.value.reason == (
        f"{n} label {'check' if n == 1 else 'checks'} failed, see above; run `omr lint "
        f"{error.value.path}` for examples, or train anyway with --no-lint"
    )
    assert all(line.startswith(f"{error.value.path}: ") and "\n" not in line for line in lines)
    return [line.split(": ")[1] for line in lines]


@pytest.mark.parametrize("tiles", [None, TileOptions(size=320, overlap=64)])
def test_engraved_pages_are_trained_on(
    tiles: TileOptions | None, pages: Path, clean: Path, tmp_path: Path
) -> None:
    if tiles:
        options = ConversionOptions(
            class_map=class_maps.load("harmony"), preparation=PreparationOptions(tiles=tiles)
        )
        convert(pages, tmp_path / "tiles", options)
        clean = tmp_path / "tiles"
    check_labels(inputs_of(clean), {})


@pytest.mark.parametrize("rule", PLANTED)
def test_bugs_are_refused(rule: str, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    plant(data, PLANTED[rule], adds=rule in ADDED)
    assert rule in failed_rules(inputs_of(data), caplog)


def test_mirrored_pages_are_refused(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_rows([bugs.mirrored(page) for page in lint_pages(open_dataset(data))])
    failed_rules(inputs_of(data), caplog)
    assert f"{data}: mirrored-image: 4 images, such as train/" in caplog.text


def test_sources_of_other_sizes_are_refused(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    others = list(lint_pages(open_dataset(data)))[2:]
    write_rows([replace(page, rows=page.rows * [1, 1, 1, 0.25, 0.25]) for page in others])
    manifest = json.loads((data / "manifest.json").read_text())
    for page in others:
        manifest["properties"]["train"][page.page.image.as_posix()]["source"] = "scans"
    (data / "manifest.json").write_text(json.dumps(manifest))
    assert "size-differs-between-sources" in failed_rules(inputs_of(data), caplog)


def test_every_rule_before_training_is_tested() -> None:
    tested = {*PLANTED, "mirrored-image", "size-differs-between-sources"}
    assert {rule.id for rule in RULES if rule.before_training} == tested


def test_lines_name_classes_and_the_first_box(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = min((data / "labels").rglob("*.txt"))
    row = np.array(file.read_text().split()[:5], float)
    names = open_dataset(data).names
    line = f"{(int(row[0]) + 1) % len(names)} {' '.join(map(str, row[1:]))}\n"
    with file.open("a") as out:
        out.write(line)
    inputs = inputs_of(data)
    assert failed_rules(inputs, caplog) == ["one-box-two-classes"]
    assert caplog.messages[0].endswith(
        "]: categories of two annotation sets were mapped to different classes"
    )
    assert f"one-box-two-classes: 1 box of {names[int(row[0])]} + " in caplog.messages[0]


def test_no_file_is_opened_again(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    plant(data, bugs.jittered, adds=True)
    (data / "manifest.json").unlink()  # otherwise it records the staff spaces
    inputs = inputs_of(data)
    for folder in ("images", "labels"):
        for file in (data / folder).rglob("*.*"):
            if file.is_file():
                file.write_bytes(b"")
    assert failed_rules(inputs, caplog) == ["near-duplicate", "self-suppressed"]


def test_all_data_sets_are_checked(
    clean: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant(data, bugs.jittered, adds=True)
    assert failed_rules(inputs_of(clean, data), caplog)[0] == "near-duplicate"


@pytest.mark.parametrize(
    ("separate", "is_refused"),
    [
        ({}, True),
        ({"clefG": "a", "clefF": "a"}, True),
        ({"clefG": "a", "clefF": "b"}, False),
    ],
)
def test_classes_with_their_own_box_branches_may_share_boxes(
    separate: Mapping[str, str], is_refused: bool, data: Path
) -> None:
    dataset = open_dataset(data)
    write_rows(
        planted(
            lint_pages(dataset), dataset.names, bugs.as_next_class, 1.0, only=["clefG"], adds=True
        )
    )
    inputs = inputs_of(data)
    if not is_refused:
        check_labels(inputs, separate)
        return
    with pytest.raises(InputError):
        check_labels(inputs, separate)


def test_no_lint(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plant(data, bugs.jittered, adds=True)
    config = TrainConfig(
        data=data, out=tmp_path / "run", model="omr-tiny", epochs=1, imgsz=64, batch=2, device="cpu"
    )
    with pytest.raises(InputError, match="2 label checks failed"):
        train(config)
    assert not config.out.exists()
    options = run_options(config)
    inputs = open_inputs(options)
    check_inputs(replace(config, resume=True), options, inputs)  # accepted when it was started
    train(replace(config, lint=False))
    assert read_config(config.out).lint is False
