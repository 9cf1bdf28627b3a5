"""Printed results of ``omr analyze-density``."""

from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version

from rich.console import Console

from class_maps import short_list
from converters.reproduce_command import TO_CUT
from eval.html.number_format import counted, share
from eval.reports.density_report import MOST, DensityReport
from omr.console import entry, note, say, table
from training.density.initial_weights import InitialWeightAnalysis
from training.density.recommendation import MOST_NAMES
from training.density.report import DensityAnalysis
from training.memory.batch_search import present_device
from training.memory.profile import profile_step
from training.memory.step import predict_step
from training.memory.step_spec import StepSpec

MIB = 2**20
GUARD = ("guard",)
LINES = (
    (
        "weights, gradients, optimiser, EMA",
        ("parameters", "gradients", "optimizer", "ema", "buffers"),
    ),
    ("images", ("inputs",)),
    ("activations", ("activations",)),
    ("loss", ("loss",)),
    ("assigner", ("assigner",)),
    ("workspace, allocator, libraries", ("workspace", "allocator", "library")),
    ("states of the NaN guard", GUARD),
)
"""Rows of the memory table: title and the parts it sums up."""


def show_density(analysis: DensityAnalysis, report: DensityReport, *, to: Console) -> None:
    """Print the symbol counts, the classes with problems, the memory and the command to launch.

    Args:
        analysis: Analysis of a data set.
        report: Report of the analysis.
        to: Console to print on; warnings go to stderr.
    """
    _show_symbols(analysis, to)
    _show_classes(analysis, to)
    _show_memory(analysis, to)
    if recommendation := analysis.recommendation:
        say("\nRecommended launch:", to=to)
        if names := report.under_a_pixel:
            note(f"most symbols of {short_list(names, MOST_NAMES)} would be under 1 px")
        for reason in recommendation.reasons:
            entry(reason, to=to)
        if recommendation.convert_command:
            say(f"\n{TO_CUT}", to=to)
            say(recommendation.convert_command, to=to)
        say(f"\n{recommendation.command}", to=to)


def _show_symbols(analysis: DensityAnalysis, to: Console) -> None:
    labels, batch = analysis.labels, analysis.config.batch
    table(
        "Symbols per image (P95: 95 of 100 images have at most this many)",
        ("", "images", "mean", "P50", "P95", "P99", "max"),
        [
            (stage.name, stage.n_images, f"{stage.mean:,.0f}", s.p50, s.p95, s.p99, s.max)
            if (s := stage.symbols)
            else (stage.name, stage.n_images, f"{stage.mean or 0:,.0f}", "", "", "", "")
            for stage in labels.stages
        ],
        to=to,
    )
    fullest, whole = labels.crowding.fullest_image(batch), labels.crowding.whole_batch(batch)
    if fullest and whole:
        images = counted(batch, "image", "images")
        entry(
            f"a batch of {images}: {whole.expected:,.0f} symbols on average, at most "
            f"{whole.p999:,} in 999 of 1,000 batches; its fullest image: "
            f"{fullest.expected:,.0f} on average, at most {fullest.p999:,}",
            to=to,
        )
    if batch < labels.n_images and (most := labels.crowding.epoch_max(batch)):
        entry(
            f"fullest batch of an epoch: {most.batch:,.0f} symbols; "
            f"fullest image: {most.image:,.0f}",
            to=to,
        )
    if not labels.n_symbols:
        note(f"no image contains a symbol; a model cannot learn from {analysis.config.data}")


def _show_classes(analysis: DensityAnalysis, to: Console) -> None:
    """Print the classes that training would not learn well; the report lists all classes."""
    labels, start = analysis.labels, analysis.labels.initial_weights
    present = sorted((row for row in labels.sizes if row.count), key=lambda row: -row.count)
    if not present:
        return
    classes = counted(len(present), "class", "classes")
    say(f"\nAt {analysis.config.imgsz} px, of {classes} with symbols:", to=to)
    problems: Iterable[tuple[str, Iterable[str]]] = (
        ("more without any symbols", [row.name for row in labels.sizes if not row.count]),
        ("mostly smaller than 2 px", [r.name for r in present if (r.under_2px or 0) > MOST]),
        ("mostly dropped by the augmentation of Ultralytics", start.dropped_stock),
        (
            "with zero initial weight in the loss, with the head of Ultralytics",
            start.zero_weight_stock,
        ),
        ("mostly dropped by the augmentation of omr train", start.dropped_ours),
        ("with zero initial weight, with the head of omr train", start.zero_weight_ours),
    )
    for problem, names in problems:
        if shown := list(names):
            entry(f"{len(shown)} {problem}: {short_list(shown, MOST_NAMES)}", to=to)
    if start.priors:
        entry(f"initial boxes of omr train: {short_list(_first_boxes(start), MOST_NAMES)}", to=to)
    competition = labels.competition
    if competition.max_recall_single_head is not None:
        heads = ""
        if analysis.heads and competition.max_recall_heads is not None:
            heads = f", {competition.max_recall_heads:.2%} with these heads"
        entry(
            f"{competition.max_recall_single_head:.2%} of the symbols get an anchor point{heads}",
            to=to,
        )
    shares = [
        f"{reach.iou50:.1%} {name.replace(',', '')}"
        for name, reach in labels.maximum_recall.overall.items()
        if reach
    ]
    entry(f"boxes the head can represent at IoU 0.5: {', '.join(shares)}", to=to)


