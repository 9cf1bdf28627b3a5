"""Opened YOLO folders: the images of each split, their label files and a fingerprint."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from converters import image_headers
from converters.boxes import cxcywh_to_xyxy
from converters.files.hashes import state
from converters.files.process_pool import for_files
from converters.formats import image_folders
from converters.formats.data_yaml import DATA_YAML, read_data_yaml
from converters.formats.yolo_exports import export_file, read_export
from converters.formats.yolo_labels import label_path, parse
from converters.names import check_image_size
from converters.page import Page

T = TypeVar("T")

MAX_BYTES = 32 << 20
"""Largest size of a label file: 800,000 boxes, whose numbers take 600 MB as text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class YoloDataset:
    """An opened YOLO folder."""

    is_read_sorted: ClassVar[bool] = True
    """Whether :meth:`labelled_images` yields the images of a split sorted by name."""

    root: Path
    file: Path
    """The ``data.yaml``, which may have another name, or the file of a labelling tool instead."""
    state: tuple[int, int] | None
    """State of this file before it was read, see :func:`~converters.files.hashes.state`."""
    names: tuple[str, ...]
    """Name of the class with label ``i`` at index ``i``."""
    splits: Mapping[str, Path]
    """Folder that contains the images of each split (train, val, test)."""
    sources: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """Folders and images of each split that does not consist of all images in its folder."""
    warnings: tuple[str, ...] = ()
    """Remarks about skipped files."""

    def image_paths(self, split: str) -> list[Path]:
        """List the images of a split, sorted by name; hidden files and folders are skipped.

        Raises:
            InputError: The split does not exist, or its folder contains no images.
        """
        self.check_split(split)
        paths: set[Path] = set()
        for source in self.sources_of(split):
            files = image_folders.files_in(source) if source.is_dir() else [source]
            paths.update(p for p in files if p.suffix.lower() in image_headers.IMAGE_SUFFIXES)
        if not paths:
            raise InputError(
                "contains no images; convert without --labels-only, or export the data set "
                "together with its images",
                path=self.splits[split],
            )
        return sorted(paths)

    def check_split(self, split: str) -> None:
        """Check that a split exists.

        Raises:
            InputError: It does not.
        """
        if split not in self.splits:
            reason = f"no split {split!r}; available: {', '.join(self.splits)}"
            raise InputError(reason, path=self.file)

    def sources_of(self, split: str) -> tuple[Path, ...]:
        """Return the folders of a split, and the images that its text files list."""
        return self.sources.get(split) or (self.splits[split],)

    def share_images(self, first: str, second: str) -> bool:
        """Check whether two splits are the same folders, as in small data sets."""
        if first not in self.splits or second not in self.splits:
            return False
        return self.sources_of(first) == self.sources_of(second)

    def own_splits(self) -> list[str]:
        """List the splits that do not have the images of an earlier one."""
        names = list(self.splits)
        return [
            split
            for i, split in enumerate(names)
            if not any(self.share_images(split, other) for other in names[:i])
        ]

    def pages(self, split: str) -> Iterator[Page]:
        """Yield the pages of a split, sorted by name, without duplicate symbols, as in training.

        An image without a label file has no symbols.

        Raises:
            InputError: A label file is malformed, or an image is damaged.
        """
        return (image.without_duplicates() for image in self.labelled_images(split))

    def labelled_images(self, split: str) -> Iterator["LabelledImage"]:
        """Yield the images of a split with their label files, sorted by name.

        Raises:
            InputError: A label file is malformed, or an image is damaged.
        """
        paths = self.image_paths(split)
        return (labelled_image(path, self.splits[split], len(self.names)) for path in paths)

    def map_images(self, function: Callable[["LabelledImage"], T], split: str) -> Iterator[T]:
        """Yield the result of a function for each of the :meth:`labelled_images` of a split.

        Many label files are read in several processes.

        Args:
            function: Function to apply; can be pickled, as its results.
            split: Split to read.

        Raises:
            InputError: A label file is malformed, or an image is damaged.
        """
        paths = self.image_paths(split)
        return for_files(partial(_applied, function, self.splits[split], len(self.names)), paths)

    def skipped_files(self, *splits: str) -> list[str]:
        """Describe what is not read of some splits, such as hidden images, one per line.

        Raises:
            InputError: An image is missing or damaged.
        """
        remarks, paths = [*self.warnings], dict[Path, None]()
        for split in splits:
            images, sources = self.image_paths(split), self.sources_of(split)
            is_complete = all(source.is_dir() for source in sources)
            remarks += image_folders.skipped_files(
                self.splits[split], images, is_complete=is_complete
            )
            paths |= dict.fromkeys(images)
        names = (os.path.relpath(path, self.root) for path in paths)
        frames = dict(zip(names, for_files(image_headers.n_frames, [*paths]), strict=True))
        return [*dict.fromkeys(remarks), *image_folders.several_frames(frames)]

    def why_no_symbols(self, split: str) -> str:
        """Explain why none of the images of a split has symbols."""
        images = self.image_paths(split)
        if any(label_path(image).is_file() for image in images):
            return "the label files are empty; add pages with symbols"
        expected = label_path(images[0])
        if any(expected.parent.glob("*.txt")):
            return f"no label file has an image's name; {images[0].name} needs {expected}"
        return "no label files; labels/ must be next to images/; convert the data set again"

    def fingerprint(self, split: str) -> str:
        """Hash the names and sizes of a split's images, and the contents of their label files.

        Images are not read, so 100,000 of them take seconds.

        Raises:
            InputError: The split does not exist, or its folder contains no images.
        """
        digest, folder = hashlib.sha256(), self.splits[split]
        for path in self.image_paths(split):
            name = PurePosixPath(path.relative_to(folder))
            digest.update(_fingerprint(path, name, _label_content(path)))
        return digest.hexdigest()

    def folder_name(self, split: str) -> str:
        """Return the name of a split's image folder; empty if the split does not exist."""
        return self.splits[split].name if split in self.splits else ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelledImage:
    """One image of a split and its label file."""

    path: Path
    page: Page
    rows: NDArray[np.float64]
    """Label, then centre, width and height as fractions of the image, shape ``(N, 5)``."""
    is_polygon: NDArray[np.bool_]
    """True for the box around a polygon, shape ``(N,)``."""
    content: bytes
    """Bytes of the label file; empty without a label file."""

    def distinct(self) -> NDArray[np.intp]:
        """Return the indices of distinct rows; sorted by row if there are duplicates.

        This is the order in which Ultralytics trains on them.
        """
        rows = self.rows.astype(np.float32) + 0.0  # -0.0 and 0.0 are the same
        if len(set(rows.view("V20").ravel().tolist())) == len(rows):  # 5 times faster than `unique`
            return np.arange(len(rows))
        first: NDArray[np.intp] = np.unique(rows, axis=0, return_index=True)[1]
        return first

    def without_duplicates(self) -> Page:
        """Return the page without the symbols of duplicate rows."""
        return self.page.only(self.distinct())

    def fingerprint(self) -> bytes:
        """Return the image's name and size in bytes and the content of its label file."""
        return _fingerprint(self.path, self.page.image, self.content)


