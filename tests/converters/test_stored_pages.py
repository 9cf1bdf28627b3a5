import errno
import gc
import os
import resource
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from benchmarks.crowded_pages import crowded_pages
from class_maps import ConfigError
from converters import stored_pages
from converters.page import Page, Placement
from converters.stored_pages import StoredPages

PAGES, PREDICTIONS, _ = crowded_pages(n_pages=9, n_truths=20, n_predictions=30, n_classes=3, seed=1)


def same(page: Page, other: Page) -> bool:
    def is_equal(a: Any, b: Any) -> bool:  # noqa: ANN401
        return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b

    return all(is_equal(getattr(page, f.name), getattr(other, f.name)) for f in fields(Page))


@pytest.mark.parametrize("in_memory", [0, 1 << 30])
def test_pages_come_back(in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_pages, "IN_MEMORY", in_memory or 1)
    stored = StoredPages(PAGES + PREDICTIONS)
    expected = PAGES + PREDICTIONS
    assert len(stored) == 18
    assert all(map(same, stored, expected))
    assert same(stored[-1], expected[-1])
    assert all(map(same, stored[3:7], expected[3:7]))
    assert list(stored.images) == [page.image for page in expected]
    with pytest.raises(IndexError):
        stored[18]
    stored.append(PAGES[0])  # after a read
    assert same(stored[18], PAGES[0])
    assert same(stored[0], PAGES[0])


def test_every_field_comes_back() -> None:
    page = Page(
        image=PurePosixPath("tiles/a.png"),
        width=np.int64(320),  # type: ignore[arg-type]  # such as the shape of an image
        height=320,
        boxes_xyxy=np.zeros((1, 4)),
        labels=np.array([3]),
        corners=np.ones((1, 4, 2)),
        symbol_ids=np.array([1 << 60]),
        cut=np.array([True]),
        scores=np.array([0.1]),
        staff_space=12.5,
        capture="scan",
        work="BWV 1",
        placement=Placement(page=PurePosixPath("a.png"), x=1, y=2, scale_x=0.5, scale_y=0.25),
        n_annotations=7,
    )
    stored = StoredPages([page])
    assert same(stored[0], page)
    assert [type(getattr(stored[0], f.name)) for f in fields(Page)][2:] == [
        type(getattr(page, f.name)) for f in fields(Page)
    ][2:]
    stored[0].boxes_xyxy[:] = 5  # a copy
    assert same(stored[0], page)


def test_no_pages() -> None:
    assert list(StoredPages()) == []


def test_other_staff_spaces_leave_the_pages_as_they_are() -> None:
    stored = StoredPages(PAGES)
    spaces = [None, *map(float, range(1, 9))]
    other = stored.with_staff_spaces(spaces)
    assert [page.staff_space for page in other] == spaces
    assert all(same(replace(a, staff_space=None), b) for a, b in zip(other, PAGES, strict=True))
    assert [page.staff_space for page in stored] == [None] * 9
    with pytest.raises(ValueError, match="expected 9 staff spaces, got 1"):
        stored.with_staff_spaces([1.0])


def test_threads_read_the_right_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_pages, "IN_MEMORY", 1)
    stored = StoredPages(PAGES)
    with ThreadPoolExecutor(4) as threads:
        read = list(threads.map(lambda i: stored[i % 9], range(200)))
    assert all(same(page, PAGES[i % 9]) for i, page in enumerate(read))


def test_nothing_is_left_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_pages, "IN_MEMORY", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stored = StoredPages(PAGES)
    assert same(stored[0], PAGES[0])
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = StoredPages(PAGES)

    def full(_: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(stored._storage._file, "write", full)
    message = "^temporary file cannot be written: No space left on device; set TMPDIR to a folder"
    with pytest.raises(ConfigError, match=message):
        stored.append(PAGES[0])
    assert len(stored) == 9
    assert same(stored[8], PAGES[8])


def test_a_full_disk_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is still in the buffer when the file is closed."""
    monkeypatch.setattr(stored_pages, "IN_MEMORY", 1)
    ignored: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, most))
    try:
        with pytest.raises(ConfigError, match="temporary file cannot be written: File too large"):
            StoredPages(PAGES)
        gc.collect()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    assert not ignored
