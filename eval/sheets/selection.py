"""Choice of the symbols that contact sheets show.

Shapes: N candidates of all images, P pairs of an item and an image.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from converters.prepare.candidates import (
    CANDIDATE,
    RANDOM,
    REASONS,
    CandidateLimits,
    name_hash,
    position_in_run,
)

MOST_ROWS = 50_000
"""Number of candidates above which those that will not be chosen are removed."""
_FIELDS = CANDIDATE.names or ()
_ROW = np.dtype([*((name, CANDIDATE[name]) for name in _FIELDS), ("group", np.int32)])
"""A candidate with the number of its image among all images, and that of its group."""
_RANDOM = REASONS.index(RANDOM)

Group: TypeAlias = tuple[str, str]
"""Class name and source; the source is empty if the data set has only one."""
Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceImage:
    """An image of which symbols may be shown."""

    source: str
    """Data set or folder of the image; empty if the data set has only one."""
    split: str
    name: PurePosixPath
    """Image, relative to the image folder of its split."""
    path: Path
    staff_space: float | None
    """Staff space of the image in pixels; None if it is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenSymbol:
    """A symbol to show."""

    class_name: str
    image: SourceImage
    box_xyxy: Box
    """Box in pixels of the image."""
    reason: str
    """One of :data:`~converters.prepare.candidates.REASONS`, or the id of a rule of ``omr
    lint``."""
    predicted_xyxy: Box | None = None
    """Box of a prediction to show as well, in pixels of the image."""


