"""Reader and writer of YOLO folders: ``images/<split>``, ``labels/<split>``, ``data.yaml``.

A label file has one line ``label x_centre y_centre width height`` per symbol, with coordinates
normalised to the image size, https://docs.ultralytics.com/datasets/detect/. No other module of
``converters`` uses normalised coordinates.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import yaml
from numpy.typing import NDArray

from class_maps import CategoryMapping, ConfigError, InputError
from converters import image_headers, tally
from converters.boxes import onto_border
from converters.formats.data_yaml import DATA_YAML
from converters.formats.image_folders import skipped_files, unlabelled_images
from converters.formats.yolo_dataset import (
    YoloDataset,
    labelled_image,
    open_yolo_folder,
)
from converters.formats.yolo_exports import export_file
from converters.formats.yolo_labels import label_path, millionths
from converters.names import IMAGE_FOLDER, NO_WORKS, check_file_name, count_of
from converters.page import Page
from converters.tally import Tally

ROUNDING = 2e-6
"""Fraction of the image's side by which boxes may extend beyond it because of rounding."""


def write_labels(page: Page, folder: Path) -> None:
    """Write the label file of one page into ``folder``, the label folder of its split."""
    path = folder / page.image.with_suffix(".txt")
    with path.open("x", encoding="ascii") as file:  # the file system may be case-insensitive
        file.write(label_lines(page))


class YoloWriter:
    """Writes ``data.yaml`` only.

    The label files are written by worker processes while they prepare the pages:
    :func:`converters.prepare.preparation.prepare` calls :func:`write_labels`.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names
        self._splits: set[str] = set()

    def add(self, split: str, page: Page) -> None:
        """Record the split of a page, whose label file a worker process has already written."""
        self._splits.add(split)

    def close(self) -> None:
        """Write ``data.yaml``."""
        write_data_yaml(self._folder, self._names, self._splits)


def write_data_yaml(folder: Path, names: Sequence[str], splits: Collection[str]) -> None:
    """Write ``data.yaml`` with paths relative to itself, so that the folder can be moved.

    Args:
        folder: Folder of the data set.
        names: Names of the classes.
        splits: Splits with images, at least one.
    """
    val = next(split for split in ("val", "test", "train") if split in splits)
    lines = [f"train: {IMAGE_FOLDER}/{'train' if 'train' in splits else val}"]
    if len(splits) == 1:
        lines.append("# no page is held out: scores on val are scores on the training pages")
    lines.append(f"val: {IMAGE_FOLDER}/{val}")
    if "test" in splits:
        lines.append(f"test: {IMAGE_FOLDER}/test")
    text = yaml.safe_dump({"names": dict(enumerate(names))}, sort_keys=False)
    (folder / DATA_YAML).write_text("\n".join(lines) + "\n" + text, encoding="utf-8")


def label_lines(page: Page) -> str:
    """Format the label file of a page, with six decimals; empty for a page without symbols."""
    return lines_of(page.labels, millionths(page))


def lines_of(labels: NDArray[np.int64], coordinates: NDArray[np.int32]) -> str:
    """Format the lines of a label file.

    The text is composed as an array of characters, because large data sets have millions of lines.

    Args:
        labels: Labels, shape ``(N,)``.
        coordinates: Result of :func:`millionths`.
    """
    n, remaining = len(labels), coordinates.copy()
    label_digits = labels[:, None] // 10 ** np.arange(5, -1, -1) % 10
    leading = np.cumsum(label_digits, axis=1) == 0  # zeros before the first other digit
    leading[:, -1] = False
    text = np.full((n, 43), ord(" "), np.uint8)  # (N, 43): "000012 0.123456 ... 0.123456\n"
    text[:, :6] = label_digits + ord("0")
    numbers = text[:, 6:42].reshape(n, 4, 9)  # (N, 4, 9): " 0.123456"
    text[:, -1] = ord("\n")
    for column in (8, 7, 6, 5, 4, 3, 1):
        numbers[..., column] = remaining % 10 + ord("0")
        remaining //= 10
    numbers[..., 2] = ord(".")
    text[:, 6:42] = numbers.reshape(n, 36)
    is_printed = np.ones(text.shape, bool)
    is_printed[:, :6] = ~leading
    return text[is_printed].tobytes().decode("ascii")


def line_bytes(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the length of each line of :func:`lines_of`, shape ``(N,)``."""
    return 38 + np.searchsorted(10 ** np.arange(1, 6), labels, side="right")


def recognises(path: Path) -> bool:
    """Check whether a path is a folder with a ``data.yaml``, a YAML file, or a tool's export."""
    is_named = path.suffix in {".yaml", ".yml"} or (path / DATA_YAML).is_file()
    return is_named or export_file(path) is not None


def open_splits(path: Path, images: Path | None = None) -> list["YoloSplit"]:
    """Open the splits of a YOLO folder.

    Splits that share their images are opened once: as the split with the folder's name, or else as
    the first one. A split with several image folders is opened once per folder.

    Args:
        path: Folder that contains a ``data.yaml``, or the path of that file.
        images: Must be None, because ``data.yaml`` names the folders of the images.

    Raises:
        ConfigError: ``images`` is a folder.
        InputError: ``data.yaml`` is missing or malformed, or a split has no images.
    """
    if images is not None:
        raise ConfigError(
            f"not for YOLO data, whose {DATA_YAML} names the image folders; correct it, or export "
            "the data set together with its images",
            option="--image-folder",
            value=images,
        )
    dataset = open_yolo_folder(path)
    split_of: dict[tuple[Path, ...], str] = {}
    for split in dataset.splits:
        sources = tuple(source.resolve() for source in dataset.sources_of(split))
        if dataset.folder_name(split) == split or sources not in split_of:
            split_of[sources] = split
    opened = []
    for split in split_of.values():
        groups: dict[Path, list[Path]] = {}
        for image in dataset.image_paths(split):
            groups.setdefault(_image_folder(image, dataset.sources_of(split)), []).append(image)
        opened += [YoloSplit(dataset, split, folder, paths) for folder, paths in groups.items()]
    return opened


