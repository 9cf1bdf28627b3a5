"""``omr engrave``."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from class_maps import ConfigError
from omr.console import note, print_json, progress, say, table
from omr.options import AsJson, Workers, n_processes


def engrave(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    pages: Annotated[int, typer.Option(help="How many.")] = 100,
    scores: Annotated[
        str,
        typer.Option(
            help="generated: music made up; chorales: Bach's, out of music21; or a file or folder "
            "of MusicXML, MXL, MEI or Humdrum."
        ),
    ] = "generated",
    style: Annotated[
        Literal["plain", "decorated", "mixed"],
        typer.Option(
            help="plain; decorated: articulation, ornaments, tuplets ... too; mixed: half."
        ),
    ] = "plain",
    size: Annotated[str, typer.Option(help="Width and height of a page in pixels.")] = "1960x2772",
    fonts: Annotated[
        str | None, typer.Option(help="Music fonts, by commas.", show_default="all five")
    ] = None,
    degrade: Annotated[
        Literal["none", "scan", "photo"],
        typer.Option(help="Make pages look scanned or photographed."),
    ] = "none",
    val: Annotated[float, typer.Option(help="Share of the pieces to hold out.")] = 0.0,
    holdout_font: Annotated[
        str | None, typer.Option(help="Font of the pages held out, and of no other.")
    ] = None,
    segmentation: Annotated[
        bool, typer.Option("--segmentation", help="Paint the categories of each page, too.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another one gives other pages.")] = 0,
    workers: Workers = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT, if omr made it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Engrave pages of music with exact labels, as a data set in DeepScoresV2's format.

    Page k depends on the seed and on k alone: more pages begin with the same ones. `omr convert`
    reads OUT, `omr show` draws its boxes, manifest.json counts its symbols.

    Example: omr engrave engraved --pages 200 --val 0.2 --holdout-font Petaluma
    """
    from converters.engraving import raster
    from converters.engraving.dataset import EngravingOptions
    from converters.engraving.dataset import engrave as run
    from converters.engraving.pages import PageOptions
    from converters.engraving.smufl import FONTS

    width, height = _size(size)
    options = EngravingOptions(
        pages=pages,
        page=PageOptions(
            seed=seed,
            width=width,
            height=height,
            style=style,
            degrade=degrade,
            engine=raster.fastest(),
            fonts=tuple(name.strip() for name in fonts.split(",")) if fonts else FONTS,
        ),
        scores=scores,
        holdout_font=holdout_font,
        val=val,
        segmentation=segmentation,
    )
    manifest = run(
        out,
        options,
        workers=n_processes(workers),
        force=force,
        track=lambda found, total: progress(found, "Engraving", total),
    )
    _show(manifest, out)
    if as_json:
        print_json(manifest)


def _size(text: str) -> tuple[int, int]:
    if not (found := re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)):
        raise ConfigError(f"--size must be WIDTHxHEIGHT in pixels, such as 1960x2772, got {text!r}")
    return int(found[1]), int(found[2])


def _show(manifest: dict[str, Any], out: Path) -> None:
    splits = manifest["splits"]
    table(
        f"Engraved to {out}",
        ("", "pages", "pieces", "symbols"),
        [(name, s["pages"], s["works"], s["symbols"]) for name, s in splits.items()],
    )
    counts = sorted(manifest["categories"].items(), key=lambda item: -item[1])
    table("Categories", ("category", "symbols"), [row for row in counts if row[1]])
    absent = sum(1 for _, n in counts if not n)
    say(f"{absent} other categories have no symbol; manifest.json names them")
    share = manifest["collisions"] / manifest["symbols"]
    say(f"symbols that lie on another: {manifest['collisions']} ({share:.2%})")
    for reason, n in manifest["rejected"].items():
        say(f"drawn anew: {n} for {reason}")
    for name, error in manifest["failures"].items():
        note(f"{name}: {error}")
    if (val := manifest["engraved"]["val"]) and "val" not in splits:
        note(f"too few pages to hold out {val:g} of them")
