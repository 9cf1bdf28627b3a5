"""Report of the demo in Markdown: scores, their interpretation, and paths of all outputs."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.files.atomic_folder import MANIFEST
from eval.html.number_format import counted
from eval.reports.detection import FREQUENT
from omr.demo.folder import DemoFolder
from omr.scoring.evaluation_folders import REPORT_FILE
from omr.scoring.report_files import CONTACT_SHEET_FILE, WEB_PAGE_FILE
from training.engine.validator import SOURCE_METRIC


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
    lines = [
        "# omr demo",
        "",
        interpretation,
        "",
        "| | |",
        "|---|---|",
        *_count_rows(manifest),
        *_score_rows(score),
        *_shapes_score_rows(folder),
        "",
        *_epoch_lines(folder),
        "| output | path |",
        "|---|---|",
        f"| converted data, with counts of all symbols | {folder.data}, {folder.data}/{MANIFEST} |",
        f"| training run, weights | {folder.run}, {folder.weights} |",
        f"| scores, what costs most, and the worst pages | {folder.score}/{WEB_PAGE_FILE} |",
        f"| the same for other programs | {folder.score}/{REPORT_FILE} |",
        f"| pictures of ground truth and predictions | {folder.score}/{CONTACT_SHEET_FILE} |",
        "",
        "Commands:",
        "",
        *(f"    {line}" for line in command_lines),
    ]
    return "\n".join(lines) + "\n"


def _count_rows(manifest: dict[str, Any]) -> list[str]:
    symbols = manifest["symbols"]
    return [
        f"| pages | {manifest['pages']}, cut into {counted(manifest['images'], 'tile', 'tiles')} |",
        f"| symbols | {symbols['read']} read, {symbols['written']} written, "
        f"{symbols['dropped']} dropped |",
    ]


def _score_rows(score: dict[str, Any]) -> list[str]:
    means = {
        "AP50, instance-weighted mean": "instance_weighted",
        "AP50, macro mean": "macro",
        f"AP50, macro mean of classes with {FREQUENT} or more ground-truth symbols": (
            "frequent_macro"
        ),
    }
    return [f"| {title} | {_ap50(score[key])} |" for title, key in means.items()]


def _ap50(mean: dict[str, Any]) -> str:
    return "no symbols to score" if mean["ap50"] is None else f"{mean['ap50']:.3f}"


def _shapes_score_rows(folder: DemoFolder) -> list[str]:
    """Return the row with the scores on the shapes; none without shapes."""
    if not folder.coco_score.is_dir():
        return []
    macro = read_score(folder.coco_score)["macro"]
    return [f"| AP50 on the drawn shapes, macro mean | {_ap50(macro)} |"]


def _epoch_lines(folder: DemoFolder) -> list[str]:
    """Return the table of validation metrics after each epoch; none without shapes."""
    if not folder.coco_score.is_dir():
        return []
    with (folder.run / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [SOURCE_METRIC.format(data.name) for data in (folder.data, folder.coco)]
    return [
        "Validation after each epoch, mean AP50 of the classes of each data set:",
        "",
        "| epoch | music | shapes |",
        "|---|---|---|",
        *(f"| {row['epoch']} | {' | '.join(row[column] for column in columns)} |" for row in rows),
        "",
    ]
