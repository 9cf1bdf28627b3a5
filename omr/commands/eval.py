"""``omr eval``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from class_maps import ConfigError
from omr.console import loading_torch, note, print_json, progress, results, say_written
from omr.options import AsJson, Device, Trust
from omr.scoring_summary import print_summary
from omr.settings_options import given_parameters
from settings.published import DEFAULT_WEIGHTS, weights_path
from settings.training import MAX_IMGSZ

OF_WEIGHTS = "imgsz", "batch", "device", "conf", "trust"
"""Options without effect on predictions of other tools."""


def evaluate(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            help="Weights: a file of a training, an .onnx or .tflite file, or "
            f"{DEFAULT_WEIGHTS}, which comes with omr. Predictions: the output of `omr predict` in "
            "any format, a JSON file of COCO results, or a folder of YOLO files with confidences.",
            parser=weights_path,
            metavar="WEIGHTS|PREDICTIONS",
        ),
    ],
    data: Annotated[Path, typer.Argument(help="Data set written by `omr convert`.", exists=True)],
    unit: Annotated[
        Literal["page", "tile"] | None,
        typer.Option(
            help="Image to score: page (tiles are put together, and their symbols merged) or tile.",
            show_default="page, if the positions of all tiles are known",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to score: train, val or test.")] = "val",
    imgsz: Annotated[
        int | None,
        typer.Option(
            help="Side of the network input in pixels: of tiles in which pages are read, or the "
            "longer side of resized images.",
            min=1,
            max=MAX_IMGSZ,
            show_default="as in training",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images or tiles per forward pass.", min=1)] = 16,
    device: Device = "",
    conf: Annotated[
        float,
        typer.Option(
            help="Confidence threshold; average precision also needs low-confidence predictions.",
            metavar="<float> [0<=x<=0.001]",
        ),
    ] = 0.001,
    threshold: Annotated[
        float,
        typer.Option(
            help="Confidence threshold at which precision, recall and F1 are reported, beside the "
            "best threshold of each class.",
            min=0,
            max=1,
        ),
    ] = 0.25,
    backend: Annotated[
        Literal["hotcoco", "pycocotools"],
        typer.Option(
            help="Evaluator that computes the AP: hotcoco, or pycocotools, the reference, which "
            "takes many times as long and gives the same numbers.",
        ),
    ] = "hotcoco",
    trust: Trust = False,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="COCO annotation file that the ids in a file of COCO results refer to.",
            exists=True,
            dir_okay=False,
            metavar="<file>",
            show_default="annotations/instances_SPLIT.json in DATA, if it exists",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report (report.html, report.md and report.json), a contact sheet, "
            "and the symbols that `omr compare` reads.",
            file_okay=False,
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write the metrics to as TensorBoard logs, such as that of the run.",
            file_okay=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing report in --out.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score a model, or predictions of any tool: COCO average precision per class.

    Examples:
        omr eval run/weights/best.pt data --out metrics
        omr eval run/weights/best.pt data --split train --unit tile --json
        omr eval results.json data
    """
    from omr.scoring.prediction_formats import are_predictions
    from omr.scoring.report_files import FILES
    from omr.scoring.report_scalars import write_scalars
    from omr.scoring.score import MetricOptions, score_model, score_predictions

    metrics = MetricOptions(threshold=threshold, backend=backend)
    if tensorboard is not None:
        with loading_torch(as_json=as_json):
            from training.engine.tensorboard import check_tensorboard

        check_tensorboard()
    if are_predictions(source):
        _check_unused(context)
        result = score_predictions(
            source,
            data,
            unit=unit,
            split=split,
            annotations=annotations,
            metrics=metrics,
            out=out,
            force=force,
        )
    else:
        with loading_torch(as_json=as_json):
            import omr.scoring.model_predictions  # noqa: F401

        result = score_model(
            source,
            data,
            unit=unit,
            split=split,
            imgsz=imgsz,
            batch=batch,
            device=device,
            conf=conf,
            metrics=metrics,
            out=out,
            trust=trust,
            force=force,
            track=lambda pages, total: progress(pages, "Predicting", total),
        )
    for remark in (*result.skipped_files, *result.remarks):
        note(remark)
    print_summary(result, to=results(as_json=as_json))
    if out is not None:
        say_written(out, *FILES)
    if tensorboard is not None:
        write_scalars(tensorboard, result)
        say_written(tensorboard, "TensorBoard logs")
    if as_json:
        print_json(result.to_json())


def _check_unused(context: typer.Context) -> None:
    """Check that no option was given that only applies to weights.

    Raises:
        ConfigError: An option has no effect on predictions.
    """
    given = [name for name in given_parameters(context) if name in OF_WEIGHTS]
    if given:
        raise ConfigError("only for weights, not for predictions; drop it", option=f"--{given[0]}")
