"""The YOLO folder: ``images/<split>``, ``labels/<split>``, ``data.yaml``.

A label file has a line ``label x_centre y_centre width height`` for each symbol, in shares of the
image, https://docs.ultralytics.com/datasets/detect/. This is the only place with such numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from class_maps import InputError
from converters import images
from converters.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from converters.manifest_reader import Converted, TiledPage, read_converted
from converters.names import FOLDER
from converters.page import Page

IMAGES, LABELS, DATA_YAML = FOLDER, "labels", "data.yaml"


def write_labels(page: Page, folder: Path) -> None:
    """Write the label file of one page into ``folder``, that of its split's labels."""
    path = folder / page.image.with_suffix(".txt")
    path.write_text(label_lines(page), encoding="ascii")


class YoloWriter:
    """Writes ``data.yaml``; the label files are :func:`write_labels`', page by page."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names
        self._splits: set[str] = set()

    def add(self, split: str, page: Page) -> None:
        """Take note of the split; workers write the labels beside the images."""
        self._splits.add(split)

    def close(self) -> None:
        """Write ``data.yaml``, whose paths are relative to itself: the folder can be moved."""
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
    """The text of a page's label file, six digits a number; empty for a page without symbols.

    The digits are set as an array of characters: a large data set has millions of lines.
    """
    n = len(page.labels)
    sides = [page.width, page.height, page.width, page.height]
    shares = np.rint(xyxy_to_cxcywh(page.boxes_xyxy) / sides * 1_000_000).astype(np.int32)
    label_digits = page.labels[:, None] // 10 ** np.arange(5, -1, -1) % 10
    leading = np.cumsum(label_digits, axis=1) == 0  # zeros before the first other digit
    leading[:, -1] = False
    text = np.full((n, 43), ord(" "), np.uint8)  # (N, 43): "000012 0.123456 ... 0.123456\n"
    text[:, :6] = label_digits + ord("0")
    numbers = text[:, 6:42].reshape(n, 4, 9)  # (N, 4, 9): " 0.123456"
    text[:, -1] = ord("\n")
    for place in (8, 7, 6, 5, 4, 3, 1):
        numbers[..., place] = shares % 10 + ord("0")
        shares //= 10
    numbers[..., 2] = ord(".")
    text[:, 6:42] = numbers.reshape(n, 36)
    shown = np.ones(text.shape, bool)
    shown[:, :6] = ~leading
    return text[shown].tobytes().decode("ascii")


@dataclass(frozen=True, kw_only=True, slots=True)
class YoloDataset:
    """A YOLO folder, opened for reading."""

    root: Path
    names: tuple[str, ...]
    """Name of the class with label ``i`` at index ``i``."""
    splits: Mapping[str, Path]
    """Image folder of each of train, val and test; val may be the same folder as train."""

    def image_paths(self, split: str) -> list[Path]:
        """Every image of a split, sorted by name.

        Raises:
            InputError: There is no such split, no folder, or no image in it.
        """
        if split not in self.splits:
            raise InputError(
                f"no split {split!r}; it has: {', '.join(self.splits)}", path=self.root / DATA_YAML
            )
        folder = self.splits[split]
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in images.IMAGE_SUFFIXES)
        if not paths:
            raise InputError("no images here; convert without --labels-only", path=folder)
        return paths

    def pages(self, split: str) -> Iterator[Page]:
        """Yield the pages of a split, sorted by name; an image without label file has no symbol.

        Raises:
            InputError: A label file is malformed or contains an invalid value.
        """
        return (image.page for image in self.labelled_images(split))

    def labelled_images(self, split: str) -> Iterator["LabelledImage"]:
        """Yield the images of a split with their label files, sorted by name.

        Raises:
            InputError: A label file is malformed or contains an invalid value.
        """
        folder = self.splits.get(split, self.root)
        for path in self.image_paths(split):
            width, height = images.size(path)
            label_path = _label_path(path)
            content = label_path.read_bytes() if label_path.is_file() else b""
            rows = _parse_labels(content, label_path, len(self.names))
            page = Page(
                image=PurePosixPath(path.relative_to(folder)),
                width=width,
                height=height,
                boxes_xyxy=cxcywh_to_xyxy(rows[:, 1:] * [width, height, width, height]),
                labels=rows[:, 0].astype(np.int64),
            )
            yield LabelledImage(path=path, page=page, rows=rows, content=content)

    def converted(self) -> Converted:
        """What its conversion wrote down; all of it is empty where nobody knows of one.

        Raises:
            InputError: ``manifest.json`` cannot be read.
        """
        return read_converted(self.root)

    def tiled_pages(self, split: str) -> dict[PurePosixPath, TiledPage]:
        """The pages that a split's images were cut from; empty where whole pages were converted.

        Raises:
            InputError: ``manifest.json`` is damaged.
        """
        tiled = self.converted().tiles.get(self._folder_name(split), {})
        return {PurePosixPath(page): entry for page, entry in tiled.items()}

    def converted_pages(self, split: str) -> "ConvertedPages | None":
        """The pages that a split's images were made from; None where no conversion tells of them.

        Raises:
            InputError: ``manifest.json`` is damaged.
        """
        converted, name = self.converted(), self._folder_name(split)
        pages = converted.pages
        if name not in pages:
            return None
        n_pages = sum(pages.values())
        annotations = converted.annotations.get(name)
        tiled = converted.tiles.get(name)
        return ConvertedPages(
            n_pages=pages[name],
            mean_annotations=converted.n_read / n_pages if n_pages else None,
            annotations=tuple(annotations.values()) if annotations else None,
            symbols=tuple(page.symbols for page in tiled.values()) if tiled else None,
            are_cut=any(len(page.tiles) > 1 for page in tiled.values()) if tiled else False,
        )

    def _folder_name(self, split: str) -> str:
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
        header = f"{self.page.image}\n{self.path.stat().st_size} {len(self.content)}\n"
        return header.encode() + self.content


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedPages:
    """What was read and written of the pages of a split, as ``manifest.json`` tells."""

    n_pages: int
    mean_annotations: float | None
    """Annotations a page over all splits, which older conversions tell as well."""
    annotations: tuple[int, ...] | None
    """Annotations of each page, those without a class included; None in older conversions."""
    symbols: tuple[int, ...] | None
    """Symbols of each page, each counted once however many tiles show it; None where pages were
    neither scaled nor cut: their images have the same."""
    are_cut: bool
    """Whether a page has more than one tile."""


def open_dataset(folder: Path) -> YoloDataset:
    """Open a folder that has a ``data.yaml``.

    Args:
        folder: The folder, or the ``data.yaml`` in it.

    Raises:
        InputError: There is none, or it says something it must not.
    """
    path = folder if folder.suffix in {".yaml", ".yml"} else folder / DATA_YAML
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "no such file; give a folder that `omr convert` wrote with --format yolo", path=path
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
                f"no folder {folder}; convert without --labels-only", path=path, where=split
            )
    return YoloDataset(root=path.parent, names=_names(data.get("names"), path), splits=splits)


def _names(names: Any, path: Path) -> tuple[str, ...]:  # noqa: ANN401
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise InputError("expected the name of each label from 0 on", path=path, where="names")
    return tuple(names)


def _label_path(image: Path) -> Path:
    """``.../images/train/a.png`` to ``.../labels/train/a.txt``, as Ultralytics does."""
    parts = list(image.parts)
    last = len(parts) - 1 - parts[::-1].index(IMAGES) if IMAGES in parts else None
    if last is not None:
        parts[last] = LABELS
    return Path(*parts).with_suffix(".txt")


def _parse_labels(
    content: bytes, path: Path, n_names: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Parse a label file into rows of shape ``(N, 5)``; ``path`` is for error messages."""
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
    """All numbers of a file, ``(N, 5)``, or None where lines must be looked at one by one.

    A large data set has millions of lines, and nearly all are as :func:`label_lines` writes them.
    """
    rows = [line.split() for line in lines]
    if any(len(row) != 5 for row in rows):
        return None
    try:
        table = np.fromiter(map(float, chain.from_iterable(rows)), np.float64, 5 * len(rows))
    except ValueError:
        return None
    table = table.reshape(-1, 5)
    labels, shares = table[:, 0], table[:, 1:]
    fine = (labels >= 0).all() and (labels < n_names).all()
    fine = fine and (shares >= 0).all() and (shares <= 1).all()
    return table if fine else None


def _problem(row: list[str], n_names: int) -> str | None:
    """What is wrong with the words of a line, if anything."""
    try:
        numbers = [float(word) for word in row]
    except ValueError:
        numbers = []
    if row and len(numbers) != 5:
        return f"expected label, x_centre, y_centre, width, height, got: {' '.join(row)}"
    if row and not 0 <= numbers[0] < n_names:
        return f"label {row[0]} is not one of the {n_names} names in {DATA_YAML}"
    if row and not all(0 <= number <= 1 for number in numbers[1:]):
        return f"expected shares of the image from 0 to 1, got: {' '.join(row)}"
    return None
