"""The command ``omr engrave``."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from class_maps import ConfigError
from eval.html.number_format import counted
from omr.console import note, print_json, progress, results, say, table
from omr.options import AsJson, Workers, n_processes

N_CHARACTERS = 5
"""Number of missing characters to print."""
N_FILES = 20
"""Number of unusable files to print."""


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
    size: Annotated[str, typer.Option(help="Page size in pixels, as WIDTHxHEIGHT.")] = "1960x2772",
    fonts: Annotated[
        str | None,
        typer.Option(
            help="Music fonts, comma-separated: Bravura, Gootville, Leipzig, Leland, Petaluma.",
            show_default="all five",
        ),
    ] = None,
    degrade: Annotated[
        Literal["none", "scan", "photo"],
        typer.Option(help="Degradation that imitates a scan or a photo."),
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
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if omr created it.")] = False,
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
    )
    _show(manifest, out, results(as_json=as_json))
    if as_json:
        print_json(manifest)


def _size(text: str) -> tuple[int, int]:
    if not (match := re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)):
        reason = "malformed; expected WIDTHxHEIGHT in pixels, e.g. 1960x2772"
        raise ConfigError(reason, option="--size", value=text)
    return int(match[1]), int(match[2])


def _show(manifest: dict[str, Any], out: Path, to: Console) -> None:
    splits = manifest["splits"]
    table(
        f"Engraved to {out}",
        ("", "pages", "pieces", "symbols"),
        [(name, s["pages"], s["works"], s["symbols"]) for name, s in splits.items()],
        to=to,
    )
    counts = sorted(manifest["categories"].items(), key=lambda item: -item[1])
    table("Categories", ("category", "symbols"), [row for row in counts if row[1]], to=to)
    absent = counted(sum(not n for _, n in counts), "category does", "categories do")
    say(f"{absent} not occur; manifest.json lists them", to=to)
    fraction = manifest["collisions"] / manifest["symbols"]
    say(f"overlapping symbols: {manifest['collisions']} ({fraction:.2%})", to=to)
    _show_missing(manifest["characters_not_drawn"])
    for reason, n in manifest["rejected"].items():
        say(f"re-drawn {n} {'time' if n == 1 else 'times'}: {reason}", to=to)
    _show_unused(manifest, to)
    if (val := manifest["engraved"]["val"]) and "val" not in splits:
        note(f"--val {val:g}: too few pages to hold any out; all pages are in the training split")


def _show_missing(characters: dict[str, int]) -> None:
    if not characters:
        return
    names = [f"{name} ({n})" for name, n in characters.items()]
    more = f" and {len(names) - N_CHARACTERS} more" if len(names) > N_CHARACTERS else ""
    note(
        "characters that the text typeface lacks, and that are not drawn: "
        f"{', '.join(names[:N_CHARACTERS])}{more}; manifest.json lists them"
    )


def _show_unused(manifest: dict[str, Any], to: Console) -> None:
    """Report the files from which no page is engraved."""
    failures = manifest["failures"]
    for name, error in list(failures.items())[:N_FILES]:
        note(f"{name}: {error}")
    if len(failures) > N_FILES:
        more = counted(len(failures) - N_FILES, "more file", "more files")
        note(f"{more} could not be used; manifest.json lists them")
    if warnings := manifest["warnings"]:
        name, (first, *_) = next(iter(warnings.items()))
        note(
            f"scores that verovio reads with warnings: {len(warnings)}, e.g. {name}: {first}; "
            "manifest.json lists them"
        )
    if unused := manifest["not_drawn"]:
        n_used = len(manifest["works"])
        say(
            f"scores not drawn: {len(unused)} (manifest.json lists them); pieces drawn: {n_used}",
            to=to,
        )
    if others := manifest["other_files"]:
        say(f"files of other types: {', '.join(f'{s} ({n})' for s, n in others.items())}", to=to)
