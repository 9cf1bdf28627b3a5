"""Files of a prediction: symbols in several formats, page images, and pages to look at."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import numpy as np

from converters import images
from converters.formats import WRITERS, AnnotationWriter
from converters.formats.coco import CocoFileWriter
from converters.formats.labelme import LabelmeWriter
from converters.formats.yolo import write_labels
from converters.names import IMAGE_FOLDER, LABELS
from converters.page import SCORE_DIGITS, Page
from eval.pictures.annotated_page import annotated_page
from eval.reports.page_viewer import ViewerPage, write_page_viewer
from reading.page_images import PageFile
from reading.page_stream import PageReading

Overlay: TypeAlias = Literal["html", "png", "none"]
SPLIT = "pages"
"""Name that takes the place of a split, such as ``mung/pages/``."""
COCO_FILE = "predictions.json"
CLASSES_FILE = "classes.txt"
SCORES = "scores"
"""Folder of the scores of YOLO labels: a file for each label file, with one score per line."""
OVERLAY_FOLDER = "overlay"


class _CocoPredictions:
    """Writes ``predictions.json``."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._file = CocoFileWriter(folder / COCO_FILE, names)

    def add(self, _split: str, page: Page) -> None:
        """Write the symbols of one page."""
        self._file.add(page)

    def close(self) -> None:
        """Write the images and categories."""
        self._file.close()


class _YoloPredictions:
    """Writes ``labels/NAME.txt``, ``scores/NAME.txt`` and a class list.

    Scores are in files of their own, because readers of labels reject them.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder / LABELS
        text = "".join(f"{name}\n" for name in names)
        (folder / CLASSES_FILE).write_text(text, encoding="utf-8")

    def add(self, _split: str, page: Page) -> None:
        """Write the label file and the scores of one page."""
        path = self._folder / page.image
        path.parent.mkdir(parents=True, exist_ok=True)
        write_labels(page, self._folder)
        scores = np.zeros(0) if page.scores is None else page.scores
        path = self._folder.parent / SCORES / page.image.with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{score}\n" for score in scores.round(SCORE_DIGITS).tolist())
        path.write_text(text, encoding="ascii")

    def close(self) -> None:
        """Do nothing, because every file is complete."""


FORMATS = {**WRITERS, "coco": _CocoPredictions, "yolo": _YoloPredictions}
"""Writers by format; each is created with the output folder and the names of the classes."""


class PredictionWriter:
    """Writes the files of a prediction, one page at a time.

    Args:
        folder: Folder to fill.
        names: Names of the classes.
        formats: Formats of :data:`FORMATS`.
        overlay: Kind of pages to look at.
        title: Heading of the only score, if there is only one.
        pages: Files of the pages, for formats that point to them.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        formats: Sequence[str],
        overlay: Overlay,
        title: str | None,
        pages: Sequence[PageFile],
    ) -> None:
        self._folder, self._names, self._overlay, self._title = folder, names, overlay, title
        files = {page.name: _image_file(page, folder) for page in pages}
        self._writers = [_open(name, folder, names, files) for name in formats]

    def written(self, readings: Iterable[PageReading]) -> Iterator[PageReading]:
        """Write everything about pages as they are read, and yield them.

        Args:
            readings: Pages; those of a score follow each other.
        """
        for score, of_score in groupby(readings, key=lambda reading: reading.file.score):
            if self._overlay == "html":
                yield from self._with_viewer(score, of_score)
            else:
                yield from map(self._add, of_score)

    def close(self) -> None:
        """Complete the files of all pages."""
        for writer in self._writers:
            writer.close()

    def _add(self, reading: PageReading) -> PageReading:
        if reading.page is None:
            return reading
        for writer in self._writers:
            writer.add(SPLIT, reading.page)
        if reading.image is None:  # a page that was read before, whose image is not needed
            return reading
        if reading.file.index is not None:  # no image file shows this page alone
            _write_image(reading.image, self._folder / IMAGE_FOLDER / reading.name)
        if self._overlay == "png":
            drawn = annotated_page(reading.image, reading.page, self._names, texts=False)
            _write_image(drawn.pixels, self._folder / OVERLAY_FOLDER / reading.name)
        return reading

    def _with_viewer(
        self, score: PurePosixPath, readings: Iterable[PageReading]
    ) -> Iterator[PageReading]:
        """Write the pages of a score to a viewer as well."""
        done: list[PageReading] = []

        def shown() -> Iterator[ViewerPage]:
            for reading in map(self._add, readings):
                done.append(replace(reading, image=None))
                if reading.page is not None and reading.image is not None:
                    yield ViewerPage(page=reading.page, image=reading.image)

        if self._title is not None:
            path, title = self._folder / f"{OVERLAY_FOLDER}.html", self._title
        else:
            title = score.name or SPLIT
            path = self._folder / OVERLAY_FOLDER / score.parent / f"{title}.html"
            path.parent.mkdir(parents=True, exist_ok=True)
        write_page_viewer(path, shown(), self._names, title=title)
        if not any(reading.page is not None for reading in done):
            path.unlink()
        yield from done


def _open(
    name: str, folder: Path, names: Sequence[str], files: Mapping[PurePosixPath, Path]
) -> AnnotationWriter:
    if name == "labelme":
        return LabelmeWriter(folder, names, files)
    return FORMATS[name](folder, names)


def _image_file(page: PageFile, folder: Path) -> Path:
    """Return the image file of a page, which shows no other page."""
    if page.index is None:
        return page.path
    return folder / IMAGE_FOLDER / page.name.with_suffix(".png")


def _write_image(image: images.Pixels, path: Path) -> None:
    path = path.with_name(f"{path.stem}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(image, path)
