"""Memory section of a density report."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from eval.html.number_format import GIB, NONE, memory
from eval.html.page import Table
from eval.html.plots import ReferenceLine, Series, stacked_bars
from eval.reports.density_report import BatchMemory, DensityReport

_PURPOSES = (
    ("parameters", "parameters"),
    ("gradients", "gradients"),
    ("optimizer", "optimiser state"),
    ("ema", "averaged weights (EMA)"),
    ("buffers", "normalisation statistics"),
    ("inputs", "images"),
    ("activations", "saved activations"),
    ("loss", "loss"),
    ("assigner", "assigner"),
    ("workspace", "temporary tensors"),
    ("guard", "states saved against NaN and Inf"),
    ("allocator", "allocator fragmentation"),
    ("library", "CUDA libraries"),
)
_ON_CPU_ONLY = "guard"
"""Purpose whose tensors are in main memory in a training on a GPU."""
_STACK = (
    (
        "parameters, gradients, optimiser, EMA",
        ("parameters", "gradients", "optimizer", "ema", "buffers", "guard"),
    ),
    ("images", ("inputs",)),
    ("saved activations", ("activations",)),
    ("loss", ("loss",)),
    ("assigner", ("assigner",)),
    ("temporary, fragmentation, libraries", ("workspace", "allocator", "library")),
)
"""Purposes that share each colour; more than six colours are hard to distinguish."""
_HEADROOM = 1.3
"""Minimum upper limit of the plot, relative to the usable memory."""
_HIGHEST = 2.0
"""Maximum upper limit of the plot, relative to the usable memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemorySection:
    """Plot and tables of the memory that a training step needs."""

    plot: Markup
    legend: Sequence[tuple[str, str]]
    """CSS class and name of each colour."""
    by_batch: Table
    by_purpose: Table


def memory_section(report: DensityReport) -> MemorySection:
    """Describe the memory of a training step by batch and by purpose."""
    legend = [(f"s{i}", name) for i, (name, _) in enumerate(_STACK)]
    return MemorySection(
        plot=_plot(report),
        legend=[*legend, ("dash", "total with Ultralytics' dense assigner")],
        by_batch=_table_by_batch(report.memory_over_batch),
        by_purpose=_table_by_purpose(report),
    )


def _plot(report: DensityReport) -> Markup:
    rows, gpu, recommendation = report.memory_over_batch, report.gpu, report.recommendation
    usable = gpu.usable_bytes / GIB
    dense = [row.ultralytics_total_bytes / GIB for row in rows]
    description = ", ".join(f"batch {row.batch} {memory(row.total_bytes)}" for row in rows)
    highest = max(*(row.total_bytes / GIB for row in rows), *dense)
    return stacked_bars(
        "plot-memory",
        f"Memory of a step by batch: {description}",
        [str(row.batch) for row in rows],
        [
            Series(name=name, values=[_sum(row, purposes) / GIB for row in rows])
            for name, purposes in _STACK
        ],
        reference=ReferenceLine(name=f"GiB usable on {gpu.name}", value=usable),
        dashed=Series(name="with Ultralytics' assigner", values=dense),
        marked=str(recommendation.batch) if recommendation else None,
        # The line of the device stays in the middle, however high the bars are.
        top=max(_HEADROOM * usable, min(highest, _HIGHEST * usable) * 1.05),
    )


def _sum(row: BatchMemory, purposes: Sequence[str]) -> int:
    return sum(row.by_purpose(purpose) for purpose in purposes)


def _table_by_batch(rows: Sequence[BatchMemory]) -> Table:
    return Table(
        label="Memory by batch",
        columns=("batch", "total", "assigner", "Ultralytics' assigner", "total with it"),
        rows=[
            (
                str(row.batch),
                memory(row.total_bytes),
                memory(row.assigner_bytes),
                memory(row.ultralytics_assigner_bytes),
                memory(row.ultralytics_total_bytes),
            )
            for row in rows
        ],
    )


def _table_by_purpose(report: DensityReport) -> Table:
    need = report.memory
    rows = [
        (name, memory(need.at_peak.get(purpose, 0)), memory(need.by_purpose(purpose)))
        for purpose, name in _PURPOSES
        if need.by_purpose(purpose) and (report.gpu.device == "cpu" or purpose != _ON_CPU_ONLY)
    ]
    rows.append(("total", memory(need.total_bytes), NONE))
    rest = need.total_bytes - need.at_peak.get("assigner", 0)
    dense = report.memory_ultralytics_assigner_bytes
    name = f"total with the assigner of Ultralytics {report.ultralytics_version}"
    rows.append((name, memory(rest + dense), memory(dense)))
    columns = f"batch {report.batch}", "at the peak", "maximum"
    return Table(label="Memory of a step by purpose", columns=columns, rows=rows)
