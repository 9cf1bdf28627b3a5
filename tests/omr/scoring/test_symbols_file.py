import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored_folders import NAMES, PREDICTIONS, TRUTHS, without_symbols

from class_maps import InputError
from converters.page import Page
from eval.metrics.coco import evaluate
from omr.scoring.symbols_file import read_symbols, write_symbols


def assert_same(pages: Sequence[Page], others: Sequence[Page]) -> None:
    assert len(pages) == len(others)
    for page, other in zip(sorted(pages, key=lambda page: page.image), others, strict=True):
        assert (page.image, page.width, page.height) == (other.image, other.width, other.height)
        assert page.staff_space == other.staff_space
        np.testing.assert_array_equal(page.boxes_xyxy, other.boxes_xyxy)
        np.testing.assert_array_equal(page.labels, other.labels)
        assert other.labels.dtype == np.int64
        if page.scores is None:
            assert other.scores is None
        else:
            np.testing.assert_array_equal(page.scores, np.asarray(other.scores))


EMPTY = without_symbols(PREDICTIONS[:2])


@pytest.mark.parametrize(
    ("truths", "predictions", "names"),
    [
        ([], [], ()),
        (without_symbols(TRUTHS[:2]), EMPTY, ("a",)),
        (TRUTHS, PREDICTIONS, NAMES),
        (TRUTHS[::-1], PREDICTIONS, ("é", "音符", "c", "d", "")),
        ([replace(TRUTHS[0], staff_space=7.3), TRUTHS[1]], PREDICTIONS[:2], NAMES),
    ],
)
def test_what_is_read_is_what_was_written(
    truths: list[Page], predictions: list[Page], names: tuple[str, ...], tmp_path: Path
) -> None:
    predictions = [
        replace(page, staff_space=truth.staff_space)
        for page, truth in zip(predictions, sorted(truths, key=lambda t: t.image), strict=True)
    ]
    write_symbols(tmp_path / "symbols.npz.part", truths, predictions, names)
    symbols = read_symbols(tmp_path / "symbols.npz.part")
    assert symbols.names == names
    assert_same(truths, symbols.truths)
    assert_same(predictions, symbols.predictions)


@given(
    st.lists(
        st.tuples(*[st.floats(-1e6, 1e6)] * 2, *[st.floats(0, 1e6)] * 2, st.floats(0, 1)),
        max_size=5,
    )
)
def test_boxes_and_scores_keep_every_digit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]]
) -> None:
    table = np.array(rows).reshape(-1, 5)
    boxes = np.hstack((table[:, :2], table[:, :2] + table[:, 2:4]))
    page = replace(
        TRUTHS[0],
        boxes_xyxy=boxes,
        labels=np.zeros(len(rows), np.int64),
        scores=table[:, 4],
    )
    file = tmp_path_factory.mktemp("symbols") / "symbols.npz"
    write_symbols(file, [replace(page, scores=None)], [page], NAMES)
    symbols = read_symbols(file)
    assert_same([page], symbols.predictions)
    assert_same([replace(page, scores=None)], symbols.truths)


def test_the_ap_does_not_change(tmp_path: Path) -> None:
    write_symbols(tmp_path / "a.npz", TRUTHS, PREDICTIONS, NAMES)
    symbols = read_symbols(tmp_path / "a.npz")
    expected = evaluate(TRUTHS, PREDICTIONS, NAMES)
    assert evaluate(symbols.truths, symbols.predictions, symbols.names) == expected