def _image_folder(image: Path, sources: Sequence[Path]) -> Path:
    """Return the folder that an image's name is relative to, so that it contains no ``images``."""
    parents = list(image.parents)
    if named := next((parent for parent in parents if parent.name == IMAGE_FOLDER), None):
        inner = next((s for s in sources if s in parents and s.is_relative_to(named)), None)
        return inner or named
    return next((source for source in sources if source in parents), image.parent)


class ImageSizes(Mapping[PurePosixPath, tuple[int, int]]):
    """Width and height of the images in a folder, each read from its file when accessed."""

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        self._paths = {PurePosixPath(path.relative_to(folder)): path for path in paths}

    def __getitem__(self, image: PurePosixPath) -> tuple[int, int]:
        return image_headers.size(self._paths[image])

    def __iter__(self) -> Iterator[PurePosixPath]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


class YoloSplit:
    """One split of a YOLO folder; implements :class:`~converters.formats.AnnotationSource`.

    Args:
        dataset: The YOLO folder.
        split: Name of the split.
        folder: One of the image folders of the split; None for all its images.
        paths: Images in that folder.

    Raises:
        InputError: The split does not exist or has no images.
    """

    works = NO_WORKS

    def __init__(
        self,
        dataset: YoloDataset,
        split: str,
        folder: Path | None = None,
        paths: Sequence[Path] = (),
    ) -> None:
        self._paths = list(paths) or dataset.image_paths(split)
        self.path, self.state = dataset.file, dataset.state
        self.split = split
        self.image_folder = folder or dataset.splits[split]
        self.images = ImageSizes(self.image_folder, self._paths)
        for image in self.images:
            if not str(image).isascii():
                check_file_name(image, self.image_folder)
        self._dataset = dataset
        self._sha256 = ""
        self._is_complete = all(source.is_dir() for source in dataset.sources_of(split))

    @property
    def warnings(self) -> Sequence[str]:
        """Remarks on files that were skipped, and on missing label files."""
        return (
            *self._dataset.warnings,
            *skipped_files(self.image_folder, self._paths, is_complete=self._is_complete),
            *unlabelled_images(self.image_folder, self._paths),
        )

    def sha256(self) -> str:
        """Hash the names and sizes of the images and the label files.

        Returns:
            The hash of what ``pages`` has read; if it has not read all pages, of what is there now.
        """
        if not self._sha256:
            digest, n_names = hashlib.sha256(), len(self._dataset.names)
            for path in self._paths:
                digest.update(labelled_image(path, self.image_folder, n_names).fingerprint())
            self._sha256 = digest.hexdigest()
        return self._sha256

    def categories(self, _mapping: CategoryMapping) -> tuple[str, ...]:
        """Return the names in ``data.yaml``."""
        return self._dataset.names

    def pages(
        self,
        mapping: CategoryMapping,
        labels: Mapping[str, int],
        counts: Tally,
        *,
        clip: bool = False,
        workers: int = 1,
    ) -> Iterator[Page]:
        """Yield the pages, sorted by name.

        Args:
            mapping: Class of each name in ``data.yaml``.
            labels: Label of each class.
            counts: Receives the numbers of labels read, and of those dropped because their name has
                no class.
            clip: Accept boxes that extend beyond the image; cleaning clips them later.
            workers: Not used.

        Raises:
            InputError: A label file is malformed, or a box extends beyond its image.
        """
        names = self._dataset.names
        label_of = np.array([labels.get(mapping.class_of.get(name, ""), -1) for name in names])
        digest = hashlib.sha256()
        for path in self._paths:
            image = labelled_image(path, self.image_folder, len(names))
            digest.update(image.fingerprint())
            page = image.page
            counts.read += len(page.labels)
            new_labels = label_of[page.labels]
            is_mapped = new_labels >= 0
            counts.drop(tally.NOT_IN_CLASS_MAP, page.labels[~is_mapped], names)
            polygons = tally.count(new_labels[image.is_polygon & is_mapped], list(labels))
            counts.changed.update({(tally.POLYGON, name): n for name, n in polygons.items()})
            page = replace(page, labels=new_labels, n_annotations=len(page.labels)).only(is_mapped)
            yield page if clip else self._inside(page)
        self._sha256 = digest.hexdigest()

    def _inside(self, page: Page) -> Page:
        """Clip boxes that rounding moved beyond the image; reject boxes further outside."""
        size = np.array([page.width, page.height], np.float64)
        boxes_xyxy = onto_border(page.boxes_xyxy, size, ROUNDING)
        outside = ((boxes_xyxy < 0) | (boxes_xyxy > np.tile(size, 2))).any(axis=1)
        if outside.any():
            boxes = page.boxes_xyxy[outside].round(1).tolist()
            raise InputError(
                f"extends beyond the image: {count_of(boxes, 'label', most=1)}; use --clip to clip "
                "boxes to the image",
                path=label_path(self.image_folder / page.image),
            )
        return replace(page, boxes_xyxy=boxes_xyxy)
