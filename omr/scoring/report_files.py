"""Files that ``omr eval --out`` writes."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from converters import images
from converters.page import Page
from eval.metrics.marking import marked_page
from eval.pictures.contact_sheet import compare
from eval.reports.evaluation_files import EvaluationFiles, write_evaluation_report
from eval.reports.evaluation_page import EvaluationSubject
from eval.reports.page_overlays import N_WORST, MarkedPage, page_overlays
from omr.scoring.evaluation_folders import REPORT_FILE
from omr.scoring.evaluation_set import EvaluationSet
from omr.scoring.protocol import Protocol
from omr.scoring.result import ScoringResult
from omr.scoring.symbols_file import SYMBOLS_FILE, write_symbols

CONTACT_SHEET_FILE = "contact_sheet.png"
WEB_PAGE_FILE = "report.html"
MARKDOWN_FILE = "report.md"
FILES = REPORT_FILE, MARKDOWN_FILE, WEB_PAGE_FILE, CONTACT_SHEET_FILE, SYMBOLS_FILE
"""All files, in the order in which :func:`write_files` takes them."""


def write_files(
    files: Sequence[Path], result: ScoringResult, evaluation: EvaluationSet, pages: Sequence[Page]
) -> None:
    """Write all files of a report.

    Args:
        files: Files to write, in the order of ``FILES``.
        result: Metrics.
        evaluation: Ground truth.
        pages: Predictions, in the order of the ground truth.
    """
    report, markdown, web_page, sheet, symbols = files
    names = evaluation.dataset.names
    subject = _subject(result)
    overlays = page_overlays(
        result.evaluation.pages, _marked_pages(result, evaluation, pages), names
    )
    write_evaluation_report(
        EvaluationFiles(html=web_page, markdown=markdown, json=report),
        result.evaluation,
        subject,
        overlays=overlays,
        extra=result.to_json(),
    )
    write_symbols(symbols, evaluation.truths, pages, names)
    images.write(compare(evaluation.pixels, evaluation.truths, pages, names), sheet)


def _marked_pages(
    result: ScoringResult, evaluation: EvaluationSet, pages: Sequence[Page]
) -> Iterator[MarkedPage]:
    """Yield the pages or tiles with the most errors, and their images."""
    worst = {page.image for page in result.evaluation.pages[:N_WORST]}
    for truth, prediction in zip(evaluation.truths, pages, strict=True):
        if str(truth.image) in worst:
            pixels = evaluation.pixels(truth.image)
            yield marked_page(truth, prediction, result.evaluation.thresholds, pixels)


def _subject(result: ScoringResult) -> EvaluationSubject:
    protocol = result.protocol
    return EvaluationSubject(
        weights=protocol.weights.name,
        data=protocol.data.name,
        split=result.split,
        protocol=[
            (label.replace("_", " "), _text(value)) for label, value in _protocol_rows(protocol)
        ],
        notes=_notes(result),
    )


def _notes(result: ScoringResult) -> list[str]:
    differences = "; ".join(result.differences)
    notes = [
        *result.remarks,
        *filter(None, [result.unlabelled_remark]),
        *([f"differs from the training: {differences}"] if differences else []),
        result.training_remark,
    ]
    return [f"{note[0].upper()}{note[1:]}." for note in notes]


def _protocol_rows(protocol: Protocol) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a protocol that a reader may want to compare."""
    yield "hash of the protocol", protocol.hash
    for part in ("weights", "data", "class_map"):
        fields = asdict(getattr(protocol, part))
        yield part, {name: value for name, value in fields.items() if value}
    for name, value in asdict(protocol.settings).items():
        if value is not None:
            yield name, value
    yield "merging", protocol.merging
    yield "versions", protocol.versions


def _text(value: Any) -> str:  # noqa: ANN401
    """Format a value of a protocol: ``size 320, overlap 96`` for a dict."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return "none" if value is None else str(value)