def test_equal_symbols_give_equal_bytes(tmp_path: Path) -> None:
    write_symbols(tmp_path / "a.npz", TRUTHS, PREDICTIONS, NAMES)
    write_symbols(tmp_path / "b", TRUTHS[::-1], PREDICTIONS[::-1], NAMES)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "b") as archive:
        assert {one.date_time for one in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(
    ("truths", "predictions"),
    [
        (TRUTHS, PREDICTIONS[1:]),
        (TRUTHS, TRUTHS),
        ([*TRUTHS, TRUTHS[0]], [*PREDICTIONS, PREDICTIONS[0]]),
        (TRUTHS[:1], [replace(PREDICTIONS[0], width=1)]),
    ],
)
def test_pages_that_do_not_belong_together(
    truths: list[Page], predictions: list[Page], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        write_symbols(tmp_path / "a.npz", truths, predictions, NAMES)
    assert not (tmp_path / "a.npz").exists()


def changed(file: Path, **arrays: Any) -> None:  # noqa: ANN401
    with np.load(file) as old:
        content = dict(old)
    content |= arrays
    with file.open("wb") as stream:
        np.savez(stream, allow_pickle=True, **{k: v for k, v in content.items() if v is not None})


def array_alone(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, np.zeros(3))


DAMAGED = "damaged, or not a file of omr eval"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (Path.unlink, "missing"),
        (lambda file: file.write_bytes(b""), DAMAGED),
        (lambda file: file.write_text("{}"), DAMAGED),
        (lambda file: file.write_bytes(file.read_bytes()[:-20]), DAMAGED),
        (lambda file: file.write_bytes(file.read_bytes()[:200]), DAMAGED),
        (array_alone, DAMAGED),
        (lambda file: changed(file, names=None), "not a file of omr eval"),
        (lambda file: changed(file, more=1), "not a file of omr eval"),
        (lambda file: changed(file, names=np.array(["a", 1], object)), DAMAGED),
        (lambda file: changed(file, names=np.zeros(5)), "contains an array of another type"),
        (lambda file: changed(file, format=[2]), "has file format [2], expected [1]"),
        (
            lambda file: changed(file, prediction_scores=np.zeros(3)),
            "prediction_scores: expected shape (960,), got (3,)",
        ),
        (
            lambda file: changed(file, truth_labels=np.full(480, 5)),
            "truth_labels: contains a label that is not one of 5 classes",
        ),
        (
            lambda file: changed(file, truth_counts=[-1, 481, *[0] * 10]),
            "truth_counts: contains a negative number",
        ),
        (
            lambda file: changed(file, prediction_scores=np.full(960, np.nan)),
            "prediction_scores: contains a non-finite score",
        ),
        (
            lambda file: changed(file, truth_boxes_xyxy=np.full((480, 4), np.inf)),
            "truth_boxes_xyxy: contains an invalid box",
        ),
        (lambda file: changed(file, images=["a"] * 12), "images: contains duplicates"),
    ],
)
def test_damaged_files(damage: Callable[[Path], Any], problem: str, tmp_path: Path) -> None:
    file = tmp_path / "symbols.npz"
    write_symbols(file, TRUTHS, PREDICTIONS, NAMES)
    damage(file)
    message = f"{file}: {problem}; run omr eval --out again"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        read_symbols(file)


def test_random_damage_is_an_error_or_harmless(tmp_path: Path) -> None:
    file = tmp_path / "symbols.npz"
    write_symbols(file, TRUTHS[:2], PREDICTIONS[:2], NAMES)
    content, rng, n_refused = file.read_bytes(), np.random.default_rng(0), 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            read_symbols(file)
        except InputError:
            n_refused += 1
    assert n_refused > 150


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "symbols.npz").mkdir()
    with pytest.raises(InputError, match="missing"):
        read_symbols(tmp_path / "symbols.npz")


def test_arrays_that_do_not_fit_into_memory_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "symbols.npz"
    write_symbols(path, EMPTY, EMPTY, NAMES)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("bomb.npy", "w", force_zip64=True) as entry,
    ):
        for _ in range(600):
            entry.write(bytes(1 << 20))
    with pytest.raises(
        InputError, match=r"unpacks to 629,\d+,\d+ bytes; expected at most 536,870,"
    ):
        read_symbols(path)
