"""Conversions of several parts: continued after any failure, divided among jobs, and merged."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sharded
from stopped_runs import contents, stop_after

import class_maps
from class_maps import ConfigError, InputError, OmrError
from converters.conversion import ConversionOptions, convert, convert_shard
from converters.files.atomic_folder import parts_folder
from converters.formats import parquet
from converters.formats.sources import identity_map, open_source
from converters.opened_sources import open_all
from converters.parts import making, plan
from converters.parts.plan import plan_parts
from converters.parts.records import locked_part, record_path
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions
from converters.split_assignment import assign_splits

FILES = 4
OPTIONS = ConversionOptions(
    class_map=class_maps.load("harmony"),
    formats=("yolo", "coco", "parquet"),
    preparation=PreparationOptions(tiles=TileOptions(size=100, overlap=20)),
)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PART_PAGES", 1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sharded.write(tmp_path_factory.mktemp("source") / "data", FILES)


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a conversion in one part."""
    out = tmp_path_factory.mktemp("expected") / "out"
    convert(source, out, OPTIONS)
    return contents(out)


def test_parts_are_consecutive_files_with_enough_pages(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = open_all([source], OPTIONS.class_map)
    splits = assign_splits(sources, OPTIONS)
    for least, expected in ((1, [3] * 4), (4, [6, 6]), (7, [9, 3]), (100, [12])):
        monkeypatch.setattr(plan, "PART_PAGES", least)
        parts = plan_parts(sources, splits)
        assert [part.n_pages for part in parts] == expected
        assert [part.number for part in parts] == list(range(len(parts)))


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_do_not_change_the_bytes(
    source: Path, expected: dict[str, bytes], workers: int, tmp_path: Path
) -> None:
    convert(source, tmp_path / "out", OPTIONS, workers=workers)
    assert contents(tmp_path / "out") == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("n", [0, 2, 3, 7, 11])
def test_an_interrupted_conversion_continues(
    source: Path,
    expected: dict[str, bytes],
    n: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, said = tmp_path / "out", list[str]()
    with pytest.raises(KeyboardInterrupt):
        convert(source, out, OPTIONS, track=stop_after(n, KeyboardInterrupt()), say=said.append)
    n_finished = n // sharded.PAGES
    kept = [".out.parts"] if n_finished else []
    assert [path.name for path in tmp_path.iterdir()] == kept
    assert said[0].startswith("12 pages in 4 parts: about 1 s of CPU time, ")
    assert said[1:] == [
        f"finished parts are kept; the same command with OUT {out} continues with them"
    ] * len(kept)
    said.clear()
    made = made_parts(monkeypatch)
    convert(source, out, OPTIONS, say=said.append)
    assert made == list(range(n_finished, FILES))
    assert said[: len(kept)] == [f"continuing: {n_finished} of 4 parts were made before"] * len(
        kept
    )
    assert contents(out) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def made_parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that receives the number of each part that is made."""
    made: list[int] = []
    original = making.jobs_of

    def jobs(part: plan.Part, *arguments: object) -> object:
        made.append(part.number)
        return original(part, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(making, "jobs_of", jobs)
    return made


def test_other_options_start_anew(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, said = tmp_path / "out", list[str]()
    with pytest.raises(OmrError, match="full; nothing was written to"):
        convert(source, out, OPTIONS, track=stop_after(7, OSError(28, "full")))
    other = replace(OPTIONS, preparation=replace(OPTIONS.preparation, tiles=None))
    made = made_parts(monkeypatch)
    convert(source, out, other, say=said.append)
    assert made == [0, 1, 2, 3]
    assert said[0] == (
        "starting anew: the parts that were made before have other options or inputs"
    )
    assert len(list((out / "images").rglob("*.png"))) == 12  # no tiles of the first attempt


def test_a_changed_file_is_converted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = sharded.write(tmp_path / "data"), tmp_path / "out"
    with pytest.raises(OmrError):
        convert(source, out, OPTIONS, track=stop_after(9, OmrError("stop")))
    path = source / "shard_1_train.json"
    before = path.stat()
    text = path.read_text().replace("[10, 20, 30, 36]", "[10, 20, 30, 46]")
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had happened
    made = made_parts(monkeypatch)
    convert(source, out, OPTIONS)
    assert made == [1, 3]
    convert(source, tmp_path / "fresh", OPTIONS)
    assert contents(out) == contents(tmp_path / "fresh")


def test_a_removed_file_leaves_nothing_behind(tmp_path: Path) -> None:
    source, out = sharded.write(tmp_path / "data"), tmp_path / "out"
    with pytest.raises(OmrError):
        convert(source, out, OPTIONS, track=stop_after(9, OmrError("stop")))
    (source / "shard_1_train.json").unlink()
    convert(source, out, OPTIONS)
    convert(source, tmp_path / "fresh", OPTIONS)
    assert contents(out) == contents(tmp_path / "fresh")


def test_a_damaged_record_is_an_error(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OmrError):
        convert(source, out, OPTIONS, track=stop_after(9, OmrError("stop")))
    record_path(tmp_path / ".out.parts", 1).write_bytes(b"\x81")
    with pytest.raises(OmrError, match=r"00001.done: damaged, so the conversion cannot be cont"):
        convert(source, out, OPTIONS)


def test_a_missing_image_of_a_finished_part_is_an_error(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OmrError):
        convert(source, out, OPTIONS, track=stop_after(9, OmrError("stop")))
    next((tmp_path / ".out.parts" / "images").rglob("*.png")).unlink()
    with pytest.raises(OmrError, match=r"\.png: missing, so the conversion cannot be continued"):
        convert(source, out, OPTIONS)


@pytest.mark.parametrize("n_shards", [1, 3, 5])
def test_shards_are_merged(
    source: Path, expected: dict[str, bytes], n_shards: int, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for number in range(n_shards, 0, -1):
        with pytest.raises(OmrError, match=r"parts are missing|4 of 4 parts"):
            convert(source, out, OPTIONS, only_merge=True)
        made = convert_shard(source, out, OPTIONS, (number, n_shards))
        assert (made.n_before, made.n_in_all) == (0, FILES)
    again = convert_shard(source, out, OPTIONS, (1, n_shards))
    assert again.n_before == again.n_parts
    convert(source, out, OPTIONS, only_merge=True)
    assert contents(out) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_shard_that_was_interrupted(
    source: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    convert_shard(source, out, OPTIONS, (2, 2))
    with pytest.raises(KeyboardInterrupt):
        convert_shard(source, out, OPTIONS, (1, 2), track=stop_after(4, KeyboardInterrupt()))
    assert convert_shard(source, out, OPTIONS, (1, 2)).n_before == 1
    convert(source, out, OPTIONS, only_merge=True)
    assert contents(out) == expected


def test_two_jobs_with_the_same_shard(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with parts_folder(out) as folder:
        folder.joinpath(".omr-parts").mkdir(parents=True)
        with (
            locked_part(folder, 2),
            pytest.raises(ConfigError, match=r"another omr process .* is writing here"),
        ):
            convert_shard(source, out, OPTIONS, (1, 2))
        with pytest.raises(ConfigError, match="another omr process"):
            convert(source, out, OPTIONS)  # while a job works


def test_a_small_data_set_is_a_single_part(
    source: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "PART_PAGES", 1000)
    out = tmp_path / "out"
    with pytest.raises(InputError):
        convert(source, out, OPTIONS, track=stop_after(11, InputError("x", path=out)))
    assert list(tmp_path.iterdir()) == []
    assert convert_shard(source, out, OPTIONS, (2, 2)).n_parts == 0
    assert convert_shard(source, out, OPTIONS, (1, 2)).n_parts == 1
    convert(source, out, OPTIONS, only_merge=True)
    assert contents(out) == expected


@pytest.mark.parametrize("form", ["deepscoresv2", "coco", "yolo", "labelme", "mung", "parquet"])
def test_files_are_opened_again_in_other_processes(form: str, source: Path, tmp_path: Path) -> None:
    """Whole parts are sent to processes if there are enough of them."""
    data = source
    if form != "deepscoresv2":
        data = tmp_path / "data"
        convert(source, data, replace(OPTIONS, formats=tuple({form, "yolo"})))
        (data / "manifest.json").unlink()
        if form != "yolo":
            (data / "data.yaml").unlink()
    name, files = open_source(data)
    assert name == form
    class_map = OPTIONS.class_map if form == "deepscoresv2" else identity_map(name, files)
    options = ConversionOptions(class_map=class_map, labels_only=form == "deepscoresv2")
    convert(data, tmp_path / "one", options, workers=1)
    convert(data, tmp_path / "two", options, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_parquet_is_converted_in_parts(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each table of images can be a part: processes and shards do not change the bytes."""
    monkeypatch.setattr(parquet, "IMAGES_PER_PART", 5)
    data = tmp_path / "data"
    convert(source, data, replace(OPTIONS, formats=("parquet",)))
    tables = sorted(path.name for path in (data / "parquet" / "images_train").iterdir())
    assert tables == [f"part-{i:05d}.parquet" for i in range(len(tables))]
    assert len(tables) >= 4
    options = ConversionOptions(
        class_map=identity_map(*open_source(data)), formats=("parquet", "yolo")
    )
    for workers in (1, 2):
        convert(data, tmp_path / str(workers), options, workers=workers)
    out = tmp_path / "out"
    made = [convert_shard(data, out, options, (number, 2)).n_parts for number in (2, 1)]
    assert sum(made) == len(tables)
    convert(data, out, options, only_merge=True)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(out)


def test_dask(source: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    path = os.pathsep.join(filter(None, sys.path))
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=":0",
        env={"PYTHONPATH": path},
        local_directory=str(tmp_path / "dask"),
    ) as cluster:
        convert(source, tmp_path / "out", OPTIONS, scheduler=cluster.scheduler_address)
    assert contents(tmp_path / "out") == expected


def test_errors_of_a_cluster(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(ConfigError, match="--scheduler nowhere: no Dask scheduler answers"):
        convert(source, tmp_path / "out", OPTIONS, scheduler="nowhere")
    assert list(tmp_path.iterdir()) == []
