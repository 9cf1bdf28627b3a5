"""Reader and writer of YOLO folders: ``images/<split>``, ``labels/<split>``, ``data.yaml``.

A label file has one line ``label x_centre y_centre width height`` per symbol, with coordinates
normalised to the image size, https://docs.ultralytics.com/datasets/detect/. No other module of
``converters`` uses normalised coordinates.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from class_maps import InputError, Source
from converters import images, tally
from converters.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from converters.names import FOLDER, count_of
from converters.page import Page
from converters.tally import Tally

IMAGES, LABELS, DATA_YAML = FOLDER, "labels", "data.yaml"
ROUNDING = 2e-6
"""Fraction of the image's side by which boxes may extend beyond it because of rounding."""


def write_labels(page: Page, folder: Path) -> None:
    """Write the label file of one page into ``folder``, the label folder of its split."""
    path = folder / page.image.with_suffix(".txt")
    path.write_text(label_lines(page), encoding="ascii")


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
        """Write ``data.yaml`` with paths relative to itself, so that the folder can be moved."""
        val = next(split for split in ("val", "test", "train") if split in self._splits)
        lines = [f"train: {IMAGES}/{'train' if 'train' in self._splits else val}"]
        if len(self._splits) == 1:
            lines.append("# no page is held out: scores on val are scores on the training pages")
        lines.append(f"val: {IMAGES}/{val}")
        if "test" in self._splits:
            lines.append(f"test: {IMAGES}/test")
        names = yaml.safe_dump({"names": dict(enumerate(self._names))}, sort_keys=False)
        text = "\n".join(lines) + "\n" + names
        (self._folder / DATA_YAML).write_text(text, encoding="utf-8")


def label_lines(page: Page) -> str:
    """Format the label file of a page, with six decimals; empty for a page without symbols.

    The text is composed as an array of characters, because large data sets have millions of lines.
    """
    n = len(page.labels)
    sides = [page.width, page.height, page.width, page.height]
    millionths = np.rint(xyxy_to_cxcywh(page.boxes_xyxy) / sides * 1_000_000).astype(np.int32)
    label_digits = page.labels[:, None] // 10 ** np.arange(5, -1, -1) % 10
    leading = np.cumsum(label_digits, axis=1) == 0  # zeros before the first other digit
    leading[:, -1] = False
    text = np.full((n, 43), ord(" "), np.uint8)  # (N, 43): "000012 0.123456 ... 0.123456\n"
    text[:, :6] = label_digits + ord("0")
    numbers = text[:, 6:42].reshape(n, 4, 9)  # (N, 4, 9): " 0.123456"
    text[:, -1] = ord("\n")
    for column in (8, 7, 6, 5, 4, 3, 1):
        numbers[..., column] = millionths % 10 + ord("0")
        millionths //= 10
    numbers[..., 2] = ord(".")
    text[:, 6:42] = numbers.reshape(n, 36)
    is_printed = np.ones(text.shape, bool)
    is_printed[:, :6] = ~leading
    return text[is_printed].tobytes().decode("ascii")


@dataclass(frozen=True, kw_only=True, slots=True)
class YoloDataset:
    """An opened YOLO folder."""

    root: Path
    names: tuple[str, ...]
    """Name of the class with label ``i`` at index ``i``."""
    splits: Mapping[str, Path]
    """Image folder of each split (train, val, test); val may be the same folder as train."""

    def image_paths(self, split: str) -> list[Path]:
        """List the images of a split, sorted by name.

        Raises:
            InputError: The split does not exist, or its folder contains no images.
        """
        if split not in self.splits:
            raise InputError(
                f"no split {split!r}; available: {', '.join(self.splits)}",
                path=self.root / DATA_YAML,
            )
        folder = self.splits[split]
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in images.IMAGE_SUFFIXES)
        if not paths:
            raise InputError("contains no images; convert without --labels-only", path=folder)
        return paths

    def pages(self, split: str) -> Iterator[Page]:
        """Yield the pages of a split, sorted by name; an image without label file has no symbols.

        Raises:
            InputError: A label file is malformed, or an image is damaged.
        """
        return (image.page for image in self.labelled_images(split))

    def labelled_images(self, split: str) -> Iterator["LabelledImage"]:
        """Yield the images of a split with their label files, sorted by name.

        Raises:
            InputError: A label file is malformed, or an image is damaged.
        """
        folder = self.splits.get(split, self.root)
        for path in self.image_paths(split):
            width, height = images.size(path)
            content = _label_content(path)
            rows = _parse_labels(content, _label_path(path), len(self.names))
            page = Page(
                image=PurePosixPath(path.relative_to(folder)),
                width=width,
                height=height,
                boxes_xyxy=cxcywh_to_xyxy(rows[:, 1:] * [width, height, width, height]),
                labels=rows[:, 0].astype(np.int64),
            )
            yield LabelledImage(path=path, page=page, rows=rows, content=content)

    def fingerprint(self, split: str) -> str:
        """Hash the names and sizes of a split's images, and the contents of their label files.

        Images are not read, so 100,000 of them take seconds.

        Raises:
            InputError: The split does not exist, or its folder contains no images.
        """
        digest = hashlib.sha256()
        for path in self.image_paths(split):
            name = PurePosixPath(path.relative_to(self.splits[split]))
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
    rows: np.ndarray[Any, np.dtype[np.float64]]
    """Label, then centre, width and height as fractions of the image, shape ``(N, 5)``."""
    content: bytes
    """Bytes of the label file; empty without one."""

    def fingerprint(self) -> bytes:
        """Return the image's name and size in bytes and the content of its label file."""
        return _fingerprint(self.path, self.page.image, self.content)


