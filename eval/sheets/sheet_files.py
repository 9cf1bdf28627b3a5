"""Files of contact sheets: a folder of pictures with an index, or a page that contains them."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from converters import images
from eval.sheets.crops import Crop
from eval.sheets.selection import Group
from eval.sheets.sheet_page import sheet_page
from eval.sheets.sheets import Sheet, arranged_sheets

INDEX = "index.html"
FOLDER = "sheets"
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


def write_sheets(
    crops: Iterable[Crop], counts: Counter[Group], folder: Path, *, title: str
) -> list[Sheet]:
    """Write a picture per class and source, and the index.

    Args:
        crops: Crops in any order.
        counts: Number of symbols of every class and source.
        folder: Folder to fill.
        title: Name of the data set.

    Returns:
        Sheets by class and source.

    Raises:
        OSError: A file cannot be written.
    """
    sheets = arranged_sheets(crops, counts)
    (folder / FOLDER).mkdir(parents=True)
    files = []
    for number, sheet in enumerate(sheets):
        group = filter(None, (sheet.class_name, sheet.source))
        files.append(f"{FOLDER}/{number:03}-{_NOT_IN_NAMES.sub('_', '-'.join(group))[:80]}.png")
        _write_picture(sheet, folder / files[-1])
    order = "what <code>omr lint</code> found, then its"
    text = sheet_page(sheets, files, title=title, order=order)
    (folder / INDEX).write_text(text, encoding="utf-8")
    return sheets


def write_page(
    crops: Iterable[Crop], counts: Counter[Group], file: Path, *, title: str, n_images: int
) -> list[Sheet]:
    """Write a page that contains the crops.

    Args:
        crops: Crops in any order.
        counts: Number of symbols of every class and source.
        file: HTML file to write.
        title: Name of the data set.
        n_images: Number of images of the data set.

    Returns:
        Sheets by class and source.

    Raises:
        OSError: The file cannot be written.
    """
    sheets = arranged_sheets(crops, counts)
    shown = {(sheet.class_name, sheet.source) for sheet in sheets}
    paths = {crop.crop.symbol.image.path for sheet in sheets for crop in sheet.crops}
    of_all = (
        f"Only symbols from {len(paths):,} of {n_images:,} images are shown; "
        if len(paths) < n_images
        else ""
    )
    remark = (
        f"{of_all}<code>omr sheet</code> draws more symbols{' from all images' if of_all else ''}, "
        "and shows what <code>omr lint</code> finds."
    )
    absent = {group: n for group, n in sorted(counts.items()) if group not in shown}
    text = sheet_page(sheets, None, title=title, order="its", remark=remark, absent=absent)
    file.write_text(text, encoding="utf-8")
    return sheets


def _write_picture(sheet: Sheet, file: Path) -> None:
    canvas = np.full((sheet.height, sheet.width, 3), 255, np.uint8)
    for crop in sheet.crops:
        rows, columns = slice(crop.y, crop.y + crop.height), slice(crop.x, crop.x + crop.width)
        canvas[rows, columns] = crop.crop.pixels
    images.write(canvas, file)
