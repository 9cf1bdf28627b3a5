"""``omr export``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.html.number_format import counted
from omr.console import loading_torch, note, print_json, say, say_written
from omr.options import AsJson, Trust, Weights
from settings.activations import counts_text
from settings.training import MAX_IMGSZ


def export(
    weights: Weights,
    export_format: Annotated[
        Literal["onnx", "safetensors", "ultralytics"],
        typer.Option(
            "--format",
            help="Output format: onnx, ultralytics (a checkpoint that Ultralytics' YOLO(FILE) "
            "loads) or safetensors (weights of omr in half precision, to share).",
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write.", dir_okay=False)],
    imgsz: Annotated[
        int | None,
        typer.Option(
            help="Side length of the network input in pixels; onnx only.",
            min=32,
            max=MAX_IMGSZ,
            show_default="as in training",
        ),
    ] = None,
    trust: Trust = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Export a model as ONNX, as a checkpoint for plain Ultralytics, or in half precision.

    Examples:
        omr export run/weights/best.pt --format ultralytics --out model.pt
        omr export run/weights/best.pt --format onnx --out model.onnx
    """
    with loading_torch(as_json=as_json):
        from omr.exporting import export_model

    result = export_model(weights, out, export_format, imgsz=imgsz, trust=trust, force=force)
    say_written(out, counted(len(result.names), "class", "classes"))
    say(f"activations: {counts_text(result.activations)}")
    trained_at = result.imgsz_of_training
    if export_format == "onnx" and trained_at not in (None, result.imgsz):
        note(f"imgsz {result.imgsz} px ({trained_at} px in training)")
    if as_json:
        print_json(
            {
                "out": str(out),
                "format": export_format,
                "classes": list(result.names),
                "activations": result.activations,
            }
        )
