"""The command ``omr engrave``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from class_maps import ConfigError
from omr.console import note, print_json, progress, results, say
from omr.engraving_summary import print_summary
from omr.options import AsJson, Workers, n_processes

if TYPE_CHECKING:
    from converters.engraving.balance import Balance


def engrave(
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    pages: Annotated[int, typer.Option(help="Number of pages to engrave.")] = 100,
    scores: Annotated[
        str,
        typer.Option(
            help="Music to engrave: generated (composed by omr), chorales (by Bach, from music21), "
            "or a MusicXML, MXL, MEI or Humdrum file or a folder of such files."
        ),
    ] = "generated",
    transpose: Annotated[
        bool,
        typer.Option(
            "--transpose",
            help="Transpose your own scores at random, to keys with at most six sharps or flats.",
        ),
    ] = False,
    style: Annotated[
        Literal["plain", "decorated", "mixed"],
        typer.Option(
            help="Symbols to use: plain (common symbols), decorated (also articulations, "
            "ornaments, tuplets and other rarer symbols) or mixed (about half of the pages "
            "decorated)."
        ),
    ] = "plain",
    balance: Annotated[
        int | None,
        typer.Option(
            help="Least number of symbols of every class per 100 pages: half of the pages show "
            "exercises with rare symbols. Not with --scores."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Class map for --balance: the name of a built-in one or a YAML file.",
            show_default="harmony",
        ),
    ] = None,
    size: Annotated[str, typer.Option(help="Page size in pixels, as WIDTHxHEIGHT.")] = "1960x2772",
    fonts: Annotated[
        str | None,
        typer.Option(
            help="Music fonts, comma-separated: Bravura, Gootville, Leipzig, Leland, Petaluma.",
            show_default="all five",
        ),
    ] = None,
    degrade: Annotated[
        Literal["none", "scan", "photo", "fax", "worn", "mixed"],
        typer.Option(
            help="Degradation: none, scan, photo, fax, worn (a scan of an old print) or mixed "
            "(a fifth of the pages clean, the others of all kinds)."
        ),
    ] = "none",
    val: Annotated[
        float, typer.Option(help="Fraction of the pieces to hold out for validation.")
    ] = 0.0,
    holdout_font: Annotated[
        str | None, typer.Option(help="Music font to use for all held-out pages and no others.")
    ] = None,
    segmentation: Annotated[
        bool,
        typer.Option(
            "--segmentation", help="Also write a semantic segmentation mask for each page."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    workers: Workers = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT if omr wrote all files in it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Engrave pages of music with exact labels, as a data set in the DeepScoresV2 format.

    With the same seed and otherwise the same options, `--pages 200` starts with the pages of
    `--pages 100`. `omr convert` reads OUT, `omr show` draws its pages with their labels, and
    OUT/manifest.json lists the number of symbols per category.

    Examples:
        omr engrave engraved --pages 200 --val 0.2 --holdout-font Petaluma
        omr engrave chorales --scores chorales --degrade scan
    """
    from converters.engraving import dataset, raster, smufl
    from converters.engraving.pages import PageOptions

    width, height = _size(size)
    rasteriser = raster.installed_rasteriser()
    options = dataset.EngravingOptions(
        pages=pages,
        page=PageOptions(
            seed=seed,
            width=width,
            height=height,
            style=style,
            transpose=transpose,
            degrade=degrade,
            balance=_balance(balance, classes),
            rasteriser=rasteriser,
            fonts=tuple(name.strip() for name in fonts.split(",")) if fonts else smufl.FONTS,
        ),
        scores=scores,
        holdout_font=holdout_font,
        val=val,
        segmentation=segmentation,
    )
    if rasteriser == "numpy":
        note(raster.FALLBACK_NOTE)
    manifest = dataset.engrave(
        out,
        options,
        workers=n_processes(workers),
        force=force,
        track=lambda written, total: progress(written, "Engraving", total),
        say=say,
    )
    print_summary(manifest, out, to=results(as_json=as_json))
    if as_json:
        print_json(manifest)


def _balance(least: int | None, classes: str | None) -> "Balance | None":
    from converters.engraving.balance import Balance

    if least is None:
        if classes is not None:
            reason = "applies to --balance only; set --balance too"
            raise ConfigError(reason, option="--classes", value=classes)
        return None
    return Balance(per_100_pages=least, classes=classes or "harmony")


def _size(text: str) -> tuple[int, int]:
    if not (match := re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)):
        reason = "malformed; expected WIDTHxHEIGHT in pixels, e.g. 1960x2772"
        raise ConfigError(reason, option="--size", value=text)
    return int(match[1]), int(match[2])
