"""Web page of ``omr analyze-density``, self-contained.

The page starts with the answer (which training command to run, and whether it fits), and then shows
the reasons.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from class_maps import short_list
from converters.reproduce_command import TO_CUT
from eval.html.number_format import amount, counted, memory, share
from eval.html.page import Fact, Plot, Table, render
from eval.html.plots import histogram
from eval.reports.density_classes import (
    class_sections,
    classes_that_do_not_learn,
    competition_section,
    prior_table,
)
from eval.reports.density_figures import PipelineStage
from eval.reports.density_memory import memory_section
from eval.reports.density_report import BatchMemory, DensityReport

_NAMED = 10
"""Maximum number of class names per sentence."""
_FEW = 3
"""Maximum number of class names in the answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verdict:
    """Answer at the top of the page."""

    fits: bool
    answer: str
    subject: str
    """Training run that the answer is about."""
    details: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stages:
    """Histograms and table of the pipeline stages."""

    plots: Sequence[Plot]
    table: Table


def write_density_report(report: DensityReport, file: Path) -> None:
    """Write the page of a report; it needs no network and no other file.

    Args:
        report: Report to draw.
        file: HTML file to write, in an existing folder.

    Raises:
        OSError: The file cannot be written.
    """
    file.write_text(density_page(report), encoding="utf-8")


def density_page(report: DensityReport) -> str:
    """Return the HTML page of a report."""
    return render(
        "density.html.j2",
        report=report,
        verdict=_verdict(report),
        figures=_figures(report),
        settings=_settings(report),
        to_cut=TO_CUT,
        memory=memory_section(report),
        stages=_stages(report.stages),
        classes=class_sections(report),
        competition=competition_section(report),
        priors=prior_table(report.priors),
    )


def _verdict(report: DensityReport) -> _Verdict:
    fits, answer = _answer(report)
    heads = f", heads {report.heads}" if report.heads else ""
    subject = (
        f"{report.model}{heads}, {report.imgsz} px, batch {report.batch}, {report.precision}, "
        f"split {report.split} of {report.data}"
    )
    problem = [report.problem] if report.problem else []
    details = [*problem, *_memory_sentences(report), *_learning_sentences(report)]
    return _Verdict(fits=fits, answer=answer, subject=subject, details=details)


def _answer(report: DensityReport) -> tuple[bool, str]:
    """Return whether the training run fits, and a sentence with its settings or the problem."""
    recommendation, gpu = report.recommendation, report.gpu
    if not report.n_images:
        return False, f"The split {report.split} contains no images."
    if not report.n_symbols:
        return False, f"No image of the split {report.split} contains symbols."
    if not recommendation:
        return False, f"Nothing can be launched on {gpu.name}."
    launch = f"batch {recommendation.batch} at {recommendation.imgsz} px"
    if _launched(report).total_bytes > gpu.usable_bytes:
        return False, f"{launch[0].upper()}{launch[1:]} does not fit on {gpu.name}."
    if names := report.under_a_pixel:
        return False, (
            f"{launch[0].upper()}{launch[1:]} fits on {gpu.name}, but most symbols of "
            f"{short_list(names, _FEW)} would be under 1 px."
        )
    return True, f"Launch with {launch}: it fits on {gpu.name}."


def _launched(report: DensityReport) -> BatchMemory:
    """Return the memory of the recommended batch, or of the requested one."""
    batch = (report.recommendation or report).batch
    return next(row for row in report.memory_over_batch if row.batch == batch)


def _memory_sentences(report: DensityReport) -> list[str]:
    """Compare the memory of a step with the device, and omr's assigner with that of Ultralytics."""
    gpu, need = report.gpu, _launched(report)
    usable = memory(gpu.usable_bytes)
    total_with_dense = need.total_bytes - need.assigner_bytes + need.ultralytics_assigner_bytes
    fits = total_with_dense <= gpu.usable_bytes
    return [
        f"A step needs {memory(need.total_bytes)}: {share(need.total_bytes / gpu.usable_bytes)} of "
        f"the {usable} usable on {gpu.name} ({memory(gpu.total_bytes)} in total).",
        f"The assigner needs {memory(need.assigner_bytes)} of it.",
        f"The assigner of Ultralytics {report.ultralytics_version} would need "
        f"{memory(need.ultralytics_assigner_bytes)}, and the step "
        f"{memory(total_with_dense)}{'' if fits else ': out of memory'}.",
    ]


