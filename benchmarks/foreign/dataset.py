"""Data sets of foreign pages, in the format of DeepScoresV2."""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal

from benchmarks.foreign import counts, lilypond, musescore, programs, svg
from benchmarks.foreign.labels import Labelled, labelled_staff_space, symbols
from benchmarks.foreign.pieces import ForeignPiece, draw_piece
from converters import images
from converters.engraving import annotations
from converters.engraving.outlines import boxes_xyxy
from converters.engraving.svg import Shape
from converters.engraving.symbols import Symbol
from converters.files.atomic_folder import MANIFEST, atomic_folder
from converters.versions import TOOLKIT, installed_versions

EngraverName = Literal["lilypond", "musescore"]
IMAGES = "images"
LICENCE = "Composed by omr; not derived from any score or data set."


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelledPage:
    """A page of a foreign engraver and its labels."""

    piece: int
    """Number of the piece, from 0."""
    number: int
    """Number of the page within the piece, from 1."""
    drawing: svg.ForeignPage
    symbols: list[Symbol]
    staff_space: float
    """Distance between staff lines in pixels."""
    difference: str = ""
    """Difference between the labels of the piece and its encoding."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Engraver:
    """An engraving program."""

    engrave: Callable[[Path, Path], list[str]]
    """Function from a MusicXML file and a folder for intermediate files to pages as SVG."""
    label: Callable[[Sequence[Shape]], Labelled]
    """Function from the shapes of a page to labels."""
    version: str


def open_engraver(name: EngraverName, folder: Path) -> Engraver:
    """Prepare an engraver.

    Args:
        name: Name of the engraver.
        folder: Folder for intermediate files.

    Raises:
        OmrError: The program is not installed.
    """
    if name == "lilypond":
        programs.check(lilypond.PROGRAMS, "lilypond")
        version = programs.run(["lilypond", "--version"]).splitlines()[0]
        return Engraver(engrave=lilypond.engrave, label=lilypond.label, version=version)
    programs.check(musescore.PROGRAMS, "musescore3")
    label = partial(musescore.label, names=musescore.read_glyphs(folder))
    printed = programs.run(["mscore3", "--version"])  # also prints warnings of Qt
    match = re.search(r"MuseScore\w* [\d.]+", printed)
    return Engraver(engrave=musescore.engrave, label=label, version=match[0] if match else "")


def label_piece(piece: ForeignPiece, engraver: Engraver, folder: Path) -> list[LabelledPage]:
    """Engrave a piece, label its pages, and compare the labels with the MusicXML.

    Args:
        piece: Piece to engrave.
        engraver: Engraver of the pages.
        folder: Folder for intermediate files.

    Raises:
        OmrError: The engraver failed, or a number of symbols is wrong.
    """
    musicxml = folder / f"piece{piece.number}.musicxml"
    musicxml.write_text(piece.musicxml, encoding="utf-8")
    pages = []
    for number, text in enumerate(engraver.engrave(musicxml, folder), 1):
        drawing = svg.read(text)
        labelled = engraver.label(drawing.shapes)
        staff_space = labelled_staff_space(labelled)
        page = LabelledPage(
            piece=piece.number,
            number=number,
            drawing=drawing,
            symbols=symbols(labelled, staff_space),
            staff_space=staff_space,
        )
        pages.append(page)
    drawn = counts.labelled([symbol for page in pages for symbol in page.symbols])
    expected = counts.encoded(piece.musicxml)
    difference = counts.compare(expected, drawn, f"piece {piece.number}")
    return [replace(page, difference=difference) for page in pages]


def write(
    target: Path, name: EngraverName, n_pages: int, seed: int, *, force: bool = False
) -> dict[str, Any]:
    """Engrave a data set; ``target`` is created completely or not at all.

    Args:
        target: Folder to create.
        name: Name of the engraver.
        n_pages: Number of pages.
        seed: Seed of the music; the same seed gives the same pieces for both engravers.
        force: Whether to replace ``target`` if omr created it.

    Returns:
        Contents of the manifest.

    Raises:
        OmrError: The engraver is missing or failed, or the number of symbols is wrong.
    """
    with atomic_folder(target, force=force) as folder, tempfile.TemporaryDirectory() as scratch:
        engraver = open_engraver(name, Path(scratch))
        (folder / IMAGES).mkdir()
        pieces = (draw_piece(seed, number) for number in count())
        pages = (p for piece in pieces for p in label_piece(piece, engraver, Path(scratch)))
        file = {"info": {"description": f"pages engraved by {name}", "version": "2.0"}}
        file |= annotations.vocabulary() | {"images": [], "annotations": {}}
        categories: Counter[str] = Counter()
        differences: dict[str, str] = {}
        for image_id, page in enumerate(islice(pages, n_pages), 1):
            stem = f"lg-{page.piece + 1}-aug-{name}-{image_id:06d}--page-{page.number}"
            images.write(svg.rasterise(page.drawing), folder / IMAGES / f"{stem}.png")
            _add(file, page, image_id, f"{stem}.png")
            categories.update(symbol.category for symbol in page.symbols)
            differences |= {str(page.piece): page.difference} if page.difference else {}
        manifest = {
            "foreign": {"engraver": name, "pages": n_pages, "seed": seed},
            "licence": LICENCE,
            "versions": {name: engraver.version} | installed_versions(TOOLKIT, "resvg"),
            "differences": differences,
            "categories": dict(sorted(categories.items())),
        }
        _dump(file, folder / "deepscores_test.json")
        _dump(manifest, folder / MANIFEST)
    return manifest


def _add(file: dict[str, Any], page: LabelledPage, image_id: int, filename: str) -> None:
    """Add the labels of a page to the contents of the JSON file."""
    boxes = boxes_xyxy([symbol.outline for symbol in page.symbols])
    rows = annotations.rows(page.symbols, boxes, image_id)
    image = {
        "id": image_id,
        "filename": filename,
        "width": svg.WIDTH,
        "height": svg.HEIGHT,
        "staff_space": round(page.staff_space, 3),
        "ann_ids": [str(annotation_id) for annotation_id, _ in rows],
    }
    file["images"].append(image)
    file["annotations"] |= {str(annotation_id): row for annotation_id, row in rows}


def _dump(contents: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
