"""The part of a density report that shows what a training step needs of a GPU's memory."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from eval.html.number_format import GIB, NONE, memory
from eval.html.plots import Level, Series, legend, stacked_bars
from eval.html.web_page import paragraph, section, table

Report: TypeAlias = Mapping[str, Any]

_PARTS = (
    ("parameters", "parameters"),
    ("gradients", "gradients"),
    ("optimizer", "optimizer"),
    ("ema", "averaged copy (EMA)"),
    ("buffers", "statistics of normalisation"),
    ("inputs", "images"),
    ("activations", "saved activations"),
    ("loss", "loss"),
    ("assigner", "assigner"),
    ("workspace", "workspace of the kernels"),
    ("guard", "good states, kept against NaNs"),
    ("allocator", "gaps of the allocator"),
    ("library", "libraries"),
)
_ON_CPU_ONLY = "guard"
"""Of a GPU's training it lies in main memory."""
_STACK = (
    (
        "parameters, gradients, optimizer, EMA",
        ("parameters", "gradients", "optimizer", "ema", "buffers", "guard"),
    ),
    ("images", ("inputs",)),
    ("saved activations", ("activations",)),
    ("loss", ("loss",)),
    ("assigner", ("assigner",)),
    ("workspace, gaps, libraries", ("workspace", "allocator", "library")),
)
"""What has a colour of its own: more than six cannot be told apart."""
_HEADROOM = 1.3
_HIGHEST = 2.0
"""Of the usable memory: where the plot of memory ends."""


def memory_section(report: Report) -> str:
    """Show what a step needs over the batch, and what of it goes where.

    Args:
        report: What ``omr analyze-density --json`` prints.
    """
    body = _over_batch(report) + _parts(report)
    return section("memory", "Memory of a training step", body)


def _parts(report: Report) -> str:
    need = report["memory"]
    if not need:
        return paragraph("The memory of a step was not computed.")
    peak = need["at_peak"]
    on_cpu = bool(report["gpu"]) and report["gpu"]["device"] == "cpu"
    rows = [
        (what, memory(peak.get(key, 0)), memory(need[f"{key}_bytes"]))
        for key, what in _PARTS
        if need[f"{key}_bytes"] and (on_cpu or key != _ON_CPU_ONLY)
    ]
    rows.append(("all", memory(need["total_bytes"]), NONE))
    rest = need["total_bytes"] - peak.get("assigner", 0)
    for version, n_bytes in (report["ultralytics_assigner_by_version"] or {}).items():
        what = f"all, with the assigner of Ultralytics {version}"
        rows.append((what, memory(rest + n_bytes), memory(n_bytes)))
    words = (
        "Lines are not at their highest together: gradients come when activations go. So the "
        "peak is less than the sum of the second column. Beside an assigner of Ultralytics that "
        "column is the assigner alone."
    )
    headings = f"batch {report['batch']}", "at the peak", "at its highest"
    return paragraph(words) + table("Memory of a step", headings, rows)


def _over_batch(report: Report) -> str:
    rows, gpu, suggest = report["memory_over_batch"], report["gpu"], report["suggest"]
    if not rows:
        return ""
    dense = [
        row["total_bytes"] - row["assigner_bytes"] + row["ultralytics_assigner_bytes"]
        for row in rows
    ]
    level = (
        Level(name=f"GiB usable on {gpu['name']}", value=gpu["usable_bytes"] / GIB) if gpu else None
    )
    told = ", ".join(f"batch {row['batch']} {memory(row['total_bytes'])}" for row in rows)
    picture = stacked_bars(
        "plot-memory",
        f"Memory of a step over the batch: {told}",
        [str(row["batch"]) for row in rows],
        [
            Series(name=name, values=[_sum(row, keys) / GIB for row in rows])
            for name, keys in _STACK
        ],
        level=level,
        dashed=Series(name="with Ultralytics' assigner", values=[n / GIB for n in dense]),
        marked=str(suggest["batch"]) if suggest else None,
        top=_top([row["total_bytes"] / GIB for row in rows], [n / GIB for n in dense], level),
    )
    keys = [(f"s{i}", name) for i, (name, _) in enumerate(_STACK)]
    keys.append(("dash", "all, with Ultralytics' dense assigner"))
    words = "GiB over images a batch. An arrow marks what is higher than the plot."
    if suggest and suggest["batch"] in [row["batch"] for row in rows]:
        words += f" The shaded batch is the suggested one, {suggest['batch']}."
    return paragraph(words) + legend(keys) + picture + _over_batch_table(rows, dense)


def _sum(row: Report, keys: Sequence[str]) -> int:
    return sum(row[f"{key}_bytes"] for key in keys)


def _over_batch_table(rows: list[Report], dense: list[int]) -> str:
    return table(
        "Memory over the batch",
        ("batch", "all", "assigner", "Ultralytics' assigner", "all with that"),
        [
            (
                str(row["batch"]),
                memory(row["total_bytes"]),
                memory(row["assigner_bytes"]),
                memory(row["ultralytics_assigner_bytes"]),
                memory(total),
            )
            for row, total in zip(rows, dense, strict=True)
        ],
    )


def _top(totals: list[float], dense: list[float], level: Level | None) -> float:
    """Where the plot ends: the GPU's line stays in the middle, whatever others need."""
    highest = max(*totals, *dense)
    if level is None:
        return min(highest, _HIGHEST * max(totals)) * 1.05
    return max(_HEADROOM * level.value, min(highest, _HIGHEST * level.value) * 1.05)
