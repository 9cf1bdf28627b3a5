"""Symbols of formats that list them one by one, each with the name of its category."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from class_maps import CategoryMapping, InputError
from converters import tally
from converters.boxes import Boxes, onto_border
from converters.names import count_of
from converters.tally import Tally


def mapped_labels(
    names: Sequence[str], mapping: CategoryMapping, labels: Mapping[str, int], counts: Tally
) -> NDArray[np.int64]:
    """Return the label of each symbol, shape ``(N,)``; -1 for categories without a class.

    Args:
        names: Category of each symbol.
        mapping: Class of each category.
        labels: Label of each class.
        counts: Receives the numbers of symbols read, and of those without a class.
    """
    known = list(dict.fromkeys(names))
    positions = {name: i for i, name in enumerate(known)}
    indices = np.array([positions[name] for name in names], np.int64)
    label_of = [labels.get(mapping.class_of.get(name, ""), -1) for name in known]
    page_labels = np.array(label_of, np.int64)[indices]
    counts.read += len(names)
    counts.drop(tally.NOT_IN_CLASS_MAP, indices[page_labels < 0], known)
    return page_labels


def boxes_inside(
    boxes_xyxy: Boxes, size: tuple[int, int], places: Sequence[str], path: Path, *, clip: bool
) -> Boxes:
    """Return boxes with sides that rounding moved beyond the image on its border.

    Args:
        boxes_xyxy: Boxes in pixels, shape ``(N, 4)``.
        size: Width and height of the image in pixels.
        places: Location of each symbol in the file.
        path: The file.
        clip: Accept boxes that extend beyond the image.

    Raises:
        InputError: A box extends beyond the image.
    """
    moved = onto_border(boxes_xyxy, np.array(size, np.float64))
    outside = ((moved < 0) | (moved > [*size, *size])).any(axis=1)
    if outside.any() and not clip:
        symbols = [places[int(i)] for i in np.flatnonzero(outside)]
        raise InputError(
            f"extends beyond the image of {size[0]} x {size[1]} px: {count_of(symbols, 'symbol')}; "
            "use --clip to clip boxes to the image",
            path=path,
        )
    return moved
