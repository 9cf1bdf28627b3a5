"""``omr export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from class_maps import ConfigError
from eval.html.number_format import counted
from omr.console import loading_torch, note, print_json, say, say_written
from omr.options import AsJson, Trust, Weights
from settings.activations import counts_text
from settings.training import MAX_IMGSZ

if TYPE_CHECKING:
    from omr.exporting import ExportResult


def export(
    weights: Weights,
    export_format: Annotated[
        Literal["onnx", "tflite", "safetensors", "ultralytics"],
        typer.Option(
            "--format",
            help="Output format: onnx, tflite, ultralytics (a checkpoint that Ultralytics' "
            "YOLO(FILE) loads) or safetensors (weights of omr in half precision, to share).",
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write.", dir_okay=False)],
    imgsz: Annotated[
        int | None,
        typer.Option(
            help="Side length of the network input in pixels; onnx and tflite only.",
            min=32,
            max=MAX_IMGSZ,
            show_default="as in training",
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise weights and activations, as NPUs require.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Data set written by `omr convert`, whose training images determine the ranges of "
            "activations.",
            exists=True,
            show_default=False,
        ),
    ] = None,
    calibrate: Annotated[
        int, typer.Option(help="Number of these images.", metavar="<images>", min=1, max=10_000)
    ] = 100,
    decode: Annotated[
        Literal["outside", "inside"],
        typer.Option(
            help="Decoding of boxes: outside (OUT.json describes it), or inside the file, which "
            "loses most detections in int8."
        ),
    ] = "outside",
    trust: Trust = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Export a model as ONNX, TFLite, a checkpoint for plain Ultralytics, or in half precision.

    Examples:
        omr export run/weights/best.pt --format ultralytics --out model.pt
        omr export run/weights/best.pt --format onnx --out model.onnx
        omr export harmony-tiny --format tflite --int8 --data data --out model.tflite
    """
    _check_options(export_format, data, int8=int8, decode=decode)
    with loading_torch(as_json=as_json):
        from omr.exporting import Int8Options, export_model

    result = export_model(
        weights,
        out,
        export_format,
        imgsz=imgsz,
        int8=Int8Options(data=data, n_images=calibrate) if data else None,
        decode=decode,
        trust=trust,
        force=force,
    )
    say_written(out, counted(len(result.names), "class", "classes"))
    say(f"activations: {counts_text(result.activations)}")
    _print_notes(result, export_format)
    if int8 and decode == "inside":
        note("decoding in int8 loses most detections; use --decode outside, or compare omr eval")
    if as_json:
        print_json(
            {
                "out": str(out),
                "format": export_format,
                "classes": list(result.names),
                "activations": result.activations,
            }
        )


def _check_options(export_format: str, data: Path | None, *, int8: bool, decode: str) -> None:
    """Check the options of TFLite files.

    Raises:
        ConfigError: They do not fit together, or the format.
    """
    given = {"--int8": int8, "--data": data is not None, "--decode inside": decode == "inside"}
    if export_format != "tflite":
        if option := next((name for name, is_given in given.items() if is_given), None):
            raise ConfigError(f"{option}: for --format tflite only; drop it")
    elif int8 and data is None:
        raise ConfigError(
            "--int8: the ranges of activations are needed; give a data set like that of the "
            "training with --data"
        )
    elif data is not None and not int8:
        raise ConfigError("quantises nothing without --int8; add it", option="--data", value=data)


def _print_notes(result: "ExportResult", export_format: str) -> None:
    trained_at = result.imgsz_of_training
    if export_format in ("onnx", "tflite") and trained_at not in (None, result.imgsz):
        note(f"imgsz {result.imgsz} px ({trained_at} px in training)")
    if result.n_calibration_images:
        images = counted(result.n_calibration_images, "image", "images")
        note(f"ranges of activations from {images}")
    for difference in result.differences:
        note(f"calibration images: {difference}")
