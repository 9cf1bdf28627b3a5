"""``omr demo``."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from omr.console import heading, print_json, results, results_on_stderr, say
from omr.demo.options import FEWEST_PAGES, PAGES, STEPS, DemoOptions
from omr.options import CLASS_MAP, AsJson, Device


def demo(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Small data set (a few pages) in a format `omr convert` reads.",
            show_default="engraved pages",
        ),
    ] = None,
    pages: Annotated[
        int,
        typer.Option(help="Number of pages to engrave if --data is not given.", min=FEWEST_PAGES),
    ] = PAGES,
    out: Annotated[Path, typer.Option(help="Folder to create.", file_okay=False)] = Path("demo"),
    classes: Annotated[str, typer.Option(help=CLASS_MAP)] = "harmony",
    joint: Annotated[
        bool,
        typer.Option(
            "--joint",
            help="Also train on synthetic images of shapes in COCO format, with separate heads for "
            "music and shapes.",
        ),
    ] = False,
    steps: Annotated[int, typer.Option(help="Number of training steps.", min=1)] = STEPS,
    device: Device = "",
    seed: Annotated[int, typer.Option(help="Random seed for engraving and training.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the demo in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the whole pipeline on engraved pages or on your own pages, and report the scores.

    The demo takes minutes, so it is a quick check of an installation. It writes REPORT.md, with the
    scores, the classes to work on and the paths of all outputs, to --out. A useful model needs more
    pages, and hours of training: see `omr train`.

    Examples:
        omr demo
        omr demo --data ds2_sample --out demo
    """
    from omr.demo.pipeline import run_demo

    omr = context.find_root().command

    def run_command(arguments: Sequence[str]) -> None:
        heading(shlex.join(["omr", *arguments]))
        with results_on_stderr():
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
    for line in result.lines:
        say(line, to=results(as_json=as_json))
    if as_json:
        print_json(result.to_json())
