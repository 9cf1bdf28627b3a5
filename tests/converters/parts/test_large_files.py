"""A large DeepScoresV2 file, which is divided into parts by its pages."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sharded
from stopped_runs import contents, stop_after

import class_maps
from class_maps import InputError, OmrError
from converters.conversion import ConversionOptions, convert, convert_shard
from converters.files import process_pool
from converters.files.hashes import sha256
from converters.formats import annotation_batches, deepscores_tables
from converters.parts import making, plan

OPTIONS = ConversionOptions(class_map=class_maps.load("harmony"), formats=("yolo", "coco"))
PARTS = 3
"""Parts of four pages each."""


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PART_PAGES", 4)
    monkeypatch.setattr(annotation_batches, "MOST_PAGES", 2)
    monkeypatch.setattr(deepscores_tables, "CHUNK_BYTES", 1000)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of twelve pages."""
    return sharded.join(sharded.write(tmp_path_factory.mktemp("source") / "data"))


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a conversion in one part."""
    out = tmp_path_factory.mktemp("expected") / "out"
    convert(source, out, OPTIONS)
    return contents(out)


def made_parts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return a list that receives the number of each part that is made, and of its pages."""
    made: list[tuple[int, int]] = []
    original = making.jobs_of

    def jobs(part: plan.Part, *arguments: Any) -> object:  # noqa: ANN401
        made.append((part.number, part.n_pages))
        return original(part, *arguments)

    monkeypatch.setattr(making, "jobs_of", jobs)
    return made


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_of_a_file_do_not_change_the_bytes(
    workers: int,
    source: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(making, "PARTS_PER_WORKER", 1)  # whole parts in other processes
    made = made_parts(monkeypatch)
    convert(source, tmp_path / "out", OPTIONS, workers=workers)
    assert made == ([(0, 4), (1, 4), (2, 4)] if workers == 1 else [])
    assert contents(tmp_path / "out") == expected
    [entry] = json.loads((tmp_path / "out" / "manifest.json").read_text())["files"]
    assert (entry["sha256"], entry["pages"]) == (sha256(source), 12)


def test_shards_of_a_file_are_merged(
    source: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, read = tmp_path / "out", list[Path]()
    original = process_pool.in_order

    def in_order(function: Any, chunks: Any, workers: int) -> Any:  # noqa: ANN401
        read.append(chunks[0].path)
        return original(function, chunks, workers)

    monkeypatch.setattr(annotation_batches, "in_order", in_order)
    for number in (2, 1, 3):
        made = convert_shard(source, out, OPTIONS, (number, PARTS))
        assert (made.n_parts, made.n_in_all) == (1, PARTS)
    assert read == [source]  # the other jobs know where the pages are
    convert(source, out, OPTIONS, only_merge=True)
    assert contents(out) == expected


def test_a_job_opens_only_the_images_of_its_pages(tmp_path: Path) -> None:
    source = sharded.join(sharded.write(tmp_path / "data"))
    damaged = source.parent / "images" / "lg-32-aug-leland--page-1.png"
    damaged.write_bytes(b"")
    convert_shard(source, tmp_path / "out", OPTIONS, (1, PARTS))
    with pytest.raises(InputError, match=damaged.name):
        convert_shard(source, tmp_path / "out", OPTIONS, (3, PARTS))


def test_an_interrupted_conversion_continues_with_other_workers(
    source: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        convert(source, out, OPTIONS, workers=2, track=stop_after(9, KeyboardInterrupt()))
    made = made_parts(monkeypatch)
    convert(source, out, OPTIONS)
    assert made == [(2, 4)]
    assert contents(out) == expected


def test_only_the_part_of_a_changed_page_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = sharded.join(sharded.write(tmp_path / "data")), tmp_path / "out"
    with pytest.raises(OmrError):
        convert(source, out, OPTIONS, track=stop_after(9, OmrError("stop")))
    before, text = source.stat(), source.read_text()
    last = text.rindex("[30, 20, 50, 36]", 0, text.index('"img_id": "103"'))  # of the fifth page
    source.write_text(text[:last] + "[30, 20, 50, 46]" + text[last + 16 :])
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had happened
    made = made_parts(monkeypatch)
    convert(source, out, OPTIONS)
    assert made == [(1, 4), (2, 4)]
    convert(source, tmp_path / "fresh", OPTIONS)
    assert contents(out) == contents(tmp_path / "fresh")


def test_val_pages_may_be_in_any_part(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, val=0.4, split_by="page")
    convert(source, tmp_path / "parts", options)
    monkeypatch.setattr(plan, "PART_PAGES", 100)
    convert(source, tmp_path / "whole", options)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert len(list((tmp_path / "parts" / "images" / "val").iterdir())) > 1
