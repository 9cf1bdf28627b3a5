"""The command ``omr show``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

import class_maps
from class_maps import ConfigError
from eval.html.number_format import counted
from omr.console import loading_torch, note, print_json, results, say
from omr.options import AsJson, Device, Trust, n_processes
from settings.published import DEFAULT_WEIGHTS, weights_path

if TYPE_CHECKING:
    from converters.find_page import FoundPage
    from omr.class_scores import ClassScores


def show(
    data: Annotated[
        Path, typer.Argument(help="Data set, before or after conversion by `omr convert`.")
    ],
    page: Annotated[
        str, typer.Option(help="Page: its number in the data set, or part of its image name.")
    ] = "1",
    split: Annotated[
        str | None,
        typer.Option(help="Split to choose the page from: train, val or test.", show_default="all"),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Class map to apply to a data set that has not been converted.",
            show_default="the data set's own categories",
        ),
    ] = None,
    annotation_set: Annotated[
        str | None,
        typer.Option(
            help="Annotation set to read.", show_default="as in the class map, or the first"
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Class to draw; can be repeated.", metavar="<name>", show_default="all classes"
        ),
    ] = None,
    names: Annotated[
        bool,
        typer.Option(help="Label each box with its class name, or with its number in the legend."),
    ] = True,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Scale factor of the image.",
            min=0.1,
            max=16,
            show_default="1 for pages, up to 4 for tiles",
        ),
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option(
            help="Class whose probability at every place is drawn as a heat map, with the frames "
            "of its labels.",
            metavar="<name>",
            show_default="none",
        ),
    ] = None,
    weights: Annotated[
        Path,
        typer.Option(
            help="Weights for --scores: a file, or harmony-tiny, which comes with omr.",
            parser=weights_path,
            metavar="<file or name>",
        ),
    ] = Path(DEFAULT_WEIGHTS),
    device: Device = "",
    trust: Trust = False,
    out: Annotated[
        Path | None, typer.Option(help="PNG file to write.", show_default="show-IMAGE.png")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw a page with the boxes and classes of its symbols.

    Each box is outlined just outside its edges, so that no part of a symbol is hidden. It is
    labelled with its class name or, where there is no room, with a number that the legend explains.

    Examples:
        omr show ds2_dense --page 2 --out page.png
        omr show data --only stem --only beam
        omr show data --page 3 --scores stem --weights run/weights/best.pt
    """
    if scores and only:
        raise ConfigError("--scores shows the labels of its class; drop --only")
    from converters.find_page import find_page
    from omr.page_picture import PictureOptions, check_out, draw_page

    if out:
        check_out(out, force=force)
    chosen = find_page(
        data,
        page,
        split=split,
        class_map=class_maps.load(classes) if classes else None,
        annotation_set=annotation_set,
        workers=n_processes(),
    )
    options = PictureOptions(only=only or (), scale=scale, names=names)
    target = out or Path(f"show-{chosen.path.stem}.png")
    drawn = None
    if scores:
        check_out(target, force=force, inputs=[chosen.path])
        drawn = _class_scores(chosen, scores, weights, device, trust=trust, as_json=as_json)
    result = draw_page(chosen, options, target, force=force, scores=drawn)
    for warning in (*chosen.warnings, *(drawn.remarks if drawn else ())):
        note(warning)
    _print_result(result, results(as_json=as_json))
    if as_json:
        print_json(result)


def _class_scores(
    chosen: "FoundPage", name: str, weights: Path, device: str, *, trust: bool, as_json: bool
) -> "ClassScores":
    """Compute the probability of a class at every place of a page."""
    from omr.class_scores import class_scores

    with loading_torch(as_json=as_json):
        import training  # noqa: F401  # imports torch
    return class_scores(weights, name, chosen, device=device, trust=trust)


def _print_result(result: dict[str, Any], to: Console) -> None:
    """Print the counts of symbols, and notes about problems that are easily overlooked."""
    from converters.names import count_of

    n, n_classes = result["symbols"], len(result["classes"])
    counts = f"symbols: {n}, classes: {n_classes}" if n else "no symbols on this page"
    if scores := result.get("scores"):
        labels = counted(n, "label", "labels")
        counts = f"{scores['class']}: probability at most {scores['highest']:.2f}, {labels}"
    say(f"{counts} -> {result['path']}", to=to)
    for key, problem in (
        ("repeated", "duplicate of another symbol of the same class"),
        ("beyond_the_page", "extends beyond the page"),
    ):
        if symbols := [f"{row['class']} {row['box_xyxy']}" for row in result[key]]:
            note(f"{problem}: {count_of(symbols, 'symbol')}")
    if n_without := result["without_text"]:
        note(
            f"{counted(n_without, 'box has', 'boxes have')} no text for lack of room; use a larger "
            "--scale to make room"
        )
