"""Files of an evaluation: ``report.html``, ``report.md`` and ``report.json``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.reports.evaluation import EvaluationReport
from eval.reports.evaluation_json import evaluation_json
from eval.reports.evaluation_markdown import evaluation_markdown
from eval.reports.evaluation_page import EvaluationSubject, evaluation_page
from eval.reports.page_overlays import PageOverlay


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationFiles:
    """Files to write, in existing folders."""

    html: Path
    markdown: Path
    json: Path


def write_evaluation_report(
    files: EvaluationFiles,
    report: EvaluationReport,
    subject: EvaluationSubject,
    *,
    overlays: Sequence[PageOverlay] = (),
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write an evaluation as a web page, as Markdown and as JSON.

    Args:
        files: Files to write.
        report: Report with all figures.
        subject: Predictions and data that the report is about.
        overlays: Pages with the most errors, from
            :func:`~eval.reports.page_overlays.page_overlays`.
        extra: Further entries of the JSON, such as the protocol.

    Raises:
        OSError: A file cannot be written.
        ValueError: The classes of the report are not in the order of its detection metrics, or a
            score is not finite.
    """
    content = evaluation_json(report, split=subject.split) | dict(extra or {})
    text = json.dumps(content, indent=1, allow_nan=False)
    files.json.write_text(text + "\n", encoding="utf-8")
    files.markdown.write_text(evaluation_markdown(report, subject), encoding="utf-8")
    files.html.write_text(evaluation_page(report, subject, overlays), encoding="utf-8")
