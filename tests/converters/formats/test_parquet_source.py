"""Reading of Parquet data sets: layouts, types of other tools, and damaged or inconsistent tables."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import coco_json
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from strategies import pages

from class_maps import CategoryMapping, InputError, MissingExtraError, OmrError
from converters.conversion import ConversionOptions, convert
from converters.formats import parquet, parquet_source, parquet_tables
from converters.formats.parquet import ParquetWriter
from converters.formats.parquet_source import open_files
from converters.formats.sources import identity_map, open_source
from converters.page import Page, Placement
from converters.splitting.dataset import split_dataset
from converters.splitting.plan import SplitOptions
from converters.tally import Tally

NAMES = ("note", "stem")
SAME = CategoryMapping(name="parquet", annotation_set=None, class_of={name: name for name in NAMES})
LABELS = {"note": 0, "stem": 1}


def page_of(image: str, n: int = 1, **fields: Any) -> Page:  # noqa: ANN401
    boxes_xyxy = np.array([[10.0, 10, 20, 20]] * n).reshape(-1, 4)
    return Page(
        image=PurePosixPath(image),
        width=coco_json.WIDTH,
        height=coco_json.HEIGHT,
        boxes_xyxy=boxes_xyxy + np.arange(n)[:, None],
        labels=np.arange(n) % 2,
        **fields,
    )


def write(folder: Path, *pages: Page, split: str = "train", draw: bool = True) -> Path:
    """Write a data set with an image of each page, and return its folder."""
    writer = ParquetWriter(folder, NAMES)
    for page in pages:
        writer.add(split, page)
        if draw:
            coco_json.draw(folder / "images" / split / page.image)
    writer.close()
    return folder


def read(folder: Path, *, clip: bool = False) -> list[Page]:
    files = open_source(folder)[1]
    return [page for file in files for page in file.pages(SAME, LABELS, Tally(), clip=clip)]


def change(
    folder: Path, kind: str, function: Callable[[pl.DataFrame], pl.DataFrame], split: str = "train"
) -> Path:
    """Replace the only table of a kind."""
    file = folder / "parquet" / f"{kind}_{split}" / "part-00000.parquet"
    function(pl.read_parquet(file)).write_parquet(file)
    return file


def assert_same(page: Page, expected: Page) -> None:
    names = ("image", "width", "height", "staff_space", "capture", "placement")
    assert [getattr(page, name) for name in names] == [getattr(expected, name) for name in names]
    for name in ("boxes_xyxy", "labels", "corners", "symbol_ids", "cut"):
        array, expected_array = getattr(page, name), getattr(expected, name)
        if expected_array is None or not len(expected.labels):
            assert array is None or not len(array)
        else:
            np.testing.assert_array_equal(array, expected_array)


@given(written=pages())
def test_pages_are_read_as_they_were_written(
    written: Page, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write(tmp_path_factory.mktemp("parquet"), written, draw=False)
    [page] = read(folder)
    assert_same(page, written)
    assert page.n_annotations == len(written.labels)


def test_every_field_of_a_page(tmp_path: Path) -> None:
    corners = np.arange(16, dtype=np.float64).reshape(2, 4, 2)
    placement = Placement(page=PurePosixPath("b/p.png"), x=3, y=4, scale_x=0.5, scale_y=0.25)
    full = page_of(
        "b/a.png",
        2,
        corners=corners,
        symbol_ids=np.array([7, 2**40]),
        cut=np.array([True, False]),
        staff_space=9.25,
        capture="scan",
        placement=placement,
    )
    plain, empty = page_of("c.png", 3), page_of("a.png", 0, staff_space=1.5)
    pages = read(write(tmp_path, full, plain, empty))
    for page, expected in zip(pages, (empty, full, plain), strict=True):
        assert_same(page, expected)


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_pages_do_not_depend_on_batches_and_parts(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = [page_of(f"{i}.png", i % 4) for i in range(9)]
    monkeypatch.setattr(parquet, "ROWS_PER_PART", 4)
    monkeypatch.setattr(parquet, "ROW_GROUP", 2)
    monkeypatch.setattr(parquet_source, "ROW_GROUP", batch)
    monkeypatch.setattr(parquet_source, "IMAGES_PER_BATCH", batch)
    folder = write(tmp_path, *written)
    files = open_files(folder)
    assert [len(file.images) for file in files] == [4, 4, 1]
    for page, expected in zip(read(folder), written, strict=True):
        assert_same(page, expected)


def test_row_groups_of_other_images_are_skipped(tmp_path: Path) -> None:
    """The filter of a batch reaches the scan, whose statistics exclude other row groups."""
    file = write(tmp_path, page_of("a.png"), page_of("b.png")) / "parquet" / "symbols_train"
    [table] = file.iterdir()
    lazy = parquet_tables.lazy_table(table, parquet_tables.SYMBOLS)
    plan = lazy.filter(pl.col("image").is_between(pl.lit("a.png"), pl.lit("a.png"))).explain()
    assert "SELECTION:" in plan
    assert "FILTER" not in plan


def test_tables_that_another_program_has_rewritten(tmp_path: Path) -> None:
    """Unsorted rows, other types, other columns, and a single file per split."""
    written = page_of("a.png", 2, corners=np.arange(16.0).reshape(2, 4, 2)), page_of("b.png", 1)
    folder = write(tmp_path, *written)
    for kind in ("images", "symbols"):
        file = change(folder, kind, lambda table: table.with_columns(extra=1).reverse())
        file.rename(folder / "parquet" / f"{kind}_val.parquet")
        file.parent.rmdir()
    symbols = folder / "parquet" / "symbols_val.parquet"
    pl.read_parquet(symbols).with_columns(
        pl.col("name").cast(pl.String),
        pl.col("x_min", "y_max").cast(pl.Int32),
        pl.col("corners").cast(pl.List(pl.Float64)),
    ).drop("symbol_id", "cut").write_parquet(symbols)
    (folder / "images" / "train").rename(folder / "images" / "val")
    name, [opened] = open_source(folder)
    assert (name, opened.split, opened.image_folder) == (
        "parquet",
        "val",
        folder / "images" / "val",
    )
    assert opened.categories(SAME) == NAMES
    second, first = read(folder)
    assert first.boxes_xyxy.tolist() == written[0].boxes_xyxy[::-1].tolist()
    assert first.corners is not None
    assert first.corners.tolist() == np.arange(16.0).reshape(2, 4, 2)[::-1].tolist()
    assert_same(second, written[1])


def test_missing_corners_and_ids_of_some_symbols(tmp_path: Path) -> None:
    folder = write(tmp_path, page_of("a.png", 2, corners=np.ones((2, 4, 2))))
    is_first = pl.int_range(2) == 0
    change(
        folder,
        "symbols",
        lambda table: table.with_columns(
            pl.when(is_first).then("corners"), symbol_id=pl.when(is_first).then(5)
        ),
    )
    [page] = read(folder)
    assert page.corners is not None
    assert page.corners[1].tolist() == [[21, 21], [21, 11], [11, 11], [11, 21]]
    assert page.symbol_ids is not None
    assert page.symbol_ids.tolist() == [5, -1]


def test_all_classes_are_known_although_few_occur(tmp_path: Path) -> None:
    name, files = open_source(write(tmp_path, page_of("a.png", 1)))
    assert identity_map(name, files).names == NAMES


@pytest.mark.parametrize("is_moved", [False, True])
def test_images_elsewhere(is_moved: bool, tmp_path: Path) -> None:
    source = write(tmp_path / "source", page_of("a.png"), page_of("b/a.png"))
    name, files = open_source(source)
    options = ConversionOptions(
        class_map=identity_map(name, files), formats=("parquet",), image_mode="reference"
    )
    out = tmp_path / "out"
    convert(source, out, options)
    assert not (out / "images").exists()
    if is_moved:
        shutil.move(source / "images", tmp_path / "moved")
        with pytest.raises(InputError, match=r"points outside the image folder: .*use --image-fol"):
            open_source(out)
        [file] = open_source(out, images=tmp_path / "moved" / "train")[1]
        assert file.image_folder == tmp_path / "moved" / "train"
    else:
        [file] = open_source(out)[1]
        assert file.image_folder == source / "images" / "train"
        (out / "manifest.json").rename(tmp_path / "manifest.json")
        with pytest.raises(InputError, match="points outside the image folder"):
            open_source(out)
    assert [str(image) for image in file.images] == ["a.png", "b/a.png"]


@pytest.mark.parametrize(
    ("split", "expected", "notes"),
    [
        ("valid", "val", ()),
        ("pages", "train", ("images_pages: split train, because its name contains none",)),
    ],
)
def test_split(split: str, expected: str, notes: tuple[str, ...], tmp_path: Path) -> None:
    [file] = open_files(write(tmp_path, page_of("a.png"), split=split))
    assert (file.split, file.warnings) == (expected, notes)


def null(column: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda t: t.with_columns(pl.when(pl.int_range(pl.len()) != 1).then(column))


def value(column: str, new: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:  # noqa: ANN401
    return lambda t: t.with_columns(
        pl.when(pl.int_range(pl.len()) == 1).then(pl.lit(new)).otherwise(column).alias(column)
    )


TABLE = "a table that `omr convert --format parquet` writes"


@pytest.mark.parametrize(
    ("kind", "function", "message"),
    [
        ("symbols", lambda t: t.drop("name", "x_min"), f"no column name, x_min; expected {TABLE}"),
        ("images", lambda t: t.drop("width"), f"no column width; expected {TABLE}"),
        ("symbols", lambda t: t.with_columns(x_min=pl.lit("a")), "x_min: expected numbers, got String"),
        ("symbols", lambda t: t.with_columns(name=pl.lit(3)), "name: expected text, got Int32"),
        ("symbols", lambda t: t.with_columns(corners=pl.lit(3)), "corners: expected 8 numbers, got Int32"),
        ("symbols", lambda t: t.with_columns(corners=pl.lit([1.0] * 7)), "is not a valid Parquet file: not all elements have the specified width 8"),
        ("symbols", lambda t: t.with_columns(cut=pl.lit(3)), "cut: expected true or false, got Int32"),
        ("images", lambda t: t.with_columns(width=pl.lit(1.5)), "width: expected whole numbers, got Float64"),
        ("symbols", null("image"), "row 2, image: missing value"),
        ("symbols", null("name"), "row 2, name: missing value"),
        ("symbols", null("y_max"), "row 2, y_max: missing value"),
        ("images", null("image"), "row 2, image: missing value"),
        ("symbols", value("x_max", float("nan")), "row 2: box with NaN or Inf"),
        ("symbols", value("x_max", float("inf")), "row 2: box with NaN or Inf"),
        ("symbols", value("x_max", 1.0), "row 2: negative width or height"),
        ("symbols", value("x_max", 101.0), "extends beyond the image of 100 x 80 px: 1 symbol (row 2); use --clip to clip boxes to the image"),
        ("symbols", value("image", "c.png"), "symbols of 1 image (c.png) without a row in the table of images; add the images, or remove the symbols"),
        ("images", value("image", "a.png"), "images: duplicate: 1 file (a.png)"),
        ("images", value("image", "../../x.png"), "images[1].image: points outside the image folder: '../../x.png'; use --image-folder DIR to find the file in DIR by the end of its path"),
        ("images", value("width", 0), "images[1]: invalid image size: 0 x 80 px"),
        ("images", value("staff_space", 0.0), "row 2, staff_space: expected above 0, got 0.0"),
        ("images", value("scale_x", float("nan")), "row 2, scale_x: expected above 0, got nan"),
    ],
)  # fmt: skip
def test_invalid_tables(
    kind: str, function: Callable[[pl.DataFrame], pl.DataFrame], message: str, tmp_path: Path
) -> None:
    folder = write(tmp_path, page_of("a.png"), page_of("b.png"))
    if "images: dup" in message or "images[1]" in message:  # symbols would have no image
        change(folder, "symbols", lambda table: table[:1])
    file = change(folder, kind, function)
    with pytest.raises(InputError) as raised:
        read(folder)
    assert str(raised.value) == f"{file}: {message}"


def test_an_image_in_two_tables(tmp_path: Path) -> None:
    file = write(tmp_path, page_of("a.png")) / "parquet/images_train/part-00000.parquet"
    shutil.copy(file, file.with_name("part-00001.parquet"))
    with pytest.raises(InputError) as raised:
        open_files(tmp_path)
    other = file.with_name("part-00001.parquet")
    assert str(raised.value) == f"{other}: duplicate image: a.png is also in part-00000.parquet"


@pytest.mark.parametrize(
    ("kind", "limit", "message"),
    [
        ("symbols", "MAX_ROWS", "has 2 rows; expected at most 1, divide it"),
        ("images", "MAX_IMAGES", "has 2 rows; expected at most 1, divide it"),
        ("symbols", "MAX_TEXT_BYTES", "name: text of 4 characters; expected at most 1"),
    ],
)
def test_tables_made_to_exhaust_memory(
    kind: str, limit: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path, page_of("a.png"), page_of("b.png"))
    monkeypatch.setattr(parquet_tables, limit, 1)
    with pytest.raises(InputError) as raised:
        open_files(folder)
    assert str(raised.value) == f"{folder}/parquet/{kind}_train/part-00000.parquet: {message}"


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path, page_of("a.png"))
    pipe = folder / "parquet" / "images_train" / "part-00001.parquet"
    os.mkfifo(pipe)
    with pytest.raises(InputError) as raised:
        open_files(folder)
    assert str(raised.value) == f"{pipe}: is not a regular file"


def test_too_many_symbols_of_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_source, "MOST_SYMBOLS", 4)
    assert len(read(write(tmp_path / "4", page_of("a.png", 4)))[0].labels) == 4
    folder = write(tmp_path / "5", page_of("a.png", 5))
    with pytest.raises(InputError, match=r"image a.png: 5 symbols; expected at most 4 per image$"):
        read(folder)


@pytest.mark.parametrize("kind", ["images", "symbols"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_files(kind: str, share: float, tmp_path: Path) -> None:
    file = write(tmp_path, page_of("a.png", 9)) / f"parquet/{kind}_train/part-00000.parquet"
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError) as raised:
        read(tmp_path)
    assert str(raised.value).startswith(f"{file}: is not a valid Parquet file: ")
    assert "\n" not in str(raised.value)


def test_tables_of_another_layout(tmp_path: Path) -> None:
    layout = parquet_source.LAYOUT
    table = pl.DataFrame({"text": ["a"]})
    (tmp_path / "data").mkdir()
    table.write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(InputError) as raised:
        open_source(tmp_path)
    assert str(raised.value) == f"{tmp_path}: no tables of images; {layout}"
    file = tmp_path / "data" / "train-00000-of-00001.parquet"
    with pytest.raises(InputError) as raised:
        open_source(file)
    assert str(raised.value) == f"{file}: is a single table; convert its folder; {layout}"


@pytest.mark.parametrize(("gone", "missing"), [("symbols", "symbols"), ("images", "images")])
def test_a_missing_kind_of_table(gone: str, missing: str, tmp_path: Path) -> None:
    folder = write(tmp_path, page_of("a.png"))
    write(folder, page_of("v.png"), split="val")
    shutil.rmtree(folder / "parquet" / f"{gone}_val")
    with pytest.raises(InputError) as raised:
        open_files(folder)
    message = f"no tables {missing}_val; {parquet_source.LAYOUT}"
    assert str(raised.value) == f"{folder / 'parquet'}: {message}"


def test_a_name_without_split_beside_another(tmp_path: Path) -> None:
    write(tmp_path, page_of("a.png"))
    write(tmp_path, page_of("b.png"), split="pages")
    with pytest.raises(InputError, match="no split in the name images_pages; rename it to train,"):
        open_files(tmp_path)


@pytest.mark.parametrize("kind", ["images", "symbols"])
def test_a_table_that_changes_meanwhile(kind: str, tmp_path: Path) -> None:
    [file] = open_files(write(tmp_path, page_of("a.png")))
    before = file.sha256()
    table = change(tmp_path, kind, lambda t: t.with_columns(extra=1))
    with pytest.raises(InputError, match="changed while it was converted; convert it again"):
        file.sha256()
    assert table in file.states
    [again] = open_files(tmp_path)
    assert again.sha256() != before


def test_without_polars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, page_of("a.png"))
    monkeypatch.setattr(parquet_tables, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as raised:
        open_source(tmp_path)
    message = "reading Parquet needs polars, which is not installed; pip install polars"
    assert str(raised.value) == message


def test_omr_split_needs_a_yolo_folder(tmp_path: Path) -> None:
    write(tmp_path, page_of("a.png"))
    with pytest.raises(OmrError) as raised:
        split_dataset(tmp_path, tmp_path / "out", SplitOptions(val=0.5))
    assert str(raised.value) == (
        f"{tmp_path}/data.yaml: no such file, but Parquet tables; convert them with `omr convert "
        f"{tmp_path} OUT --format yolo --classes FILE`, and use OUT"
    )


def test_converted_to_yolo(tmp_path: Path) -> None:
    source = write(tmp_path / "source", page_of("a.png", 2), page_of("b/c.png", 0))
    name, files = open_source(source)
    convert(source, tmp_path / "out", ConversionOptions(class_map=identity_map(name, files)))
    labels = (tmp_path / "out/labels/train/a.txt").read_text().splitlines()
    assert labels == ["0 0.150000 0.187500 0.100000 0.125000", "1 0.160000 0.200000 0.100000 0.125000"]  # fmt: skip
    assert (tmp_path / "out/labels/train/b/c.txt").read_text() == ""
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["source"] == "parquet"
    assert manifest["files"][0] | {"sha256": "", "bytes": 0} == {
        "name": "part-00000.parquet", "bytes": 0, "sha256": "", "split": "train", "pages": 2
    }  # fmt: skip


def test_what_is_known_of_a_page_survives_conversions(tmp_path: Path) -> None:
    """Pages of a work that their names do not contain stay in one split."""
    pages = [page_of(f"{i}.png", 2, work=f"w{i % 3}", capture="scan") for i in range(6)]
    first = write(tmp_path / "0", *pages, page_of("lg-7-aug-a--page-1.png", 1))
    for i in range(2):
        name, files = open_source(tmp_path / str(i))
        options = ConversionOptions(
            class_map=identity_map(name, files), formats=("parquet",), val=0.4 * i
        )
        convert(tmp_path / str(i), tmp_path / str(i + 1), options)
    works = {f"{i}.png": f"w{i % 3}" for i in range(6)}
    assert {
        k.as_posix(): v for file in open_source(first)[1] for k, v in file.works.items()
    } == works
    tables = {
        split: pl.read_parquet(tmp_path / f"2/parquet/images_{split}/*.parquet")
        for split in ("train", "val")
    }
    known = {row["image"]: row for table in tables.values() for row in table.to_dicts()}
    assert {name: row["work"] for name, row in known.items()} == works | {
        "lg-7-aug-a--page-1.png": None
    }
    assert {row["capture"] for name, row in known.items() if name in works} == {"scan"}
    of_split = [set(table["work"].drop_nulls()) for table in tables.values()]
    assert all(of_split)
    assert not of_split[0] & of_split[1]
