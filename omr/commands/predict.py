"""``omr predict``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from class_maps import OmrError, short_list
from converters.names import MAX_PIXELS
from eval.html.number_format import counted
from omr.console import loading_torch, print_json, progress, results, say, say_written
from omr.options import FORMATS, AsJson, Device, Trust, words_of
from omr.prediction_summary import print_summary
from reading.options import AUTO, DEFAULT_CONF, DEFAULT_DPI, PAGES_AHEAD, ImageOptions
from settings.published import DEFAULT_WEIGHTS, weights_path

MOST_FAILURES = 3
"""Maximum number of pages that could not be read in the message."""


def predict(
    source: Annotated[
        list[Path],
        typer.Argument(help="Pages: image or PDF files, or folders of them."),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    weights: Annotated[
        Path,
        typer.Option(
            help="Weights of a training, an .onnx file, or weights that come with omr.",
            parser=weights_path,
            metavar="<file or name>",
        ),
    ] = Path(DEFAULT_WEIGHTS),
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help=FORMATS, metavar="<name>", show_default="coco"),
    ] = None,
    overlay: Annotated[
        Literal["html", "png", "none"],
        typer.Option(
            help="Pages with their symbols: html (one file to browse per score), png (a picture "
            "per page) or none."
        ),
    ] = "html",
    conf: Annotated[
        float | None,
        typer.Option(
            help="Confidence threshold of symbols.",
            min=0,
            max=1,
            show_default=f"as chosen in training, otherwise {DEFAULT_CONF}",
        ),
    ] = None,
    staff_space: Annotated[
        str,
        typer.Option(
            help="Staff space of the pages in pixels; auto measures it on each page, none reads "
            "pages in their own size.",
            metavar="<px, auto or none>",
        ),
    ] = AUTO,
    scale: Annotated[
        str | None,
        typer.Option(
            help="Staff space to which pages are scaled, as staff-space:PX.",
            show_default="as in training",
        ),
    ] = None,
    dpi: Annotated[
        int, typer.Option(help="Resolution in which PDF pages are drawn.", min=10, max=2400)
    ] = DEFAULT_DPI,
    max_pixels: Annotated[
        int, typer.Option(help="Maximum number of pixels of a page.", min=1)
    ] = MAX_PIXELS,
    batch: Annotated[
        int, typer.Option(help="Tiles per forward pass. Affects last digits only.", min=1)
    ] = 16,
    workers: Annotated[
        int,
        typer.Option(help="Number of threads that read images. Does not affect the output.", min=1),
    ] = PAGES_AHEAD,
    device: Device = "",
    trust: Trust = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT if omr wrote all files in it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find the symbols on pages of any size, and show them on the pages.

    Pages are scaled to the staff space of the training, cut into overlapping tiles, and put
    together again.

    Examples:
        omr predict page.png out
        omr predict scans score.pdf out --weights model.onnx --format coco,mung
    """
    from omr.prediction import PredictOptions, predict_pages

    if weights.suffix != ".onnx":
        with loading_torch(as_json=as_json):
            import training.predict.tile_network  # noqa: F401

    names = words_of(formats, "coco")
    result = predict_pages(
        source,
        out,
        PredictOptions(
            weights=weights,
            formats=names,
            overlay=overlay,
            conf=conf,
            staff_space=staff_space,
            scale=scale,
            images=ImageOptions(dpi=dpi, max_pixels=max_pixels),
        ),
        batch=batch,
        threads=workers,
        device=device,
        trust=trust,
        force=force,
        track=lambda readings, total: progress(readings, "Reading", total),
        say=say,
    )
    print_summary(result, to=results(as_json=as_json))
    say_written(out, *names, *([] if overlay == "none" else [f"overlay ({overlay})"]))
    if as_json:
        print_json(result.to_json())
    if result.failures:
        n = counted(len(result.failures), "page", "pages")
        raise OmrError(f"{n} could not be read: {short_list(result.failures, MOST_FAILURES)}")
