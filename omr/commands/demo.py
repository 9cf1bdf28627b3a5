"""``omr demo``."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from omr.console import heading, print_json, say
from omr.demo.options import FEWEST_PAGES, PAGES, STEPS, DemoOptions
from omr.options import AsJson, Device


def demo(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Data set that omr convert reads, a few pages.", show_default="engraved pages"
        ),
    ] = None,
    pages: Annotated[
        int, typer.Option(help="Pages to engrave without --data.", min=FEWEST_PAGES)
    ] = PAGES,
    out: Annotated[Path, typer.Option(help="Folder to create.", file_okay=False)] = Path("demo"),
    classes: Annotated[str, typer.Option(help="Class map: a name or a .yaml file.")] = "harmony",
    joint: Annotated[
        bool,
        typer.Option(
            "--joint",
            help="Train on drawn shapes in COCO format as well, with separate heads for music and "
            "shapes.",
        ),
    ] = False,
    steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = STEPS,
    device: Device = "",
    seed: Annotated[int, typer.Option(help="Random seed of engraving and training.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT if omr demo created it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the whole pipeline once, from engraved or given pages to scores.

    Checks an installation in minutes and writes OUT/REPORT.md with the scores and the paths of all
    outputs. A useful model needs more pages and hours of training: see omr train.

    Example: omr demo --data ds2_sample --out demo
    """
    from omr.demo.pipeline import run_demo

    omr = context.find_root().command

    def run_command(arguments: Sequence[str]) -> None:
        heading(shlex.join(["omr", *arguments]))
        omr.main(list(arguments), standalone_mode=False)

    options = DemoOptions(
        out=out,
        data=data,
        pages=pages,
        classes=classes,
        joint=joint,
        steps=steps,
        device=device,
        seed=seed,
        force=force,
    )
    result = run_demo(options, run_command)
    heading(result.report.name)
    say(result.text)
    if as_json:
        print_json(result.to_json())