class Selector:
    """Chooses symbols of every class and source from the candidates of pages.

    Random symbols come from the images whose names have the lowest hashes, so that the choice does
    not depend on the order of the pages, and few images need to be decoded.

    Args:
        kept: Maximum numbers of candidates to keep per class and source.
    """

    def __init__(self, kept: CandidateLimits) -> None:
        self._kept = kept
        self._groups: dict[Group, int] = {}
        self._numbers_of: dict[str, NDArray[np.int64]] = {}
        self._images: list[SourceImage] = []
        self._parts: list[NDArray[np.void]] = []
        self._n_rows, self._most_rows = 0, MOST_ROWS
        self.counts: Counter[Group] = Counter()
        """Number of symbols of every class and source; counted by the caller."""

    def add(
        self, images: Sequence[SourceImage], candidates: NDArray[np.void], names: Sequence[str]
    ) -> None:
        """Add the candidates of a page.

        Args:
            images: The page or its tiles, all of one source.
            candidates: Result of :func:`~converters.prepare.candidates.find_candidates`.
            names: Class names, indexed by label.
        """
        if not len(candidates):
            return
        rows = np.empty(len(candidates), _ROW)
        for name in _FIELDS:
            rows[name] = candidates[name]
        rows["group"] = self._numbers(images[0].source, names)[rows["label"]]
        rows["image"] += len(self._images)
        self._images += images
        self._parts.append(rows)
        self._n_rows += len(rows)
        if self._n_rows > self._most_rows:
            self._reduce()

    def _numbers(self, source: str, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of the group of each class."""
        if source not in self._numbers_of:
            groups = [(name, source) for name in names]
            numbers = [self._groups.setdefault(group, len(self._groups)) for group in groups]
            self._numbers_of[source] = np.array(numbers)
        return self._numbers_of[source]

    def _best(self) -> NDArray[np.void]:
        """Return the candidates to keep, sorted by group, reason and rank."""
        rows = np.concatenate([np.empty(0, _ROW), *self._parts])
        hashes = self._hashes()[rows["image"]]  # decide between equal sizes
        rows = rows[np.lexsort((hashes, rows["rank"], rows["reason"], rows["group"]))]
        return rows[_is_first(rows, self._kept)]

    def _hashes(self) -> NDArray[np.float64]:
        return np.array([name_hash(image.name) for image in self._images])

    def _reduce(self) -> None:
        """Forget the other candidates and their images, so that memory use stays constant."""
        rows = self._best()
        used, rows["image"] = np.unique(rows["image"], return_inverse=True)
        self._images = [self._images[i] for i in used.tolist()]
        self._parts, self._n_rows = [rows], len(rows)
        self._most_rows = 2 * len(rows) + MOST_ROWS

    def chosen(
        self,
        first: Iterable[ChosenSymbol] = (),
        *,
        limits: CandidateLimits | None = None,
        most_images: int | None = None,
        folder: Path = Path(),
    ) -> list[ChosenSymbol]:
        """Return the chosen symbols by class and source, each once.

        Args:
            first: Symbols to show first.
            limits: Maximum numbers of symbols per class and source; None for those kept.
            most_images: Maximum number of images that the other symbols come from; None for any.
                The images are chosen so that as many classes as possible are shown, then as many
                symbols of extreme sizes as possible.
            folder: Folder that relative paths of images refer to.
        """
        limits, rows = limits or self._kept, self._best()
        is_random = rows["reason"] == _RANDOM
        rows = rows[is_random | _is_first(rows, limits)]
        if most_images is not None:
            rows = rows[self._opened(rows, limits, most_images)[rows["image"]]]
        rows = rows[_is_first(rows, limits)]
        distinct: dict[tuple[object, ...], ChosenSymbol] = {}
        for symbol in (*first, *self._symbols(rows, folder)):
            key = symbol.class_name, symbol.image.split, symbol.image.name, symbol.box_xyxy
            distinct.setdefault(key, symbol)
        return sorted(distinct.values(), key=lambda s: (s.class_name, s.image.source))

    def _opened(
        self, rows: NDArray[np.void], limits: CandidateLimits, most_images: int
    ) -> NDArray[np.bool_]:
        """Return which images to open, shape ``(len(self._images),)``."""
        hashes = self._hashes()
        is_open = np.zeros(len(hashes), bool)
        open_for(rows["group"], rows["image"], hashes, is_open, most_images)
        numbers, is_random = np.arange(len(rows)), rows["reason"] == _RANDOM
        for part in (~is_random, is_random & _is_first(rows, limits)):
            open_for(numbers[part], rows["image"][part], hashes, is_open, most_images)
        return is_open

    def _symbols(self, rows: NDArray[np.void], folder: Path) -> Iterator[ChosenSymbol]:
        groups = list(self._groups)
        used = np.unique(rows["image"]).tolist()
        images = {i: replace(self._images[i], path=folder / self._images[i].path) for i in used}
        for row in rows:
            (class_name, _), image = groups[row["group"]], images[row["image"]]
            x0, y0, x1, y1 = row["box_xyxy"].tolist()
            yield ChosenSymbol(
                class_name=class_name,
                image=image,
                box_xyxy=(x0, y0, x1, y1),
                reason=REASONS[row["reason"]],
            )


def _is_first(rows: NDArray[np.void], limits: CandidateLimits) -> NDArray[np.bool_]:
    """Return which of sorted candidates are among the first of their group and reason."""
    position = position_in_run(rows["group"], rows["reason"])
    most = np.where(rows["reason"] == _RANDOM, limits.n_random, limits.n_extreme)
    return np.asarray(position < most)


def open_for(
    items: NDArray[np.integer],
    images: NDArray[np.integer],
    hashes: NDArray[np.float64],
    is_open: NDArray[np.bool_],
    most_images: int,
) -> None:
    """Open images until every item is in one of them, those with the most items first.

    Args:
        items: Item of each pair, shape ``(P,)``.
        images: Image that shows the item, shape ``(P,)``.
        hashes: Hash of each image, below 1; the lowest decides between equal numbers of items.
        is_open: Whether each image is open; changed in place.
        most_images: Maximum number of open images.
    """
    pairs = np.unique(np.stack([items, images]), axis=1)
    items, images = np.unique(pairs[0], return_inverse=True)[1], pairs[1]
    is_shown = np.zeros(len(items), bool)
    while True:
        is_shown[items[is_open[images]]] = True
        is_left = ~is_shown[items]
        items, images = items[is_left], images[is_left]
        if not len(items) or is_open.sum() >= most_images:
            return
        is_open[np.argmax(np.bincount(images, minlength=len(hashes)) - hashes)] = True
