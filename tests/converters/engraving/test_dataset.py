"""Complete data sets: contents, reproducibility and errors."""

import errno
import hashlib
import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fragments import score
from in_process_child import typeset_in_process

import class_maps
from class_maps import ConfigError, InputError, OmrError, catalogue
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.engraving import child, dataset, music_files, typesetting
from converters.engraving.dataset import EngravingOptions, engrave
from converters.engraving.pages import PageOptions, engrave_page
from converters.engraving.pieces import Piece, number_pieces

SMALL = PageOptions(width=700, height=600)
PAGES = 6
N_MIXED = 6
"""Number of pages with mixed degradations."""
NOTES = '<note pname="c" oct="5" dur="4"/>' * 4


def options(**more: Any) -> EngravingOptions:  # noqa: ANN401
    settings: dict[str, Any] = {"pages": PAGES, "page": SMALL} | more
    return EngravingOptions(**settings)


def labels(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for path in sorted(folder.glob("deepscores_*.json")):
        data = json.loads(path.read_text())
        name_of = {str(image["id"]): image["filename"] for image in data["images"]}
        for annotation in data["annotations"].values():
            result.setdefault(name_of[annotation["img_id"]], []).append(annotation)
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("engraved") / "out"
    engrave(target, options(val=0.34, holdout_font="Petaluma", segmentation=True))
    return target


def test_folder_is_complete(made: Path) -> None:
    assert sorted(p.name for p in made.iterdir()) == [
        ".omr-files",
        "deepscores_train.json",
        "deepscores_val.json",
        "images",
        "manifest.json",
        "segmentation",
    ]
    data = [json.loads((made / f"deepscores_{s}.json").read_text()) for s in ("train", "val")]
    names = [image["filename"] for part in data for image in part["images"]]
    assert len(names) == PAGES
    assert sorted(names) == sorted(p.name for p in (made / "images").iterdir())
    for part in data:
        assert part["annotation_sets"] == ["engraved"]
        assert {a for image in part["images"] for a in image["ann_ids"]} == set(part["annotations"])


def test_annotations_have_the_fields_of_deepscoresv2(made: Path) -> None:
    data = json.loads((made / "deepscores_train.json").read_text())
    for annotation in data["annotations"].values():
        x0, y0, x1, y1 = annotation["a_bbox"]
        xs, ys = annotation["o_bbox"][::2], annotation["o_bbox"][1::2]
        assert x0 < x1
        assert y0 < y1
        assert max(abs(min(xs) - x0), abs(max(xs) - x1)) < 20
        assert max(abs(min(ys) - y0), abs(max(ys) - y1)) < 20
        assert annotation["area"] >= 1
        [category] = annotation["cat_id"]
        if data["categories"][category]["name"].startswith("notehead"):
            assert "rel_position:" in annotation["comments"]


def test_font_and_pieces_are_held_out(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["splits"]["val"]["fonts"] == {"Petaluma": 2}
    assert "Petaluma" not in manifest["splits"]["train"]["fonts"]
    assert manifest["splits"]["train"]["pages"] == 4
    total = sum(len(annotations) for annotations in labels(made).values())
    assert manifest["rasteriser"] == f"blend2d {version('blend2d-py')}"
    assert "rasteriser" not in manifest["engraved"]["page"]
    assert manifest["symbols"] == total == sum(manifest["categories"].values())


def test_segmentation_agrees_with_the_annotations(made: Path) -> None:
    colour = {c.id: c.color for c in catalogue("engraved").categories}
    for name, annotations in labels(made).items():
        path = made / "segmentation" / name.replace(".png", "_seg.png")
        painted = images.read(path)
        for annotation in annotations:
            x0, y0, x1, y1 = (round(side) for side in annotation["a_bbox"])
            if (x1 - x0) * (y1 - y0) > 40 and annotation["area"] > 0.5 * (x1 - x0) * (y1 - y0):
                assert colour[int(annotation["cat_id"][0])] in painted[y0:y1, x0:x1]


def test_convert_reads_every_symbol(made: Path, tmp_path: Path) -> None:
    for name in ("harmony", "deepscores"):
        out = tmp_path / name
        summary = convert(made, out, ConversionOptions(class_map=class_maps.load(name)))
        assert set(summary["splits"]) == {"train", "val"}
        assert summary["symbols"]["read"] == sum(map(len, labels(made).values()))
        assert summary["warnings"] == []
        assert set(summary["dropped_by_reason"]) <= {"not in class map"}


def test_pages_do_not_depend_on_workers_number_or_order(made: Path, tmp_path: Path) -> None:
    more = options(pages=PAGES + 2, val=0.34, holdout_font="Petaluma")
    engrave(tmp_path / "out", more, workers=2)
    smaller, larger = labels(made), labels(tmp_path / "out")
    assert smaller == {name: larger[name] for name in smaller}
    for name in smaller:
        image = (made / "images" / name).read_bytes()
        assert image == (tmp_path / "out" / "images" / name).read_bytes()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("mixed") / "out"
    engrave(target, options(pages=N_MIXED, page=replace(SMALL, degrade="mixed", seed=2)))
    return target


def test_degraded_pages_do_not_depend_on_workers(mixed: Path, tmp_path: Path) -> None:
    page = replace(SMALL, degrade="mixed", seed=2)
    engrave(tmp_path / "out", options(pages=N_MIXED, page=page), workers=2)
    files = [p.relative_to(mixed) for p in sorted(mixed.rglob("*")) if p.is_file()]
    assert len(files) >= N_MIXED + 2
    for file in files:
        assert (mixed / file).read_bytes() == (tmp_path / "out" / file).read_bytes()


def test_degradations_are_recorded(mixed: Path) -> None:
    data = json.loads((mixed / "deepscores_train.json").read_text())
    manifest = json.loads((mixed / "manifest.json").read_text())
    recorded = {image["filename"]: image["degradation"] for image in data["images"]}
    captures = Counter(entry["capture"] for entry in recorded.values())
    assert manifest["captures"] == dict(sorted(captures.items()))
    effects = Counter(effect for entry in recorded.values() for effect in entry["effects"])
    assert manifest["effects"] == dict(sorted(effects.items()))
    assert len(captures) >= 4
    for name, entry in recorded.items():
        pixels = images.read(mixed / "images" / name)
        assert pixels.shape[:2] == (600, 700)
        assert (pixels.ndim == 3) == ("warmth" in entry)
        assert ("binarisation" in entry) == (np.unique(pixels).tolist() == [0, 255])
        assert (entry["capture"] == "none") == (entry == {"capture": "none", "effects": []})
        assert entry["capture"] == "none" or {"rotation", "dpi"} <= entry.keys()


def test_convert_reads_degraded_pages(mixed: Path, tmp_path: Path) -> None:
    class_map = class_maps.load("harmony")
    summary = convert(mixed, tmp_path / "out", ConversionOptions(class_map=class_map))
    assert summary["symbols"]["read"] == sum(map(len, labels(mixed).values()))
    assert set(summary["dropped_by_reason"]) <= {"not in class map"}


def test_other_seeds_give_other_pages(made: Path, tmp_path: Path) -> None:
    engrave(tmp_path / "out", options(pages=1, page=PageOptions(width=700, height=600, seed=1)))
    assert next(iter(labels(tmp_path / "out").values())) not in labels(made).values()


GOLDEN = "0059b7efe628bf57eaf3e2c1f78c1bb1d9470058762c2ed5ef8b9e31feae698d"
GOLDEN_VEROVIO = "6.4.1"


@pytest.mark.skipif(
    version("verovio") != GOLDEN_VEROVIO, reason="layouts depend on the version of verovio"
)
def test_labels_are_the_same_on_every_machine(tmp_path: Path) -> None:
    page = PageOptions(width=700, height=600, seed=7, style="mixed", degrade="scan")
    engrave(tmp_path / "out", options(pages=4, page=page))
    rows = [
        (name, annotation["cat_id"], [round(side, 1) for side in annotation["a_bbox"]])
        for name, annotations in sorted(labels(tmp_path / "out").items())
        for annotation in annotations
    ]
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest() == GOLDEN


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pages": 0}, "--pages 0: too few; expected at least 1"),
        ({"val": 1.0}, "--val 1: out of range; expected 0 <= VAL < 1"),
        (
            {"holdout_font": "Leland"},
            "--holdout-font Leland: no pages are held out; set --val too",
        ),
        (
            {"page": PageOptions(fonts=("Bravur",))},
            "--fonts: no such font: Bravur (did you mean Bravura?); expected Bravura, Gootville, "
            "Leipzig, Leland, Petaluma",
        ),
        (
            {"page": PageOptions(fonts=("Leland",)), "holdout_font": "Leland", "val": 0.5},
            "--holdout-font Leland: no font is left for the training pages; list more in --fonts",
        ),
        (
            {"holdout_font": "Lelan", "val": 0.5},
            "--holdout-font: no such font: Lelan (did you mean Leland?); expected Bravura, "
            "Gootville, Leipzig, Leland, Petaluma",
        ),
        (
            {"page": PageOptions(transpose=True)},
            "--transpose: composed pieces are in all keys already; applies to other --scores",
        ),
        (
            {"page": PageOptions(width=60000)},
            "--size 60000x2772: out of range; expected 200 to 20000 pixels for both sides",
        ),
        (
            {"page": PageOptions(width=50, height=3000)},
            "--size 50x3000: out of range; expected 200 to 20000 pixels for both sides",
        ),
    ],
)
def test_invalid_options(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        options(**settings)
    assert str(error.value) == message


def test_too_small_a_page_is_a_one_line_error_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("converters.engraving.pages.ATTEMPTS", 3)
    with pytest.raises(
        OmrError, match="page 1: all 3 attempts were rejected: music runs off the page"
    ):
        engrave(tmp_path / "out", options(page=PageOptions(width=3000, height=200)))
    assert list(tmp_path.iterdir()) == []


# ---- music files as input -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "scores"
    (folder / "deep").mkdir(parents=True)
    (folder / "good.mei").write_text(score([NOTES] * 3))
    (folder / "deep" / "better.mei").write_text(score([NOTES] * 4))
    (folder / "deep" / "copy.mei").write_text(
        score([NOTES] * 4).replace("<title/>", "<title>C</title>")
    )
    (folder / "silent.mei").write_text(score(["<mRest/>"]))
    (folder / "broken.musicxml").write_text("<score-partwise><part>")
    (folder / "empty.krn").write_text("")
    (folder / "torn.mxl").write_bytes(b"PK\x03\x04 no archive")
    (folder / "notes.txt").write_text("not a score")
    return folder


def test_usable_files_are_used_and_failures_are_listed(folder: Path, tmp_path: Path) -> None:
    manifest = engrave(tmp_path / "out", options(pages=4, scores=str(folder), val=0.5), workers=2)
    assert manifest["failures"] == {
        "broken.musicxml": "not XML, truncated or damaged: Premature end of data in tag part line "
        "1, line 1, column 23 (<string>, line 1)",
        "empty.krn": "is empty",
        "silent.mei": "contains no notes",
        "torn.mxl": "cannot be read: File is not a zip file",
    }
    assert manifest["other_files"] == {".txt": 1}
    assert manifest["not_drawn"] == []
    assert manifest["works"] == {"2": "deep/better.mei, deep/copy.mei", "5": "good.mei"}
    assert {s: part["works"] for s, part in manifest["splits"].items()} == {"train": 1, "val": 1}
    heads = [n for name, n in manifest["categories"].items() if name.startswith("noteheadBlack")]
    assert sum(heads) > 10


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ([], "no scores; expected .krn, .mei, .musicxml, .mxl, .xml"),
        (["silent.mei"], "no file can be used; silent.mei: contains no notes"),
    ],
)
def test_no_usable_files(folder: Path, tmp_path: Path, keep: list[str], message: str) -> None:
    for path in folder.rglob("*.*"):
        if path.name not in keep:
            path.unlink()
    with pytest.raises(InputError) as error:
        engrave(tmp_path / "out", options(scores=str(folder)))
    assert str(error.value) == f"{folder}: {message}"
    assert not (tmp_path / "out").exists()


