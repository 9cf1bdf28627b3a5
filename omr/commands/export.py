"""``omr export``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from class_maps import ConfigError
from omr.console import print_json, say
from omr.options import AsJson, Trust

SUFFIXES = {"onnx": ".onnx", "ultralytics": ".pt"}
"""Of the files that are written, for each format."""


def export(
    weights: Annotated[Path, typer.Argument(help="Model to write.", exists=True, dir_okay=False)],
    format_: Annotated[
        Literal["onnx", "ultralytics"],
        typer.Option("--format", help="For other runtimes, or for YOLO(FILE) of Ultralytics."),
    ],
    out: Annotated[Path, typer.Option(help="File to write.", dir_okay=False)],
    imgsz: Annotated[
        int | None,
        typer.Option(help="Side of the input, pixels; onnx only.", min=32, show_default="trained"),
    ] = None,
    trust: Trust = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a model for other programs.

    Example: omr export run/weights/best.pt --format ultralytics --out model.pt
    """
    from converters.files.overwriting import check_files
    from training.export.onnx import export_onnx
    from training.models.checkpoints import load_weights
    from training.models.safe_pickle import write_pickle

    if out.suffix != SUFFIXES[format_]:
        raise ConfigError(f"--out {out}: must end with {SUFFIXES[format_]} for {format_}")
    check_files(out, force=force, inputs=[weights])
    if out.exists() and out.with_suffix(".safetensors").exists():
        raise ConfigError(f"{out}: holds weights of a run; choose another file")
    model = load_weights(weights, trust=trust)
    side = imgsz or int(model.args.get("imgsz", 640))
    coarsest = int(model.stride.max())
    if side % coarsest:
        larger = -(-side // coarsest) * coarsest
        raise ConfigError(f"imgsz ({side}): must be a multiple of {coarsest}; use {larger}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if format_ == "onnx":
            export_onnx(model, out, imgsz=side)
        else:
            write_pickle(model, out)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror or error}") from error
    say(f"{len(model.names)} classes -> {out}")
    if as_json:
        print_json({"out": str(out), "format": format_, "classes": list(model.names.values())})
