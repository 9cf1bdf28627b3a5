"""Comparison of evaluations that ``omr eval --out`` wrote, by the symbols in their folders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from class_maps import ConfigError, short_list
from converters.files.atomic_files import output_files
from converters.files.overwriting import check_files
from converters.tracking import untracked
from eval.metrics.comparison import TrackRuns, compare_runs
from eval.reports.comparison import LETTERS, ComparedModel, Metric, ModelComparison
from eval.reports.comparison_files import ComparisonFiles, write_comparison
from eval.reports.evaluation import few_pages_notes
from omr.scoring.evaluation_folders import EvaluationGroup, read_group
from omr.scoring.protocol_differences import (
    protocol_differences,
    settings_rows,
    truth_differences,
)

JSON_FILE, MARKDOWN_FILE, HTML_FILE = "comparison.json", "comparison.md", "comparison.html"
_MOST_NAMES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonOptions:
    """Options of a comparison."""

    metric: Metric = "ap"
    samples: int = 300
    """Samples from which intervals are computed."""
    seed: int = 0
    """Seed of the samples."""
    any_protocol: bool = False
    """Whether scores of different protocols are compared, which must be of the same truths."""


def compare_folders(
    folders: Sequence[Path],
    options: ComparisonOptions,
    *,
    out: Path | None,
    force: bool,
    track: TrackRuns,
) -> ModelComparison:
    """Compare evaluations with the first one.

    Args:
        folders: Folders that ``omr eval --out`` wrote, or folders of such folders, one per run of a
            recipe.
        options: Metric and samples.
        out: Folder for the report; None to write nothing.
        force: Overwrite a report in ``out``.
        track: Wrapper around the runs that shows progress.

    Raises:
        ConfigError: There are fewer than two folders, or more than letters; ground truth or
            protocols differ; or ``out`` contains a report and ``force`` is not set.
        InputError: A folder contains no evaluation, or a file is damaged.
    """
    if not 2 <= len(folders) <= len(LETTERS):
        raise ConfigError(
            f"expected 2 to {len(LETTERS)} folders to compare, got {len(folders)}; to compare the "
            "runs of a folder, name their folders"
        )
    if out is None:
        return _compare(folders, options, track)
    files = [out / name for name in (JSON_FILE, MARKDOWN_FILE, HTML_FILE)]
    check_files(*files, force=force)
    with output_files(*files, force=force) as (json, markdown, html):
        comparison = _compare(folders, options, track)
        write_comparison(ComparisonFiles(html=html, markdown=markdown, json=json), comparison)
    return comparison


def _compare(
    folders: Sequence[Path], options: ComparisonOptions, track: TrackRuns
) -> ModelComparison:
    return compare_groups([read_group(folder) for folder in folders], options, track=track)


def compare_groups(
    groups: Sequence[EvaluationGroup], options: ComparisonOptions, *, track: TrackRuns = untracked
) -> ModelComparison:
    """Compare evaluations that have been read with the first one; see :func:`compare_folders`.

    Raises:
        ConfigError: Ground truth or protocols differ.
    """
    differences = _check_protocols(groups, any_protocol=options.any_protocol)
    first = groups[0].evaluations[0]
    reports = compare_runs(
        first.symbols.truths,
        [[one.symbols.predictions for one in group.evaluations] for group in groups],
        first.symbols.names,
        metric=options.metric,
        n_bootstrap=options.samples,
        seed=options.seed,
        track=track,
    )
    return ModelComparison(
        models=tuple(
            ComparedModel(
                letter=letter,
                name=str(group.folder),
                runs=tuple(_run_name(group, i) for i in range(len(group.evaluations))),
            )
            for letter, group in zip(LETTERS, groups, strict=False)
        ),
        unit=first.protocol.unit,
        data=f"{first.protocol.data.name}, split {first.protocol.split}",
        reports=reports,
        settings=tuple(settings_rows(groups)),
        protocol_differences=tuple(differences),
        notes=tuple(_notes(groups)),
    )


def _notes(groups: Sequence[EvaluationGroup]) -> Iterator[str]:
    """Report skipped folders, few pages, and AP that a confidence threshold has lowered."""
    first = groups[0].evaluations[0]
    n_pages = sum(len(truth.labels) > 0 for truth in first.symbols.truths)
    yield from few_pages_notes(n_pages, first.protocol.unit)
    for group in groups:
        if group.skipped:
            names = short_list(group.skipped, _MOST_NAMES)
            yield f"{group.folder}: skipped folders without an evaluation: {names}"
        for one in group.evaluations:
            settings = one.protocol.settings
            if settings.is_truncated:
                lowest = (
                    "" if settings.lowest_score is None else f" below {settings.lowest_score:g}"
                )
                yield f"{one.folder}: predictions{lowest} were cut off, which lowers the AP"


def _run_name(group: EvaluationGroup, i: int) -> str:
    """Return the name of a run: the subfolder of its evaluation, or its weights."""
    one = group.evaluations[i]
    return one.protocol.weights.name if one.folder == group.folder else one.folder.name


def _check_protocols(groups: Sequence[EvaluationGroup], *, any_protocol: bool) -> list[str]:
    """Check that all evaluations can be compared with the first.

    Returns:
        Differences between the protocols, each once; empty unless they are allowed.

    Raises:
        ConfigError: Ground truth differs, or protocols differ and this is not allowed.
    """
    first = groups[0].evaluations[0]
    differences: dict[str, None] = {}
    for group in groups:
        for other in group.evaluations:
            if parts := truth_differences(first, other):
                raise ConfigError(
                    f"{other.folder}: ground truth differs from {first.folder}: "
                    f"{'; '.join(parts)}; score both on the same data, split and unit"
                )
            parts = protocol_differences(first.protocol, other.protocol)
            if parts and not any_protocol:
                raise ConfigError(
                    f"{other.folder}: protocol differs from {first.folder}: {'; '.join(parts)}; "
                    "score both in the same way, or use --any-protocol"
                )
            differences |= dict.fromkeys(parts)
    return list(differences)