def _first_boxes(start: InitialWeightAnalysis) -> list[str]:
    """List the initial box sizes of each box branch, one per stride in ascending order."""
    sizes: dict[str | None, list[str]] = {}
    for prior in start.priors:
        sizes.setdefault(prior.group, []).append(f"{prior.width_px:.0f} x {prior.height_px:.0f}")
    return [
        (f"{group} " if group else "") + f"{', '.join(texts)} px" for group, texts in sizes.items()
    ]


def _show_memory(analysis: DensityAnalysis, to: Console) -> None:
    memory, gpu = analysis.memory, analysis.gpu
    rows = [
        (
            title,
            sum(memory.at_peak.get(name, 0) for name in names),
            sum(map(memory.by_purpose, names)),
        )
        for title, names in LINES
        if names != GUARD or gpu.device == "cpu"  # training on a GPU keeps them in main memory
    ]
    total = memory.total_bytes
    with_dense = f"total, with the assigner of Ultralytics {version('ultralytics')}"
    total_with_dense = total - memory.at_peak["assigner"] + analysis.requested_dense_bytes
    say("", to=to)
    table(
        f"Memory of a step in MiB: {counted(memory.batch, 'image', 'images')}, "
        f"{analysis.config.model}, "
        f"{analysis.precision}",
        ("", "at the peak", "maximum"),
        [(title, _mib(peak), _mib(most)) for title, peak, most in rows if most],
        [
            ("total", _mib(total), ""),
            (with_dense, _mib(total_with_dense), ""),
            (f"usable on {gpu.name}", _mib(gpu.usable_bytes), ""),
        ],
        to=to,
    )
    assigner_share = share(memory.assigner_bytes / max(gpu.usable_bytes, 1))
    entry(
        f"Ultralytics compares {counted(analysis.spec.boxes_max, 'symbol', 'symbols')} with "
        f"{memory.n_anchors:,} points, {counted(memory.batch, 'time', 'times')}; omr lists "
        f"{analysis.spec.pairs or 0:,} pairs, which take {assigner_share} of the memory",
        to=to,
    )
    # If omr train itself does not fit, the assigner of Ultralytics needs no separate line.
    if total > gpu.usable_bytes:
        note(f"out of memory on {gpu.name}: total: {_mib(total)} MiB")
    elif total_with_dense > gpu.usable_bytes:
        note(f"out of memory on {gpu.name}: {with_dense}: {_mib(total_with_dense)} MiB")


def show_measured_step(spec: StepSpec, *, to: Console) -> dict[str, object] | None:
    """Run real steps on the local device, and print their memory next to the prediction.

    Args:
        spec: Step to run.
        to: Console to print on; warnings go to stderr.

    Returns:
        Measurement for ``--json``; None if the step would not fit into memory.
    """
    gpu = present_device()
    precision = "fp32" if gpu.device == "cpu" and spec.precision == "fp16" else spec.precision
    local_spec = replace(spec, device=gpu.device, precision=precision)
    need = predict_step(local_spec).total_bytes
    if need > gpu.usable_bytes:
        note(f"not measured: {_mib(need)} MiB do not fit on {gpu.name}; choose a smaller --batch")
        return None
    measured = profile_step(local_spec)
    predicted = predict_step(replace(local_spec, pairs=measured.pairs))
    n_bytes = predicted.allocated_bytes
    say(
        f"Measured on this machine ({measured.device}, {precision}, random boxes): "
        f"{_mib(measured.total_bytes)} MiB; predicted {_mib(n_bytes)} MiB, "
        f"{n_bytes / measured.total_bytes - 1:+.1%}",
        to=to,
    )
    return measured.to_json() | {"predicted_bytes": n_bytes, "precision": precision}


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / MIB:,.0f}"
