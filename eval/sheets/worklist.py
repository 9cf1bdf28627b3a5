"""Worklist of labels that predictions contradict: a page with a crop of each, and a CSV file."""

import csv
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2

from eval.html import page
from eval.lint.findings import RankedLabel
from eval.lint.rules import RULES
from eval.sheets.crops import Crop, cut_crops
from eval.sheets.selection import ChosenSymbol, SourceImage

PAGE = "worklist.html"
TABLE = "worklist.csv"
_SIDES = ("x_min", "y_min", "x_max", "y_max")
COLUMNS = (
    *("rule", "score", "split", "page", "class", *_SIDES),
    *("predicted_class", "confidence", *(f"predicted_{side}" for side in _SIDES)),
)
"""Columns of the CSV file."""
Track: TypeAlias = Callable[[Iterable[Crop], str, int], Iterable[Crop]]
"""Function that shows progress: crops, description and number of crops to the same crops."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Row of the page."""

    label: RankedLabel
    image: str
    """Crop as a data URI."""
    width: int
    height: int


def write_worklist(
    ranked: Mapping[str, Sequence[RankedLabel]], folder: Path, *, title: str, track: Track
) -> int:
    """Write the page and the CSV file, and return the number of labels in them.

    Args:
        ranked: Labels by rule, lowest score first.
        folder: Folder to fill.
        title: Name of the data set.
        track: Progress display.

    Raises:
        InputError: An image is damaged.
        OSError: A file cannot be written.
    """
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(_cells(rule, label) for rule, labels in ranked.items() for label in labels)
    symbols = [_symbol(rule, label) for rule, labels in ranked.items() for label in labels]
    crops = track(cut_crops(symbols), "Drawing symbols", len(symbols))
    crop_of = {crop.symbol: crop for crop in crops}
    meaning_of = {rule.id: rule.meaning for rule in RULES}
    text = page.render(
        "worklist.html.j2",
        title=title,
        rules=[
            (rule, meaning_of[rule], [*_entries(rule, labels, crop_of)])
            for rule, labels in ranked.items()
        ],
    )
    (folder / PAGE).write_text(text, encoding="utf-8")
    return len(symbols)


def _cells(rule: str, label: RankedLabel) -> list[Any]:
    example = label.example
    boxes = (example.box_xyxy or (), label.predicted_xyxy)
    box, predicted = ([round(side, 2) for side in sides] for sides in boxes)
    return [
        *(rule, round(label.score, 4), example.split, example.page, label.class_name, *box),
        *(label.predicted_class, round(label.confidence, 4), *predicted),
    ]


def _symbol(rule: str, label: RankedLabel) -> ChosenSymbol:
    return ChosenSymbol(
        class_name=label.class_name,
        image=SourceImage(
            source=label.source,
            split=label.example.split,
            name=label.example.page,
            path=label.path,
            staff_space=label.staff_space,
        ),
        box_xyxy=label.example.box_xyxy or label.predicted_xyxy,
        reason=rule,
        predicted_xyxy=label.predicted_xyxy,
    )


def _entries(
    rule: str, labels: Sequence[RankedLabel], crop_of: Mapping[ChosenSymbol, Crop]
) -> Iterator[Entry]:
    for label in labels:
        pixels = crop_of[_symbol(rule, label)].pixels
        _, data = cv2.imencode(".png", pixels)
        height, width = pixels.shape[:2]
        image = f"data:image/png;base64,{b64encode(data.tobytes()).decode()}"
        yield Entry(label=label, image=image, width=width, height=height)
