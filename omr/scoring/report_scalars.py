"""Scalars of a report, as TensorBoard events."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omr.scoring.result import ScoringResult

MEANS = "macro", "frequent_macro", "instance_weighted"
PROTOCOLS = "voc2007", "voc2010", "ultralytics"


def write_scalars(folder: Path, result: ScoringResult) -> None:
    """Write the scalars of a report to a new event file, at step 0.

    Args:
        folder: Folder of the event file, such as that of a training run; created if missing.
        result: Metrics.
    """
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, value in scalars(result.to_json()).items():
            writer.add_scalar(f"{result.split}_{result.unit}/{name}", value, 0)


def scalars(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the scalars of a report by name, without those that are unknown.

    Args:
        report: Report in the form of ``report.json``.
    """
    return {
        name: value
        for name, value in _entries(report)
        if value is not None and math.isfinite(value)
    }


def _entries(report: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for part in (*MEANS, *PROTOCOLS):
        for key, value in report[part].items():
            yield f"{part}/{key}", value
    for error, value in report["tide"]["delta_ap"].items():
        yield f"tide/delta_ap/{error}", value
    yield "calibration/ece", report["calibration"]["ece"]
    for row in report["classes"]:
        yield f"ap50/{row['name']}", row["ap50"]
