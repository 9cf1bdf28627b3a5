"""Annotation files of formats with one file per page."""

from collections.abc import Iterable
from pathlib import Path

from class_maps import InputError
from converters.page import Page


def write_page(page: Page, folder: Path, suffix: str, text: Iterable[str]) -> None:
    """Write the annotation file of one page.

    Args:
        page: The page; subfolders of its image become subfolders of ``folder``.
        folder: Folder of the annotation files.
        suffix: Suffix that replaces the image's own, such as ``.xml``.
        text: Content of the file, in parts.

    Raises:
        InputError: The file exists already, because another image has the same name.
    """
    path = folder / page.image.with_suffix(suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.writelines(text)
    except FileExistsError:
        raise InputError(
            f"another image is written to {path.name} too, because their names differ only in "
            "suffix or letter case; rename one of them",
            path=Path(page.image),
        ) from None
