"""``omr eval``."""

import json
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from class_maps import ConfigError
from omr.console import note, print_json, progress, say, table
from omr.options import AsJson, Device

if TYPE_CHECKING:
    from converters.images import Pixels
    from converters.yolo import YoloDataset
    from eval.detection import ClassScore, DetectionReport, MeanScore

REPORT, SHEET = "report.json", "contact_sheet.png"


def evaluate(
    weights: Annotated[Path, typer.Argument(help="Model to score.", exists=True, dir_okay=False)],
    data: Annotated[Path, typer.Argument(help="Folder that omr convert wrote.", exists=True)],
    imgsz: Annotated[int, typer.Option(help="Side of the network input, pixels.", min=1)] = 640,
    batch: Annotated[int, typer.Option(help="Images a batch.", min=1)] = 16,
    device: Device = "",
    split: Annotated[str, typer.Option(help="Split to score.")] = "val",
    conf: Annotated[float, typer.Option(help="Lowest score kept; at most 0.001.", min=0)] = 0.001,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report and pictures.", file_okay=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a report in OUT.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score a model on a data set with pycocotools.

    Example: omr eval run/weights/best.pt data --imgsz 640 --out score
    """
    from converters.yolo import open_dataset
    from eval.detection import evaluate as score
    from eval.drawing import compare
    from training.density import suggested_max_det
    from training.predictor import class_names, predict

    _check_conf(conf)
    if out is not None and not force:
        _check_free(out)
    dataset = open_dataset(data)
    _check_names(class_names(weights), dataset.names)
    truths = list(dataset.pages(split))
    max_det = suggested_max_det(max(len(page.labels) for page in truths))
    folder = dataset.splits[split]
    found = predict(
        weights,
        [(folder / truth.image, truth.image) for truth in truths],
        imgsz=imgsz,
        batch=batch,
        device=device,
        score_thresh=conf,
        max_det=max_det,
    )
    predictions = list(progress(found, "Predicting", total=len(truths)))
    report = score(truths, predictions, dataset.names)
    seen = _is_training_split(dataset, split)
    full = sum(len(page.labels) >= max_det for page in predictions)
    settings = {"imgsz": imgsz, "conf": conf, "max_det": max_det, "images_at_max_det": full}
    result = {"split": split, "is_training_split": seen, **settings, **report.to_json()}
    _show(report, split=split, seen=seen)
    say(f"{full} images filled the limit of {max_det} detections")
    if out is not None:
        sheet = compare(folder, truths, predictions, dataset.names)
        _save(out, json.dumps(result, indent=1), sheet)
    if as_json:
        print_json(result)


def _check_conf(conf: float) -> None:
    from eval.detection import MAX_CONF

    if conf > MAX_CONF:
        raise ConfigError(
            f"--conf {conf:g} would mislead: an average precision needs the weak candidates too; "
            f"use {MAX_CONF:g} or less"
        )


def _check_free(out: Path) -> None:
    taken = [name for name in (REPORT, SHEET) if (out / name).exists()]
    if taken:
        raise ConfigError(f"{out} holds {', '.join(taken)}; pass --force to overwrite")


def _check_names(of_weights: Sequence[str], of_data: Sequence[str]) -> None:
    """Refuse weights whose labels mean something else than the data's."""
    if tuple(of_weights) == tuple(of_data):
        return
    differences = [
        f"only in the {what}: {', '.join(sorted(only))}"
        for what, only in (
            ("weights", set(of_weights) - set(of_data)),
            ("data", set(of_data) - set(of_weights)),
        )
        if only
    ]
    if not differences:
        pairs = enumerate(zip_longest(of_weights, of_data, fillvalue="nothing"))
        i, (weight, datum) = next((i, pair) for i, pair in pairs if len(set(pair)) == 2)
        differences = [f"label {i} is {weight} in the weights, {datum} in the data"]
    raise ConfigError(f"weights and data differ in their classes: {'; '.join(differences)}")


def _is_training_split(dataset: "YoloDataset", split: str) -> bool:
    """Whether these images were trained on; small data sets use the same folder for val."""
    train = dataset.splits.get("train")
    return train is not None and dataset.splits[split].resolve() == train.resolve()


def _show(report: "DetectionReport", *, split: str, seen: bool) -> None:
    from eval.detection import FREQUENT

    shown = [row for row in report.classes if row.n_truths or row.n_predictions]
    totals = report.n_truths, report.n_predictions
    table(
        f"{split}: {report.n_images} images",
        ("class", "truths", "predicted", "AP50", "AP50-95", "recall50"),
        [(row.name, row.n_truths, row.n_predictions, *_figures(row)) for row in shown],
        [
            ("macro mean", *totals, *_figures(report.macro)),
            (f"macro mean from {FREQUENT} truths", *totals, *_figures(report.frequent_macro)),
            ("instance-weighted mean", *totals, *_figures(report.instance_weighted)),
        ],
    )
    say("Macro: every class with truths counts the same. Instance-weighted: by its truths.")
    if absent := [row.name for row in report.classes if row not in shown]:
        say(f"neither there nor predicted: {', '.join(absent)}")
    if report.n_zero_area_truths:
        note(f"{report.n_zero_area_truths} truths have no area: none can be found")
    if seen:
        note(
            "these are the images of the training split: the figures say how well the model "
            "remembers, not how well it reads"
        )


def _figures(score: "ClassScore | MeanScore") -> list[str]:
    """Format what the table shows; a class without truth has no figure."""
    figures = (score.ap50, score.ap, score.recall50)
    return ["-" if figure is None else f"{figure:.3f}" for figure in figures]


def _save(out: Path, report: str, sheet: "Pixels") -> None:
    from converters import images

    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT).write_text(report + "\n", encoding="utf-8")
    images.write(sheet, out / SHEET)
    say(f"{REPORT}, {SHEET} -> {out}")
