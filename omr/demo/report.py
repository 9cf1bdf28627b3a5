"""Report of the demo in Markdown: scores, the classes to work on, and paths of all outputs."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.files.atomic_folder import MANIFEST
from eval.html.number_format import counted
from eval.reports.detection import FREQUENT
from eval.reports.evaluation_priorities import MEASURE_NAMES
from omr.demo.folder import DemoFolder
from omr.scoring.evaluation_folders import REPORT_FILE
from omr.scoring.report_files import CONTACT_SHEET_FILE, MARKDOWN_FILE, WEB_PAGE_FILE
from training.engine.validator import SOURCE_METRIC

MEANS = {
    "instance-weighted mean": "instance_weighted",
    f"macro mean, {FREQUENT}+ symbols": "frequent_macro",
    "macro mean": "macro",
}
"""Titles of the means, and their keys in the report of ``omr eval``."""


def read_score(folder: Path) -> dict[str, Any]:
    """Read the JSON report that ``omr eval --out FOLDER`` wrote."""
    score: dict[str, Any] = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
    return score


def report_text(
    folder: DemoFolder,
    interpretation: str,
    manifest: dict[str, Any],
    score: dict[str, Any],
    command_lines: Sequence[str],
) -> str:
    """Return the text of ``REPORT.md``.

    Args:
        folder: Folder of the demo.
        interpretation: Sentences that explain what the scores measure.
        manifest: Manifest of the converted pages.
        score: JSON report of ``omr eval`` on the pages.
        command_lines: Commands that were run.
    """
    web_page = f"{folder.score.name}/{WEB_PAGE_FILE}"
    lines = [
        "# omr demo",
        "",
        f"**{score['work_next']['headline']}**",
        "",
        f"Open [{web_page}]({web_page}) in a browser: it shows the scores of every class, what "
        "errors cost, and the pages with the most errors.",
        "",
        *_mean_lines(score),
        *_shapes_score_rows(folder),
        "",
        interpretation,
        "",
        *_priority_lines(score),
        *_epoch_lines(folder),
        *_output_lines(folder, manifest),
        "## Commands",
        "",
        *(f"    {line}" for line in command_lines),
    ]
    return "\n".join(lines) + "\n"


def closing_lines(folder: DemoFolder, score: dict[str, Any]) -> tuple[str, ...]:
    """Return what to print at the end: the scores, the class to work on, and the files to open.

    Args:
        folder: Folder of the demo.
        score: JSON report of ``omr eval`` on the pages.
    """
    units = counted(score["pages"], score["unit"], f"{score['unit']}s")
    means = ", ".join(f"{_ap50(score[key])} ({title})" for title, key in MEANS.items())
    return (
        f"AP50 on {units}: {means}",
        score["work_next"]["headline"],
        f"Next, open {folder.score / WEB_PAGE_FILE} in a browser; {folder.report} lists the other "
        "outputs and all commands",
    )


def _mean_lines(score: dict[str, Any]) -> list[str]:
    """Return the table of the means."""
    rows = [
        f"| {title} | {_ap50(score[key])} | {_interval(score[key])} |"
        for title, key in MEANS.items()
    ]
    units = counted(score["pages"], score["unit"], f"{score['unit']}s")
    return [f"| AP50 on {units} | | 95% interval |", "|---|---|---|", *rows]


def _ap50(mean: dict[str, Any]) -> str:
    return "no symbols to score" if mean["ap50"] is None else f"{mean['ap50']:.3f}"


def _interval(mean: dict[str, Any]) -> str:
    low, high = mean["ap50_low"], mean["ap50_high"]
    return "-" if low is None else f"{low:.3f} to {high:.3f}"


def _priority_lines(score: dict[str, Any]) -> list[str]:
    """Return the table of the classes to work on; none if no class stands out."""
    priorities = score["work_next"]["priorities"]
    measure = MEASURE_NAMES[score["work_next"]["measure"]]
    truths = {row["name"]: row["truths"] for row in score["classes"]}
    if not priorities:
        return []
    return [
        "## Classes to work on",
        "",
        f"| class | ground-truth symbols | {measure} | cause |",
        "|---|---|---|---|",
        *(
            f"| {one['name']} | {truths[one['name']]} | {one['value']:.3f} | {one['cause']} |"
            for one in priorities
        ),
        "",
    ]


def _output_lines(folder: DemoFolder, manifest: dict[str, Any]) -> list[str]:
    """Return the table of the outputs."""
    symbols = manifest["symbols"]
    return [
        "## Outputs",
        "",
        "| path | content |",
        "|---|---|",
        f"| {folder.data} | {counted(manifest['pages'], 'converted page', 'converted pages')}, cut "
        f"into {counted(manifest['images'], 'tile', 'tiles')}; {symbols['read']} symbols read, "
        f"{symbols['written']} written, {symbols['dropped']} dropped, as {MANIFEST} explains |",
        f"| {folder.run} | training run |",
        f"| {folder.weights} | weights, for `omr predict PAGE OUT --weights WEIGHTS` |",
        f"| {folder.score}/{WEB_PAGE_FILE} | scores as a web page |",
        f"| {folder.score}/{MARKDOWN_FILE} | its tables |",
        f"| {folder.score}/{REPORT_FILE} | the same for other programs |",
        f"| {folder.score}/{CONTACT_SHEET_FILE} | pictures of ground truth and predictions |",
        "",
    ]


def _shapes_score_rows(folder: DemoFolder) -> list[str]:
    """Return the row with the scores on the shapes; none without shapes."""
    if not folder.coco_score.is_dir():
        return []
    macro = read_score(folder.coco_score)["macro"]
    return [f"| drawn shapes, macro mean | {_ap50(macro)} | {_interval(macro)} |"]


def _epoch_lines(folder: DemoFolder) -> list[str]:
    """Return the table of validation metrics after each epoch; none without shapes."""
    if not folder.coco_score.is_dir():
        return []
    with (folder.run / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [SOURCE_METRIC.format(data.name) for data in (folder.data, folder.coco)]
    return [
        "## Epochs",
        "",
        "Validation after each epoch, mean AP50 of the classes of each data set:",
        "",
        "| epoch | music | shapes |",
        "|---|---|---|",
        *(f"| {row['epoch']} | {' | '.join(row[column] for column in columns)} |" for row in rows),
        "",
    ]
