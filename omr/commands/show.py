"""``omr show``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import class_maps
from class_maps import ConfigError, InputError, with_nearest
from omr.console import note, print_json, say
from omr.options import AsJson, n_processes

if TYPE_CHECKING:
    from converters.find_page import FoundPage
    from converters.page import Page
    from eval.pictures.annotated_page import AnnotatedPage

ENLARGE_TO_PX = 1600
"""Small images are enlarged, by a whole number, until a side is nearly this long."""
MOST_TIMES = 4
MOST_PIXELS = 200_000_000
"""Of a picture: more fill the memory, and no viewer opens them."""
ROUNDING_PX = 0.01
"""Label files hold six digits of a share of the image."""


def show(
    data: Annotated[
        Path, typer.Argument(help="What `omr convert` reads, or a YOLO folder that it wrote.")
    ],
    page: Annotated[
        str, typer.Option(help="Number in the order of the data set, or part of an image's name.")
    ] = "1",
    split: Annotated[str | None, typer.Option(help="Count pages of this split only.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Class map for what is not converted yet.", show_default="all, by their own names"
        ),
    ] = None,
    annotation_set: Annotated[
        str | None, typer.Option(help="Show this set instead of the first, or the class map's.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Draw this class alone; may be repeated.")
    ] = None,
    names: Annotated[bool, typer.Option(help="Write names or numbers at the boxes.")] = True,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Enlarge by this.", min=0.1, max=16, show_default="1 for pages, more for tiles"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write.", show_default="show-IMAGE.png")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw a page with its boxes and their classes, to see what is missing, twice or shifted.

    A frame lies around each box and hides nothing of it. The class stands beside it: by its name
    or, where there is no room, by its number in the legend below the page.

    Example: omr show ds2_dense --page 2 --out page.png
    """
    from converters import images
    from converters.find_page import find_page
    from eval.pictures.annotated_page import annotated_page

    chosen = find_page(
        data,
        page,
        split=split,
        class_map=class_maps.load(classes) if classes else None,
        annotation_set=annotation_set,
        workers=n_processes(),
    )
    for warning in chosen.warnings:
        note(warning)
    target = out or Path(f"show-{chosen.path.stem}.png")
    _check_target(target, chosen.path, force=force)
    shown = _only(chosen.page, chosen.names, only)
    times = scale or _scale_of(shown)
    _check_image(chosen, times)
    caption = (
        f"{shown.image}    {chosen.split}: {chosen.number} of {chosen.n_pages}    scale {times:g}"
    )
    picture = annotated_page(
        images.read(chosen.path), shown, chosen.names, scale=times, texts=names, caption=caption
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    images.write(picture.pixels, target)
    result = _result(chosen, shown, picture, target) | {"scale": times}
    _say(result)
    if as_json:
        print_json(result)


def _only(page: "Page", names: Sequence[str], only: Sequence[str] | None) -> "Page":
    """The page with the symbols of some classes."""
    import numpy as np

    if not only:
        return page
    if unknown := set(only) - set(names):
        raise ConfigError(f"--only: no class is called {with_nearest(unknown, names)}")
    labels = [names.index(name) for name in only]
    return page.only(np.isin(page.labels, labels))


def _scale_of(page: "Page") -> float:
    return float(max(1, min(MOST_TIMES, ENLARGE_TO_PX // max(page.width, page.height))))


def _check_image(chosen: "FoundPage", scale: float) -> None:
    """The image is there, of the size that the boxes assume, and not too large to draw."""
    from converters import images

    page = chosen.page
    if not chosen.path.is_file():
        raise InputError("no such image; there is nothing to draw the boxes on", path=chosen.path)
    images.check_size(chosen.path, page.width, page.height)
    width, height = round(page.width * scale), round(page.height * scale)
    if width * height > MOST_PIXELS:
        raise ConfigError(
            f"--scale {scale:g} makes a picture of {width} x {height} px; choose a smaller one"
        )


def _check_target(target: Path, image: Path, *, force: bool) -> None:
    from converters.files.overwriting import check_files

    if target.suffix.lower() != ".png":
        raise ConfigError(f"--out must end in .png, got {target}")
    check_files(target, force=force, inputs=[image])


def _result(
    chosen: "FoundPage", page: "Page", picture: "AnnotatedPage", target: Path
) -> dict[str, Any]:
    """What was drawn, in figures; places are pixels of the page."""
    import numpy as np

    from converters.tally import count

    low, high = page.boxes_xyxy[:, :2], page.boxes_xyxy[:, 2:]
    size = [page.width, page.height]
    beyond = ((low < -ROUNDING_PX) | (high - size > ROUNDING_PX)).any(axis=1)
    return {
        "path": str(target),
        "image": str(chosen.path),
        "split": chosen.split,
        "page": chosen.number,
        "width": page.width,
        "height": page.height,
        "symbols": len(page.labels),
        "classes": count(page.labels, chosen.names),
        "repeated": _described(page, chosen.names, picture.repeated),
        "beyond_the_page": _described(page, chosen.names, np.flatnonzero(beyond).tolist()),
        "without_text": picture.n_unlabelled,
    }


def _described(page: "Page", names: Sequence[str], rows: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {"class": names[page.labels[row]], "box_xyxy": page.boxes_xyxy[row].tolist()}
        for row in rows
    ]


def _say(result: dict[str, Any]) -> None:
    """What was drawn, and what of it should not be overlooked."""
    from converters.names import several

    n, n_classes = result["symbols"], len(result["classes"])
    what = f"symbols: {n}, classes: {n_classes}" if n else "no symbols on this page"
    say(f"{what} -> {result['path']}")
    for key, text in (
        ("repeated", "on the place of another of the class"),
        ("beyond_the_page", "reaching beyond the page"),
    ):
        if found := [f"{row['class']} {row['box_xyxy']}" for row in result[key]]:
            note(f"{text}: {several(found, 'symbol')}")
    if result["without_text"]:
        note(
            f"no room for the text of {result['without_text']} boxes, which have only their frame; "
            "a larger --scale makes room"
        )