def labelled_image(path: Path, folder: Path, n_names: int) -> LabelledImage:
    """Read the size of an image and its label file.

    Args:
        path: Image.
        folder: Folder that the name of the page is relative to.
        n_names: Number of names in ``data.yaml``; labels are below it.

    Raises:
        InputError: The label file is malformed, or the image is damaged.
    """
    width, height = image_headers.size(path)
    check_image_size(width, height, path)
    content = _label_content(path)
    rows, is_polygon = parse(content, label_path(path), n_names)
    page = Page(
        image=PurePosixPath(path.relative_to(folder)),
        width=width,
        height=height,
        boxes_xyxy=cxcywh_to_xyxy(rows[:, 1:] * [width, height, width, height]),
        labels=rows[:, 0].astype(np.int64),
    )
    return LabelledImage(path=path, page=page, rows=rows, is_polygon=is_polygon, content=content)


def _applied(function: Callable[[LabelledImage], T], folder: Path, n_names: int, path: Path) -> T:
    return function(labelled_image(path, folder, n_names))


def open_yolo_folder(folder: Path) -> YoloDataset:
    """Open a YOLO folder.

    Args:
        folder: Folder that contains a ``data.yaml`` or the file of a labelling tool instead, see
            :mod:`.yolo_exports`; or the path of that file.

    Raises:
        InputError: ``data.yaml`` is missing or malformed, or the folder of a split is missing.
    """
    path = folder if folder.suffix in {".yaml", ".yml"} else folder / DATA_YAML
    export = None if path.exists() else export_file(folder)
    before = state(export or path)
    content = read_export(export) if export else read_data_yaml(path)
    return YoloDataset(
        root=content.path.parent,
        file=content.path,
        state=before,
        names=content.names,
        splits={split: _common_folder(sources) for split, sources in content.splits.items()},
        sources={
            split: sources
            for split, sources in content.splits.items()
            if len(sources) != 1 or not sources[0].is_dir()
        },
        warnings=content.warnings,
    )


def _common_folder(sources: Sequence[Path]) -> Path:
    """Return the folder that contains all images of folders and of files."""
    folders = {source if source.is_dir() else source.parent for source in sources}
    if len(folders) == 1:
        return folders.pop()
    return Path(os.path.commonpath(folder.absolute() for folder in folders))


def _label_content(image: Path) -> bytes:
    """Read the label file of an image; empty without a label file.

    Raises:
        InputError: The file cannot be read, or its suffix is in capitals, so that no reader of YOLO
            folders finds it.
    """
    path = label_path(image)
    try:
        if path.is_file():
            if path.stat().st_size > MAX_BYTES:
                reason = f"is larger than {MAX_BYTES >> 20} MB; expected the labels of an image"
                raise InputError(reason, path=path)
            return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    if path.exists():
        raise InputError("is not a regular file", path=path)
    if (misnamed := path.with_suffix(".TXT")).is_file():
        raise InputError("readers of YOLO folders expect the suffix .txt; rename it", path=misnamed)
    return b""


def _fingerprint(path: Path, name: PurePosixPath, content: bytes) -> bytes:
    size, _ = state(path) or (None, None)
    if size is None:
        raise InputError("no such image; convert without --labels-only, or restore it", path=path)
    header = f"{name}\n{size} {len(content)}\n"
    return header.encode("utf-8", "surrogateescape") + content
