"""``omr eval``."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from class_maps import ConfigError, with_nearest
from omr.console import note, print_json, progress, say, table
from omr.options import AsJson, Device, Trust

if TYPE_CHECKING:
    from converters.formats.yolo import YoloDataset
    from converters.images import Pixels
    from converters.page import Page
    from eval.reports.detection import ClassMetrics, DetectionReport, MeanMetrics

ALL = 10**6
"""More symbols than an image can have."""
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
    trust: Trust = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a report in OUT.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score a model on a data set with pycocotools.

    Example: omr eval run/weights/best.pt data --imgsz 640 --out score
    """
    from converters.files.overwriting import check_files
    from converters.formats.yolo import open_dataset
    from eval.metrics.coco import evaluate as score
    from eval.pictures.contact_sheet import compare
    from training.predict.detector import class_names, predict
    from training.predict.max_det import suggested_max_det

    _check_conf(conf)
    if out is not None:
        check_files(out / REPORT, out / SHEET, force=force)
    dataset = open_dataset(data)
    names = class_names(weights, trust=trust)
    _check_names(names, dataset.names)
    others = [name for name in names if name not in dataset.names]
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
        # Classes that the data does not have must not fill the limit.
        max_det=ALL if others else max_det,
        trust=trust,
    )
    predictions, left_out = [], 0
    for page in progress(found, "Predicting", total=len(truths)):
        kept = _of_data(page, names, dataset.names)
        left_out += len(page.labels) - len(kept.labels)
        predictions.append(_strongest(kept, max_det))
    report = score(truths, predictions, dataset.names)
    seen = _is_training_split(dataset, split)
    full = sum(len(page.labels) >= max_det for page in predictions)
    settings = {"imgsz": imgsz, "conf": conf, "max_det": max_det, "images_at_max_det": full}
    result = {"split": split, "is_training_split": seen, **settings}
    result |= {"classes_left_out": others, "predictions_left_out": left_out, **report.to_json()}
    _show(report, split=split, seen=seen)
    if others:
        say(f"{left_out} predictions left out, of {len(others)} classes that {data} does not have")
    say(f"{full} images filled the limit of {max_det} detections")
    if out is not None:
        sheet = compare(folder, truths, predictions, dataset.names)
        _save(out, json.dumps(result, indent=1), sheet)
    if as_json:
        print_json(result)


def _check_conf(conf: float) -> None:
    from eval.metrics.coco import MAX_CONF

    if conf > MAX_CONF:
        raise ConfigError(
            f"--conf {conf:g} would mislead: an average precision needs the weak candidates too; "
            f"use {MAX_CONF:g} or less"
        )


def _check_names(of_weights: Sequence[str], of_data: Sequence[str]) -> None:
    """Refuse weights that cannot find every class of the data, or not by its name."""
    if tuple(of_weights) == tuple(of_data):
        return
    problems = [
        f"twice in the {what}: {', '.join(twice)}"
        for what, names in (("weights", of_weights), ("data", of_data))
        if (twice := sorted(name for name, n in Counter(names).items() if n > 1))
    ]
    if unknown := set(of_data) - set(of_weights):
        problems.append(f"unknown to the weights: {with_nearest(sorted(unknown), of_weights)}")
    if problems:
        raise ConfigError(f"weights and data differ in their classes: {'; '.join(problems)}")


def _of_data(page: "Page", of_weights: Sequence[str], of_data: Sequence[str]) -> "Page":
    """Give predictions the data's labels, and leave out those of classes that it does not have."""
    if tuple(of_weights) == tuple(of_data):
        return page
    import numpy as np

    label_of = {name: label for label, name in enumerate(of_data)}
    new = np.array([label_of.get(name, -1) for name in of_weights], dtype=np.int64)
    labels = new[page.labels]
    return replace(page, labels=labels).only(labels >= 0)


def _strongest(page: "Page", most: int) -> "Page":
    """The first of a page's predictions, which are sorted by score."""
    return page if len(page.labels) <= most else page.only(slice(most))


def _is_training_split(dataset: "YoloDataset", split: str) -> bool:
    """Whether these images were trained on; small data sets use the same folder for val."""
    train = dataset.splits.get("train")
    return train is not None and dataset.splits[split].resolve() == train.resolve()


def _show(report: "DetectionReport", *, split: str, seen: bool) -> None:
    from eval.reports.detection import FREQUENT

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


def _figures(score: "ClassMetrics | MeanMetrics") -> list[str]:
    """Format what the table shows; a class without truth has no figure."""
    figures = (score.ap50, score.ap, score.recall50)
    return ["-" if figure is None else f"{figure:.3f}" for figure in figures]


def _save(out: Path, report: str, sheet: "Pixels") -> None:
    from converters import images

    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT).write_text(report + "\n", encoding="utf-8")
    images.write(sheet, out / SHEET)
    say(f"{REPORT}, {SHEET} -> {out}")
