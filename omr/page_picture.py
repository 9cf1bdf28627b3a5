"""Picture of one page with its symbols, for ``omr show``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from class_maps import ConfigError, InputError, with_nearest
from converters import image_headers, images
from converters.files.atomic_files import output_files
from converters.files.overwriting import check_files
from converters.find_page import FoundPage
from converters.image_tars import is_image
from converters.page import Page
from converters.tally import count
from eval.pictures.annotated_page import AnnotatedPage, annotated_page

ENLARGED_SIDE_PX = 1600
"""Side up to which small images are enlarged by default, by a whole number."""
MAX_DEFAULT_SCALE = 4
MAX_PIXELS = 200_000_000
"""Maximum size of a picture; larger ones exceed the memory, and image viewers do not open them."""
ROUNDING_PX = 0.01
"""Distance beyond the page that is due to rounding, because label files have six decimals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureOptions:
    """Settings of the picture."""

    only: Sequence[str] = ()
    """Classes to draw; empty for all."""
    scale: float | None = None
    """Enlargement; None to choose it by the size of the image."""
    names: bool = True
    """Whether to write a class name or number next to each box."""


def check_out(out: Path, *, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Check that a picture can be written to a path.

    Args:
        out: PNG file to write.
        force: Whether to replace an existing file.
        inputs: Files that are never replaced because they are read.

    Raises:
        ConfigError: The path does not end in ``.png``, is one of the inputs, or exists and
            ``force`` is not set.
    """
    if out.suffix.lower() != ".png":
        raise ConfigError("expected a file name ending in .png", option="--out", value=out)
    check_files(out, force=force, inputs=inputs)


def draw_page(
    chosen: FoundPage, options: PictureOptions, out: Path, *, force: bool
) -> dict[str, Any]:
    """Draw a page with its symbols.

    Args:
        chosen: Page to draw.
        options: Settings of the picture.
        out: PNG file to write.
        force: Whether to replace an existing file.

    Returns:
        Description of the picture: its file, the page, counts of symbols, duplicates, symbols that
        extend beyond the page, and boxes without text; boxes are in pixels of the page.

    Raises:
        ConfigError: The file must not be written, the picture would be too large, or a class does
            not exist.
        InputError: The image is missing or does not have the size that its labels assume.
    """
    check_out(out, force=force, inputs=[chosen.path])
    page = _only(chosen.page, chosen.names, options.only)
    scale = options.scale or _default_scale(page)
    _check_image(chosen, scale)
    caption = (
        f"{page.image}    {chosen.split}: {chosen.number} of {chosen.n_pages}    scale {scale:g}"
    )
    with output_files(out, force=force) as (part,):
        pixels = images.read(chosen.path)
        picture = annotated_page(
            pixels, page, chosen.names, scale=scale, texts=options.names, caption=caption
        )
        images.write(picture.pixels, part)
    return _description(chosen, page, picture, out) | {"scale": scale}


def _only(page: Page, names: Sequence[str], only: Sequence[str]) -> Page:
    """Return the page with the symbols of some classes, or all symbols if no classes are given."""
    if not only:
        return page
    if unknown := set(only) - set(names):
        raise ConfigError(f"unknown class: {with_nearest(unknown, names)}", option="--only")
    return page.only(np.isin(page.labels, [names.index(name) for name in only]))


def _default_scale(page: Page) -> float:
    enlarged = ENLARGED_SIDE_PX // max(page.width, page.height)
    return float(max(1, min(MAX_DEFAULT_SCALE, enlarged)))


def _check_image(chosen: FoundPage, scale: float) -> None:
    """Check that the image exists, fits its labels, and is not too large to draw."""
    page = chosen.page
    if not is_image(chosen.path):
        raise InputError("no such image, so there is nothing to draw boxes on", path=chosen.path)
    image_headers.check_size(chosen.path, page.width, page.height)
    width, height = round(page.width * scale), round(page.height * scale)
    if width * height > MAX_PIXELS:
        raise ConfigError(
            f"the picture would have {width} x {height} px; choose a smaller scale",
            option="--scale",
            value=f"{scale:g}",
        )


def _description(
    chosen: FoundPage, page: Page, picture: AnnotatedPage, out: Path
) -> dict[str, Any]:
    xy_min, xy_max = page.boxes_xyxy[:, :2], page.boxes_xyxy[:, 2:]
    size = [page.width, page.height]
    is_beyond = ((xy_min < -ROUNDING_PX) | (xy_max - size > ROUNDING_PX)).any(axis=1)
    return {
        "path": str(out),
        "image": str(chosen.path),
        "split": chosen.split,
        "page": chosen.number,
        "width": page.width,
        "height": page.height,
        "symbols": len(page.labels),
        "classes": count(page.labels, chosen.names),
        "repeated": _symbols(page, chosen.names, picture.repeated),
        "beyond_the_page": _symbols(page, chosen.names, np.flatnonzero(is_beyond).tolist()),
        "without_text": picture.n_unlabelled,
    }


def _symbols(page: Page, names: Sequence[str], rows: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {"class": names[page.labels[row]], "box_xyxy": page.boxes_xyxy[row].tolist()}
        for row in rows
    ]
