"""Reader of MuNG files: MUSCIMA++, DoReMi, and pages that omr wrote, see :mod:`.mung_documents`.

MuNG has no sizes of images, so that they are read from the images themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from class_maps import CategoryMapping, InputError, catalogue
from converters import tally
from converters.boxes import xywh_to_xyxy
from converters.files.hashes import sha256, state
from converters.formats.mung_documents import (
    DOREMI,
    MUNG,
    MUSCIMA,
    Document,
    is_page_of_doremi,
    kind_of,
    read_documents,
)
from converters.formats.named_images import (
    find_named,
    image_folders,
    images_without,
    skipped,
    split_in,
)
from converters.formats.symbol_lists import boxes_inside, mapped_labels
from converters.formats.xml_files import xml_files
from converters.image_headers import size as image_size
from converters.names import check_image_size, checked_name, count_of
from converters.page import Page
from converters.tally import Tally


def recognises(path: Path, kind: str) -> bool:
    """Check whether an XML file, or the first MuNG file in a folder, belongs to a data set.

    Args:
        path: File or folder.
        kind: Data set, see :func:`~converters.formats.mung_documents.kind_of`.
    """
    return next(filter(None, map(kind_of, xml_files(path))), None) == kind


recognises_muscima = partial(recognises, kind=MUSCIMA)
recognises_doremi = partial(recognises, kind=DOREMI)
recognises_mung = partial(recognises, kind=MUNG)


def open_files(path: Path, images: Path | None = None) -> list["MungFile"]:
    """Open a file, or all MuNG files in a folder and its subfolders.

    Args:
        path: File or folder.
        images: Folder of the images; None to search next to the files and above them.

    Raises:
        InputError: A file is damaged, or an image is missing.
    """
    root = path if path.is_dir() else path.parent
    files = {file: kind_of(file) for file in xml_files(path)}
    chosen = [file for file, kind in files.items() if kind]
    if any(map(is_page_of_doremi, chosen)):  # the pieces describe the same pages
        chosen = [file for file in chosen if files[file] != DOREMI or is_page_of_doremi(file)]
    opened = [MungFile(file, root, images) for file in chosen]
    if opened and path.is_dir():
        read = {file.image_folder / image for file in opened for image in file.images}
        folders = [file.image_folder for file in opened if file.images]
        others = [file for file in files if file not in set(chosen)]
        opened[0].warnings = (
            *opened[0].warnings,
            *skipped(others, root, "XML file", "of another format or with pages of other files"),
            *images_without("MuNG document", read, folders),
        )
    return opened


class MungFile:
    """One decoded file; implements :class:`~converters.formats.AnnotationSource`.

    Args:
        path: The file.
        root: Folder of the data set. A subfolder named after a split contains its pages.
        images: Folder of the images, see :func:`open_files`.

    Raises:
        InputError: The file is malformed or cannot be read, or an image is missing.
    """

    def __init__(self, path: Path, root: Path, images: Path | None = None) -> None:
        self.path, self.state, self.split = path, state(path), split_in(path, root)
        self.warnings: Sequence[str] = ()
        self.image_folder = path.parent
        self.images: dict[PurePosixPath, tuple[int, int]] = {}
        """Width and height of each image in pixels."""
        self.works: dict[PurePosixPath, str] = {}
        """Piece of each page of DoReMi."""
        self._documents: list[Document] = []
        folders: Sequence[Path] = image_folders(path, root, images)
        documents, without_nodes = read_documents(path), list[str]()
        for document in documents:
            try:
                image, folders = self._located(document, folders, images)
            except InputError:
                if document.names or len(documents) == 1:
                    raise
                without_nodes.append(document.where)
                continue
            self._documents.append(document)
            if document.work:
                self.works[image] = document.work
        if without_nodes:
            pages = count_of(without_nodes, "page")
            self.warnings = (f"{path}: skipped {pages} without nodes and image",)

    def _located(
        self, document: Document, folders: Sequence[Path], images: Path | None
    ) -> tuple[PurePosixPath, Sequence[Path]]:
        """Find the image of a document; return its name, and the folder to search for others."""
        where = document.where or "document"
        name = checked_name(document.name or self.path.stem, self.path, where, images)
        self.image_folder, image = find_named(name, folders, self.path, where)
        if image in self.images:
            raise InputError(f"duplicate page: {image}", path=self.path, where=where)
        width, height = image_size(self.image_folder / image)
        check_image_size(width, height, self.image_folder / image)
        self.images[image] = width, height
        return image, [self.image_folder]

    def sha256(self) -> str:
        """Hash the file."""
        return sha256(self.path)

    def categories(self, mapping: CategoryMapping) -> tuple[str, ...]:
        """Return the classes of the nodes, in the order of the file.

        Args:
            mapping: For MUSCIMA++, classes are those of release 2.0.
        """
        names = (name for document in self._documents for name in _names(document, mapping))
        return tuple(dict.fromkeys(names))

    def pages(
        self,
        mapping: CategoryMapping,
        labels: Mapping[str, int],
        counts: Tally,
        *,
        clip: bool = False,
        workers: int = 1,
    ) -> Iterator[Page]:
        """Yield the pages in the order of ``images``.

        Args:
            mapping: Class of each category.
            labels: Label of each class.
            counts: Receives the numbers of nodes read, of those dropped because their class has no
                class in the map, and of those with a class of another release.
            clip: Accept boxes that extend beyond the image; cleaning clips them later.
            workers: Not used; the file has been decoded already.

        Raises:
            InputError: A node extends beyond the image.
        """
        for document, (image, (width, height)) in zip(
            self._documents, self.images.items(), strict=True
        ):
            boxes_xyxy = xywh_to_xyxy(np.array(document.boxes_xywh, np.float64).reshape(-1, 4))
            boxes_xyxy = boxes_inside(
                boxes_xyxy, (width, height), document.places, self.path, clip=clip
            )
            names = _names(document, mapping)
            page_labels = mapped_labels(names, mapping, labels, counts)
            is_mapped = page_labels >= 0
            _count_renamed(document, names, page_labels, list(labels), counts)
            yield Page(
                image=image,
                width=width,
                height=height,
                boxes_xyxy=boxes_xyxy[is_mapped],
                labels=page_labels[is_mapped],
                n_annotations=len(names),
            )


def _names(document: Document, mapping: CategoryMapping) -> list[str]:
    """Return the class of each node, in the spelling of the data set's catalogue."""
    if mapping.name != MUSCIMA:
        return document.names
    known = catalogue(mapping.name)
    return [known.canonical(name, mapping.annotation_set) for name in document.names_of_release_2()]


def _count_renamed(
    document: Document,
    names: Sequence[str],
    page_labels: NDArray[np.int64],
    classes: Sequence[str],
    counts: Tally,
) -> None:
    """Count the nodes with a class whose category is not spelt as in the file."""
    is_renamed = np.array([a != b for a, b in zip(names, document.names, strict=True)], bool)
    renamed = tally.count(page_labels[is_renamed & (page_labels >= 0)], classes)
    counts.changed.update({(tally.RENAMED, name): n for name, n in renamed.items()})
