"""Label checks before training: the error rules of ``omr lint`` that need no pixels.

They run on the rows that training has read anyway, so no label file is opened again. Duplicate rows
are already removed, and pages in both splits are a note, see :mod:`training.checks`.

Shapes: N symbols of an image.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
from ultralytics.utils import LOGGER

from class_maps import InputError, short_list
from converters.manifest import read_manifest
from eval.html.number_format import counted
from eval.lint.checks.similar_boxes import with_pairs
from eval.lint.findings import Finding
from eval.lint.pages import LintPage, RecordedPages
from eval.lint.rules import lint, training_settings
from training.data.label_files import SplitLabels
from training.data.multi_dataset import TrainingSource
from training.engine.inputs import TrainingInputs

MOST_NAMES = 4
"""Maximum number of class names per line."""


def check_labels(inputs: TrainingInputs, separate: Mapping[str, str]) -> None:
    """Check the boxes of all data sets, and log each rule that finds an error.

    Args:
        inputs: Opened data sets.
        separate: Group of each class that has a box branch per group; empty without such groups.

    Raises:
        InputError: A data set has errors.
    """
    failed: list[tuple[Path, int]] = []
    folders = inputs.data.options.folders
    for folder, source, labels in zip(folders, inputs.data.sources, inputs.labels, strict=True):
        pages = with_pairs(_pages(source, labels))
        report = lint(pages, source.dataset.names, training_settings())
        findings = [f for f in report.findings if not _is_separated(f, separate)]
        for rule, group in groupby(findings, key=lambda finding: finding.rule):
            LOGGER.error(f"{folder}: {rule}: {_described([*group])}")
        if findings:
            failed.append((folder, len({finding.rule for finding in findings})))
    if failed:
        folder, n_rules = failed[0]
        raise InputError(
            f"{counted(n_rules, 'label check', 'label checks')} failed, see above; run `omr lint "
            f"{folder}` for examples, or train anyway with --no-lint",
            path=folder,
        )


def _pages(source: TrainingSource, labels: Mapping[str, SplitLabels]) -> Iterator[LintPage]:
    """Yield the images of ``train`` and ``val`` with the boxes that were read for training."""
    manifest = read_manifest(source.dataset.root)
    for split in source.dataset.own_splits():
        if split not in labels:
            continue
        recorded = RecordedPages(manifest, source.dataset.folder_name(split))
        folder = source.dataset.splits[split].absolute()
        for file, image in labels[split].images.items():
            path = Path(file)
            page = image.page(PurePosixPath(path.relative_to(folder)))
            rows = image.rows.astype(np.float64)
            yield recorded.lint_page(path, page, rows, split, may_be_read=False)


def _is_separated(finding: Finding, separate: Mapping[str, str]) -> bool:
    """Return whether two classes share boxes, but not a box branch, so that both can be learnt."""
    if finding.rule != "one-box-two-classes":
        return False
    first, second = finding.occurrence.class_name.split(" + ")
    return separate.get(first) != separate.get(second)


def _described(findings: Sequence[Finding]) -> str:
    """Describe the findings of one rule in one line."""
    occurrences = [finding.occurrence for finding in findings]
    names = [occurrence.class_name for occurrence in occurrences if occurrence.class_name]
    n = sum(occurrence.count for occurrence in occurrences)
    subject = counted(n, "box", "boxes") if names else counted(n, "image", "images")
    of_classes = f" of {short_list([*dict.fromkeys(names)], MOST_NAMES)}" if names else ""
    example = next((e.text for o in occurrences for e in o.examples), "")
    return f"{subject}{of_classes}, such as {example}: {findings[0].meaning}"