def test_a_single_piece_cannot_be_held_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typeset_in_process(monkeypatch)
    shutil.rmtree(folder / "deep")
    with pytest.raises(
        ConfigError,
        match=r"--val 0\.5: leaves no pieces on one side of the split of 1; provide more files",
    ):
        engrave(tmp_path / "out", options(scores=str(folder), val=0.5))


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such file or folder of scores"):
        engrave(tmp_path / "out", options(scores=str(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os; os.abort()", r"verovio crashed while reading it \(exit status -6\)"),
        ("import time; time.sleep(60)", "not read within 1 s"),
    ],
)
def test_aborting_or_hanging_child(
    program: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_child.py").write_text(program)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(child, "MODULE", "broken_child")
    monkeypatch.setattr(child, "TIME_LIMIT_S", 1.0)
    error = child.examine(folder / "good.mei").error
    assert re.fullmatch(message, error)


@pytest.mark.parametrize("is_deleted", [True, False])
def test_a_score_that_changes_is_reported(
    is_deleted: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typeset_in_process(monkeypatch)

    def change(pages: Iterable[Any], total: int) -> Iterable[Any]:
        for page in pages:
            if is_deleted:
                (folder / "good.mei").unlink()
            else:
                (folder / "good.mei").write_text(score([NOTES, NOTES]))
            yield page

    manifest = engrave(tmp_path / "out", options(pages=1, scores=str(folder)), track=change)
    assert manifest["warnings"]["good.mei"] == ("changed while pages were engraved",)


def test_memory_of_a_child_is_limited(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "MEMORY_LIMIT_BYTES", 100 << 20)
    assert child.examine(folder / "good.mei").error  # the message depends on who fails first


# ---- reading music files ----------------------------------------------------------------------------


def test_copies_with_other_titles_have_the_same_pitch_hash() -> None:
    one = score([NOTES], head='keysig="2s"')
    assert music_files.pitch_hash(one) == music_files.pitch_hash(
        one.replace("<title/>", "<title>A</title>")
    )
    assert music_files.pitch_hash(one) != music_files.pitch_hash(
        score([NOTES.replace("c", "d", 1)])
    )
    assert music_files.pitch_hash("") != music_files.pitch_hash("**kern\n4c")


@pytest.mark.parametrize("key", ["0", "3s", "6s", "7s", "5f", "7f"])
def test_transpositions_lead_to_common_keys(key: str) -> None:
    mei = score([NOTES], head=f'keysig="{key}"')
    drawn = {typesetting._draw_transposition(mei, random.Random(i)) for i in range(40)}
    sharps = -int(key[0]) if key.endswith("f") else int(key[0])
    for interval in drawn - {""}:
        result = typesetting.to_mei(mei, interval)
        assert result is not None
        [(n, sign)] = set(typesetting._KEY.findall(result)) or {("0", "")}
        moved = -int(n) if sign == "f" else int(n)
        assert moved == sharps + typesetting._TRANSPOSITIONS[interval]
        assert abs(moved) <= 6
    assert len(drawn) > 2


def test_music_files_in_the_output_folder_are_not_deleted(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"versions": {"omr-toolkit": "1"}}')
    with pytest.raises(ConfigError, match="which would be replaced; choose another output folder"):
        engrave(folder, options(scores=str(folder)), force=True)
    assert (folder / "good.mei").is_file()


def test_output_folder_may_have_the_name_of_a_music_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    engrave(Path("generated"), options(pages=1))
    assert (tmp_path / "generated" / "manifest.json").is_file()


def test_full_disk_is_a_one_line_error_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(pixels: object, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(images, "write", full)
    with pytest.raises(OmrError, match="No space left on device; nothing was written to"):
        engrave(tmp_path / "out", options())
    assert list(tmp_path.iterdir()) == []


MUSICXML = (
    '<score-partwise version="4.0"><part-list><score-part id="P1"><part-name/></score-part>'
    '</part-list><part id="P1"><measure number="1"><attributes><divisions>1</divisions><clef>'
    "<sign>G</sign><line>2</line></clef></attributes><note><pitch><step>C</step><octave>5</octave>"
    "</pitch><duration>4</duration><type>whole</type></note></measure></part></score-partwise>"
)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.musicxml", MUSICXML), ("a.xml", MUSICXML), ("a.krn", "**kern\n*clefG2\n1cc\n*-\n")],
)
def test_single_note_in_every_format(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typeset_in_process(monkeypatch)
    (tmp_path / name).write_text(text)
    manifest = engrave(tmp_path / "out", options(pages=1, scores=str(tmp_path / name)))
    assert sum(n for c, n in manifest["categories"].items() if c.startswith("notehead")) == 1


@pytest.mark.parametrize("transpose", [False, True])
def test_own_scores_keep_their_key_unless_transposed(
    transpose: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typeset_in_process(monkeypatch)
    path = tmp_path / "a.mei"
    path.write_text(score([NOTES], head='keysig="4f"'))
    piece = Piece(work=1, path=path, trusted=False)
    page = replace(SMALL, transpose=transpose)
    keys = set()
    for number in range(6):
        symbols = engrave_page(number, [piece], page).symbols
        keys.add(tuple(s.category for s in symbols if s.category.startswith("key")))
    assert (keys == {("keyFlat",) * 4}) == (not transpose)


def test_a_single_file_suffices(folder: Path, tmp_path: Path) -> None:
    manifest = engrave(tmp_path / "out", options(pages=1, scores=str(folder / "good.mei")))
    assert manifest["works"] == {"1": "good.mei"}


def test_chorales_are_typeset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = music_files.chorales(music_files.chorale_folder())
    assert len(result) > 300
    monkeypatch.setattr(music_files, "chorales", {music_files.chorale_folder(): result}.get)
    manifest = engrave(tmp_path / "out", options(pages=2, scores="chorales"))
    assert manifest["licence"] == dataset.CHORALES_CAVEAT
    assert manifest["failures"] == {}


def test_pieces_are_numbered_in_order_and_copies_are_one_work() -> None:
    files = [Path("x/b"), Path("x/c"), Path("x/y/a")]
    result = number_pieces(files, Path("x"), ["1", "2", "1"], trusted=False)
    assert [(p.work, p.name) for p in result] == [(1, "b"), (2, "c"), (1, "y/a")]


def test_held_out_items_do_not_depend_on_their_number() -> None:
    for share in (0.0, 0.1, 0.25, 0.34, 0.5, 0.99):
        held = [dataset._is_held_out(i, share) for i in range(1000)]
        assert sum(held) == round(1000 * share)
        assert np.abs(np.cumsum(held) - share * np.arange(1, 1001)).max() <= 1


def test_fallback_rasteriser_is_recorded_and_changes_no_labels(tmp_path: Path) -> None:
    for rasteriser in ("blend2d", "numpy"):
        page = replace(SMALL, rasteriser=rasteriser)
        engrave(tmp_path / rasteriser, options(pages=1, page=page, segmentation=True))
    fallback = json.loads((tmp_path / "numpy" / "manifest.json").read_text())
    manifest = json.loads((tmp_path / "blend2d" / "manifest.json").read_text())
    assert fallback.pop("rasteriser") == f"numpy {version('numpy')}"
    assert manifest.pop("rasteriser") == f"blend2d {version('blend2d-py')}"
    assert fallback == manifest
    assert labels(tmp_path / "numpy") == labels(tmp_path / "blend2d")
    [name] = labels(tmp_path / "numpy")
    mask = f"segmentation/{name.replace('.png', '_seg.png')}"
    assert (tmp_path / "numpy" / mask).read_bytes() == (tmp_path / "blend2d" / mask).read_bytes()