def open_dataset(folder: Path) -> YoloDataset:
    """Open a YOLO folder.

    Args:
        folder: Folder that contains a ``data.yaml``, or the path of that file.

    Raises:
        InputError: ``data.yaml`` is missing or malformed, or the folder of a split is missing.
    """
    path = folder if folder.suffix in {".yaml", ".yml"} else folder / DATA_YAML
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "no such file; expected a folder written by `omr convert` with --format yolo", path=path
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot be read: {' '.join(str(error).split())}", path=path) from error
    if not isinstance(data, dict):
        raise InputError("expected a mapping with train, val and names", path=path)
    root = path.parent / str(data.get("path", ""))
    splits = {s: root / str(data[s]) for s in ("train", "val", "test") if data.get(s)}
    for split, folder in splits.items():
        if not folder.is_dir():
            raise InputError(
                f"no such folder: {folder}; convert without --labels-only", path=path, where=split
            )
    return YoloDataset(root=path.parent, names=_names(data.get("names"), path), splits=splits)


def recognises(path: Path) -> bool:
    """Check whether a path is a folder with a ``data.yaml``, or a YAML file."""
    return path.suffix in {".yaml", ".yml"} or (path / DATA_YAML).is_file()


def open_splits(path: Path) -> list["YoloSplit"]:
    """Open the splits of a YOLO folder.

    Splits that share a folder are opened once: as the split with the folder's name, or else as the
    first one.

    Args:
        path: Folder that contains a ``data.yaml``, or the path of that file.

    Raises:
        InputError: ``data.yaml`` is missing or malformed, or a split has no images.
    """
    dataset = open_dataset(path)
    split_of: dict[Path, str] = {}
    for split, folder in dataset.splits.items():
        if folder.name == split or folder.resolve() not in split_of:
            split_of[folder.resolve()] = split
    return [YoloSplit(dataset, split) for split in split_of.values()]


class ImageSizes(Mapping[PurePosixPath, tuple[int, int]]):
    """Width and height of the images in a folder, each read from its file when accessed."""

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        self._paths = {PurePosixPath(path.relative_to(folder)): path for path in paths}

    def __getitem__(self, image: PurePosixPath) -> tuple[int, int]:
        return images.size(self._paths[image])

    def __iter__(self) -> Iterator[PurePosixPath]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


