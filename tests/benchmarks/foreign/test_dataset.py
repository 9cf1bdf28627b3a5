import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from foreign_pages import glyph, grob, lilypond_page, lilypond_staff

from benchmarks.foreign import dataset, lilypond, programs, svg
from benchmarks.foreign.dataset import Engraver
from benchmarks.foreign.pieces import ForeignPiece, draw_piece
from class_maps import OmrError, load
from converters.formats import deepscoresv2
from converters.tally import Tally

PITCH = "<pitch><step>B</step><octave>4</octave></pitch>"
NOTE = f"<note>{PITCH}<duration>4</duration></note>"
SCORE = f'<score-partwise><part id="P1"><measure>{NOTE}</measure></part></score-partwise>'
HEAD = grob("NoteHead", glyph(10, 12, 1.2, 1), duration_log="2", staff_position="0")
PAGE = lilypond_page(lilypond_staff(10), HEAD)


def engraver(*pages: str) -> Engraver:
    return Engraver(
        engrave=lambda musicxml, folder: list(pages), label=lilypond.label, version="LilyPond 0"
    )


def piece(number: int) -> ForeignPiece:
    return ForeignPiece(number=number, staff_space=20.0, musicxml=SCORE)


def test_labels_are_compared_with_the_encoding(tmp_path: Path) -> None:
    (page,) = dataset.label_piece(piece(3), engraver(PAGE), tmp_path)
    assert (page.piece, page.number) == (3, 1)
    assert page.staff_space == pytest.approx(20)
    with pytest.raises(OmrError, match="piece 3: 2 noteheads are labelled, 1 are encoded"):
        dataset.label_piece(piece(3), engraver(PAGE, PAGE), tmp_path)


def test_a_data_set_is_read_as_engraved_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "open_engraver", lambda name, folder: engraver(PAGE))
    monkeypatch.setattr(dataset, "draw_piece", lambda seed, number: piece(number))
    manifest = dataset.write(tmp_path / "out", "lilypond", 2, 0)
    assert manifest["categories"] == {"noteheadBlackOnLine": 2, "staff": 2}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    assert deepscoresv2.recognises_engraved(tmp_path / "out")
    (file,) = deepscoresv2.open_files(tmp_path / "out")
    assert file.split == "test"
    assert [path.name for path in file.images] == [
        "lg-1-aug-lilypond-000001--page-1.png",
        "lg-2-aug-lilypond-000002--page-1.png",
    ]
    harmony = load("harmony")
    page = next(file.pages(harmony.source("engraved"), harmony.labels, Tally()))
    assert page.staff_space == pytest.approx(20)
    assert len(page.boxes_xyxy) == 2


def test_a_missing_program_is_named_with_its_package() -> None:
    message = "no-such-engraver is not installed; run apt-get install engraver"
    with pytest.raises(OmrError, match=message):
        programs.check(["no-such-engraver"], "engraver")


def test_a_failing_program_is_an_error() -> None:
    with pytest.raises(OmrError, match=r"failed: .*No such file"):
        programs.run(["ls", "/no/such/folder"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lilypond", "musescore"])
def test_boxes_touch_the_ink_of_an_engraved_piece(
    name: dataset.EngraverName, tmp_path: Path
) -> None:
    program = {"lilypond": "lilypond", "musescore": "mscore3"}[name]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    pages = dataset.label_piece(draw_piece(0, 0), dataset.open_engraver(name, tmp_path), tmp_path)
    grey = svg.rasterise(pages[0].drawing)
    heads = [s for s in pages[0].symbols if s.category.startswith("notehead")]
    assert len(heads) > 20
    for head in heads:
        box = head.outline.box_xyxy()
        (x0, y0), (x1, y1) = np.ceil(box[:2]).astype(int), np.floor(box[2:]).astype(int)
        ink = grey[y0:y1, x0:x1] < 200
        assert ink.any(0).all()
        assert ink.any(1).all()