def _learning_sentences(report: DensityReport) -> list[str]:
    """Count the classes that an untrained head does not learn."""
    sentences = []
    if stock := classes_that_do_not_learn(report.classes, "stock"):
        sentences.append(
            f"With Ultralytics, {len(stock)} of {_n_present(report)} start without weight in the "
            "loss, or lose most of their labels."
        )
    if ours := classes_that_do_not_learn(report.classes, "ours"):
        sentences.append(f"With omr train, this applies to {short_list(ours, _NAMED)}.")
    return sentences


def _n_present(report: DensityReport) -> str:
    return counted(sum(1 for row in report.classes if row.count), "class", "classes")


def _figures(report: DensityReport) -> list[Fact]:
    spread, batch = report.symbols, report.batch
    facts = [
        Fact(label="images", figure=amount(report.n_images)),
        Fact(label="symbols", figure=amount(report.n_symbols), note=f"of {_n_present(report)}"),
    ]
    if spread:
        note = f"P99 {amount(spread.p99)}, max {amount(spread.max)}"
        facts.append(Fact(label="symbols per image", figure=amount(spread.mean), note=note))
    for figures, label in (
        (report.batch_max, f"symbols in the fullest image of a batch of {batch}"),
        (report.batch_sum, f"symbols in a batch of {batch}"),
    ):
        if figures:
            note = f"at most {amount(figures.p999)} in 999 of 1,000 batches"
            facts.append(Fact(label=label, figure=amount(figures.expected), note=note))
    if report.epoch_max:
        label = "symbols in the fullest batch of an epoch"
        note = f"fullest image {amount(report.epoch_max.image)}"
        facts.append(Fact(label=label, figure=amount(report.epoch_max.batch), note=note))
    return facts


def _settings(report: DensityReport) -> list[Fact]:
    recommendation = report.recommendation
    if not recommendation:
        return []
    images = counted(recommendation.batch * recommendation.accumulate, "image", "images")
    tile = f"{recommendation.tile} px" if recommendation.tile else "none"
    return [
        Fact(label="batch", figure=str(recommendation.batch)),
        Fact(
            label="accumulate",
            figure=str(recommendation.accumulate),
            note=f"{images} per optimiser step",
        ),
        Fact(label="imgsz", figure=f"{recommendation.imgsz} px"),
        Fact(label="tile", figure=tile),
        Fact(label="max_det", figure=amount(recommendation.max_det), note="detections per image"),
        Fact(label="workers", figure=str(recommendation.workers)),
    ]


def _stages(stages: Sequence[PipelineStage]) -> _Stages:
    plots = []
    for i, stage in enumerate(stages):
        if stage.mean is not None and not stage.histogram:
            continue  # only the mean is known, and shown in the table
        title = f"{stage.name}, {counted(stage.n_images, 'image', 'images')}"
        if stage.symbols:
            title += f": mean {amount(stage.symbols.mean)}, P95 {amount(stage.symbols.p95)}"
        svg = histogram(f"plot-stage-{i}", f"Symbols per image {title}", stage.histogram)
        plots.append(Plot(title=title, svg=svg))
    table = Table(
        label="Symbols per image at each stage",
        columns=("stage", "images", "mean", "P50", "P95", "P99", "max"),
        rows=[_stage_row(stage) for stage in stages],
    )
    return _Stages(plots=plots, table=table)


def _stage_row(stage: PipelineStage) -> list[str]:
    spread = stage.symbols
    percentiles = (spread.p50, spread.p95, spread.p99, spread.max) if spread else (None,) * 4
    return [stage.name, amount(stage.n_images), amount(stage.mean), *map(amount, percentiles)]