class YoloSplit:
    """One split of a YOLO folder; implements :class:`~converters.formats.AnnotationSource`.

    Raises:
        InputError: The split does not exist or has no images.
    """

    def __init__(self, dataset: YoloDataset, split: str) -> None:
        paths = dataset.image_paths(split)
        self.path = dataset.root / DATA_YAML
        self.split = split
        self.image_folder = dataset.splits[split]
        self.images = ImageSizes(self.image_folder, paths)
        self._dataset = dataset

    def sha256(self) -> str:
        """Hash the names and sizes of the images, and the contents of their label files."""
        return self._dataset.fingerprint(self.split)

    def categories(self, _source: Source) -> tuple[str, ...]:
        """Return the names in ``data.yaml``."""
        return self._dataset.names

    def pages(
        self,
        source: Source,
        labels: Mapping[str, int],
        counts: Tally,
        *,
        clip: bool = False,
        workers: int = 1,
    ) -> Iterator[Page]:
        """Yield the pages, sorted by name.

        Args:
            source: Class of each name in ``data.yaml``.
            labels: Label of each class.
            counts: Receives the numbers of labels read, and of those dropped because their name has
                no class.
            clip: Accept boxes that extend beyond the image; the cleaning clips them.
            workers: Not used.

        Raises:
            InputError: A label file is malformed, or a box extends beyond its image.
        """
        names = self._dataset.names
        label_of = np.array([labels.get(source.class_of.get(name, ""), -1) for name in names])
        for page in self._dataset.pages(self.split):
            counts.read += len(page.labels)
            new_labels = label_of[page.labels]
            is_mapped = new_labels >= 0
            counts.drop(tally.NOT_IN_CLASS_MAP, page.labels[~is_mapped], names)
            page = replace(page, labels=new_labels, n_annotations=len(page.labels)).only(is_mapped)
            yield page if clip else self._inside(page)

    def _inside(self, page: Page) -> Page:
        """Clip boxes that rounding moved beyond the image; reject those further outside."""
        size = np.array([page.width, page.height] * 2, np.float64)
        boxes_xyxy = np.clip(page.boxes_xyxy, 0, size)
        if (outside := (np.abs(boxes_xyxy - page.boxes_xyxy) > ROUNDING * size).any(axis=1)).any():
            boxes = page.boxes_xyxy[outside].round(1).tolist()
            raise InputError(
                f"extends beyond the image: {count_of(boxes, 'label', most=1)}; use --clip to clip "
                "boxes to the image",
                path=_label_path(self.image_folder / page.image),
            )
        return replace(page, boxes_xyxy=boxes_xyxy)


def _names(names: Any, path: Path) -> tuple[str, ...]:  # noqa: ANN401
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise InputError("expected the names of labels 0, 1, 2, ...", path=path, where="names")
    return tuple(names)


def _label_path(image: Path) -> Path:
    """Return an image's label file as Ultralytics does: ``labels/a.txt`` for ``images/a.png``."""
    parts = list(image.parts)
    last = len(parts) - 1 - parts[::-1].index(IMAGES) if IMAGES in parts else None
    if last is not None:
        parts[last] = LABELS
    return Path(*parts).with_suffix(".txt")


def _label_content(image: Path) -> bytes:
    """Read the label file of an image; empty without one."""
    try:
        return _label_path(image).read_bytes()
    except FileNotFoundError:
        return b""


def _fingerprint(path: Path, name: PurePosixPath, content: bytes) -> bytes:
    header = f"{name}\n{path.stat().st_size} {len(content)}\n"
    return header.encode() + content


def _parse_labels(
    content: bytes, path: Path, n_names: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Parse a label file into an array of shape ``(N, 5)``; ``path`` is for error messages."""
    lines = content.decode("utf-8").splitlines()
    table = _table(lines, n_names)
    if table is None:
        for i, line in enumerate(lines):
            problem = _problem(line.split(), n_names)
            if problem:
                raise InputError(problem, path=path, where=f"line {i + 1}")
        table = np.array([line.split() for line in lines if line.split()], np.float64)
    return table.reshape(-1, 5)


def _table(lines: Sequence[str], n_names: int) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Parse all lines of a file, shape ``(N, 5)``; None if a line needs closer inspection.

    This is fast, because large data sets have millions of lines, nearly all of them valid.
    """
    rows = [line.split() for line in lines]
    if any(len(row) != 5 for row in rows):
        return None
    try:
        table = np.fromiter(map(float, chain.from_iterable(rows)), np.float64, 5 * len(rows))
    except ValueError:
        return None
    table = table.reshape(-1, 5)
    labels, coordinates = table[:, 0], table[:, 1:]
    is_valid = (labels >= 0).all() and (labels < n_names).all()
    is_valid = is_valid and (coordinates >= 0).all() and (coordinates <= 1).all()
    return table if is_valid else None


def _problem(row: list[str], n_names: int) -> str | None:
    """Describe the problem with a line; None if it is valid."""
    try:
        numbers = [float(word) for word in row]
    except ValueError:
        numbers = []
    if row and len(numbers) != 5:
        return f"expected label, x_centre, y_centre, width, height, got: {' '.join(row)}"
    if row and not 0 <= numbers[0] < n_names:
        return f"label {row[0]} has no name in {DATA_YAML}, which has {n_names} names"
    if row and not all(0 <= number <= 1 for number in numbers[1:]):
        return f"expected coordinates from 0 to 1, got: {' '.join(row)}"
    return None
