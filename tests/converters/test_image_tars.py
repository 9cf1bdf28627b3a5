"""Images in tar files: where they are, equal bytes however they are made, and damage."""

import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import sharded

import class_maps
from class_maps import ConfigError, InputError, OmrError
from converters import image_headers, image_tars, images
from converters.conversion import ConversionOptions, convert, convert_shard
from converters.files.hashes import sha256, short_hash, state
from converters.formats.datasets import open_dataset
from converters.image_tars import INDEX, ReadAhead, find_in_tar, open_image
from converters.parts import plan
from converters.prepare.preparation import PreparationOptions, PreparedPage
from converters.prepare.tiles import TileOptions

FILES = ConversionOptions(
    class_map=class_maps.load("harmony"),
    formats=("parquet",),
    preparation=PreparationOptions(tiles=TileOptions(size=100, overlap=20)),
)
TAR = replace(FILES, image_mode="tar")
N_TILES = 36
"""Three tiles of each of the 12 pages of :func:`sharded.write`."""


def make_small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan, "PART_PAGES", 6)  # two files
    patch.setattr(image_tars, "MOST_BYTES", 120_000)  # about four pages


@pytest.fixture(autouse=True)
def _small_parts_and_tar_files(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sharded.write(tmp_path_factory.mktemp("source") / "data")


@pytest.fixture(scope="module")
def converted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "out"
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        convert(source, out, TAR)
    return out


@pytest.fixture
def data(converted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(converted, tmp_path / "out")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def stop_after(n: int) -> Callable[[Iterable[PreparedPage], int], Iterator[PreparedPage]]:
    def track(pages: Iterable[PreparedPage], _: int) -> Iterator[PreparedPage]:
        for i, page in enumerate(pages):
            if i == n:
                raise KeyboardInterrupt
            yield page

    return track


def test_tar_files_have_the_bytes_of_loose_images(data: Path, source: Path) -> None:
    convert(source, data.parent / "loose", FILES)
    loose = data.parent / "loose/images/train"
    folder = data / "images/train"
    names = [path.name for path in sorted(folder.iterdir())]
    assert names == [f"0000{i}-00{k}.tar" for i in (0, 1) for k in (0, 1)] + [INDEX]
    members = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                members[member.name] = file.read()
    assert members == contents(loose)
    assert len(members) == N_TILES
    for name, content in members.items():
        with open_image(folder / name) as image:
            assert image.read() == content
        assert image_headers.size(folder / name) == image_headers.size(loose / name)
        np.testing.assert_array_equal(
            images.read_bgr(folder / name), images.read(loose / name)[..., None].repeat(3, 2)
        )
        assert sha256(folder / name) == sha256(loose / name)
        assert short_hash(folder / name) == short_hash(loose / name)
        assert state(folder / name) == (
            len(content),
            (found := find_in_tar(folder / name)) and found.tar.stat().st_mtime_ns,
        )
    assert contents(data / "parquet") == contents(data.parent / "loose/parquet")


def test_the_bytes_do_not_depend_on_processes_and_jobs(data: Path, source: Path) -> None:
    expected, out = contents(data), data.parent / "other/out"
    convert(source, out, TAR, workers=2)
    assert contents(out) == expected
    shutil.rmtree(out)
    for number in (2, 1):
        convert_shard(source, out, TAR, (number, 2))
    convert(source, out, TAR, only_merge=True)
    assert contents(out) == expected
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("n", [0, 5, 6, 9])
def test_an_interrupted_conversion_continues(data: Path, source: Path, n: int) -> None:
    out = data.parent / "other/out"
    with pytest.raises(KeyboardInterrupt):
        convert(source, out, TAR, track=stop_after(n))
    convert(source, out, TAR)
    assert contents(out) == contents(data)
    with pytest.raises(KeyboardInterrupt):
        convert_shard(source, data.parent / "jobs/out", TAR, (1, 1), track=stop_after(n))
    convert_shard(source, data.parent / "jobs/out", TAR, (1, 1))
    convert(source, data.parent / "jobs/out", TAR, only_merge=True)
    assert contents(data.parent / "jobs/out") == contents(data)


@pytest.mark.parametrize("name", ["images/train/00000-000.tar", ".omr-parts/00000-train.npy"])
def test_a_damaged_part_is_not_continued(source: Path, name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        convert(source, out, TAR, track=stop_after(9))
    path = tmp_path / ".out.parts" / name
    if path.suffix == ".tar":
        path.unlink()
    else:
        path.write_bytes(b"x")
    with pytest.raises(OmrError, match="so the conversion cannot be continued; remove"):
        convert(source, out, TAR)


def test_a_data_set_in_tar_files_is_converted_to_files(data: Path, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\nclasses: [noteheadBlack]\nsources: {parquet: {map: same names}}\n"
    )
    own = ConversionOptions(class_map=class_maps.load(str(tmp_path / "own.yaml")))
    convert(data, tmp_path / "back", own)
    back = contents(tmp_path / "back/images")
    assert len(back) == N_TILES
    for name, content in back.items():
        with open_image(data / "images" / name) as image:
            assert image.read() == content
    again = replace(own, formats=("parquet",), image_mode="tar")
    convert(data, tmp_path / "again", again)
    assert len(open_dataset(tmp_path / "again").image_paths("train")) == N_TILES
    for mode in ("link", "reference"):
        options = replace(own, formats=("parquet",), image_mode=mode)
        with pytest.raises(InputError, match=r"\.png: is in a tar file, which cannot be linked"):
            convert(data, tmp_path / mode, options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formats": ("yolo", "parquet")}, "readers of other formats than Parquet expect files"),
        ({"labels_only": True}, "--labels-only omits images"),
    ],
)
def test_options_that_exclude_tar_files(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(TAR, **changes)


def test_missing_and_damaged_tar_files(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = data / "images/train"
    name = open_dataset(data).image_paths("train")[0].name
    with pytest.raises(InputError, match=r"images/train/b\.png: no such image"):
        images.read(folder / "b.png")
    assert find_in_tar(data / "elsewhere/b.png") is None
    shard = folder / "00000-000.tar"
    content = shard.read_bytes()
    shard.write_bytes(content[:1000])
    with pytest.raises(InputError, match=r"00000-000.tar: is truncated; restore it"):
        images.read(folder / name)
    shard.unlink()
    with pytest.raises(InputError, match=r"00000-000.tar: no such file; restore it"):
        image_headers.size(folder / name)
    monkeypatch.chdir(data.parent)
    for damaged in (b"", b"\x93NUMPY", np.lib.format.magic(1, 0) + b"\x01\x00x"):
        (folder / INDEX).write_bytes(damaged)
        with pytest.raises(InputError, match=r"index.npy: is not an index of tar files"):
            images.read(folder / name)
    for index in (np.zeros(3), np.array([{}], object), np.zeros((5, 2), np.uint64)):
        np.save(folder / INDEX, index, allow_pickle=True)
        with pytest.raises(InputError, match=r"index.npy: is not an index of tar files"):
            images.read(folder / name)


@pytest.mark.parametrize("offset", [0, 1 << 40, (1 << 64) - 1])
def test_positions_outside_of_the_tar_file(data: Path, offset: int) -> None:
    folder = data / "images/train"
    path = open_dataset(data).image_paths("train")[0]
    index = np.load(folder / INDEX)
    index[3], index[4] = offset, 1 << 62
    np.save(folder / INDEX, index)
    with pytest.raises(InputError, match=r"\.tar: is truncated; restore it"):
        images.read(path)


@pytest.mark.parametrize("name", [INDEX, "00000-000.tar"])
def test_pipes_are_not_waited_for(data: Path, name: str) -> None:
    path = data / "images/train" / name
    first = open_dataset(data).image_paths("train")[0]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"is truncated|is not a regular file"):
        images.read(first)


NAMES = ("a.png", "sub/ü.png", f"{'n' * 250}.png")


def test_empty_pages_and_long_names(tmp_path: Path) -> None:
    """A page without images, an empty image, and names that do not fit a header of tar."""
    contents = {PurePosixPath(name): bytes(range(i)) for i, name in enumerate(NAMES)}
    image_tars.write_tar(tmp_path / "empty.page", [])
    image_tars.write_tar(tmp_path / "x.page", contents.items())
    tars = [tmp_path / "empty.page", tmp_path / "x.page"]
    positions = image_tars.join_tars(tars, tmp_path, 7)
    assert image_tars.join_tars([], tmp_path, 8).shape == (5, 0)
    image_tars.write_index(tmp_path, [positions])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00007-000.tar", INDEX]
    for name, content in contents.items():
        with open_image(tmp_path / name) as image:
            assert image.read() == content
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "b.png")
    with pytest.raises(InputError, match="two names of images have the same hash"):
        image_tars.write_index(tmp_path, [positions, positions])


def test_an_index_without_images(tmp_path: Path) -> None:
    image_tars.write_index(tmp_path, [np.empty((5, 0), np.uint64)])
    assert find_in_tar(tmp_path / "a.png") is None


def test_chunks_are_read_ahead_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_tars, "CHUNK_BYTES", 60_000)
    monkeypatch.setattr(image_tars, "ADVICE_BYTES", 20_000)
    advised: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, n, __: advised.append((start, n)))
    paths = open_dataset(data).image_paths("train")
    read_ahead = ReadAhead()
    for path in paths * 2:
        read_ahead(path)
    found = [image for path in paths if (image := find_in_tar(path))]
    chunks = {(image.tar, image.offset // 60_000) for image in found}
    assert len(advised) == 3 * len(chunks) < len(paths)
    assert {start for start, _ in advised} >= {0, 20_000, 40_000, 60_000}
    assert {n for _, n in advised} == {20_000}
    numbers = image_tars.chunk_numbers([str(path) for path in paths], data / "images/train")
    assert numbers is not None
    assert len(set(numbers.tolist())) == len(chunks)
    read_ahead(data / "manifest.json")
    with pytest.raises(InputError, match=r"b\.png: is not in the tar files"):
        image_tars.chunk_numbers([str(data / "images/train/b.png")], data / "images/train")
