"""Growth of time and memory with the number of boxes and with the image size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from benchmarks.assigner_measuring import LEAST_MB, Cost, TooLarge, measure
from benchmarks.assigner_scenes import Case

OVER_BOXES = tuple(
    Case(n_images=8, n_boxes=n, n_classes=136, side=640) for n in (50, 100, 200, 500, 1000, 2000)
)
OVER_SIZE = tuple(
    Case(n_images=4, n_boxes=500, n_classes=136, side=px) for px in (320, 480, 640, 960, 1280, 1536)
)
TASKS = ("ultralytics", "sparse_tal", "ultralytics_loss", "loss_tal")

Sweep = Literal["boxes", "px"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One case of a sweep."""

    sweep: Sweep
    case: Case
    costs: dict[str, Cost]
    too_large: dict[str, TooLarge] = field(default_factory=dict)

    @property
    def value(self) -> int:
        """Swept quantity: mean boxes per image, or image side in pixels."""
        return self.case.n_boxes if self.sweep == "boxes" else self.case.side


def growth(
    tasks: Sequence[str] | None, largest: int | None, limits: tuple[int, str, float]
) -> list[Point]:
    """Measure both sweeps.

    Args:
        tasks: Task names; None for all of this module.
        largest: Number of cases per sweep; None for all.
        limits: Last three arguments of ``measure``.
    """
    points = []
    sweeps: tuple[tuple[Sweep, tuple[Case, ...]], ...] = (("boxes", OVER_BOXES), ("px", OVER_SIZE))
    for sweep, cases in sweeps:
        for case in cases[:largest]:
            results = measure(case, tasks or TASKS, *limits)
            costs = {task: cost for task, cost in results.items() if isinstance(cost, Cost)}
            skipped = {task: cost for task, cost in results.items() if isinstance(cost, TooLarge)}
            points.append(Point(sweep=sweep, case=case, costs=costs, too_large=skipped))
    return points


def growth_table(points: Sequence[Point]) -> str:
    """Format both sweeps as a table."""
    lines = ["| images x boxes, classes, px | over | pairs | task | s | MB |", "|" + "---|" * 6]
    for point in points:
        start = f"| {point.case} | {point.sweep} |"
        lines += [
            f"{start} {cost.pairs:,} | {task} | {cost.s:.4f} | {cost.mb:.1f} |"
            for task, cost in point.costs.items()
        ]
        lines += [f"{start} | {task} | - | - ({why}) |" for task, why in point.too_large.items()]
    return "\n".join(lines)


def plot(points: Sequence[Point], path: Path) -> None:
    """Plot both sweeps, time above memory, as a 1,800 px wide image.

    Args:
        points: At least one point of each sweep.
        path: Image to write.
    """
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, sweep in enumerate(("boxes", "px")):
        sweep_points = [point for point in points if point.sweep == sweep]
        _lines(axes[0, column], sweep_points, lambda cost: cost.s)
        _lines(axes[1, column], sweep_points, lambda cost: max(cost.mb, LEAST_MB))
        case = sweep_points[0].case
        fixed = f"{case.side} px" if sweep == "boxes" else f"{case.n_boxes} boxes per image"
        axes[0, column].set_title(f"{case.n_images} images, {case.n_classes} classes, {fixed}")
    axes[1, 0].set_xlabel("mean boxes per image")
    axes[1, 1].set_xlabel("image side, px")
    axes[0, 0].set_ylabel("time per call, s")
    axes[1, 0].set_ylabel(f"memory per call, MB (from {LEAST_MB:g})")
    axes[0, 0].legend()
    figure.savefig(path, dpi=200)


def _lines(axis: Axes, points: Sequence[Point], measured: Callable[[Cost], float]) -> None:
    """Draw a line for each task over the swept quantity."""
    for task in dict.fromkeys(task for point in points for task in point.costs):
        known = [point for point in points if task in point.costs]
        axis.plot(
            [point.value for point in known],
            [measured(point.costs[task]) for point in known],
            "--" if task.startswith("ultralytics") else "-",
            marker="s" if "loss" in task else "o",
            label=task,
        )
    axis.set(xscale="log", yscale="log")
    axis.xaxis.set_major_locator(FixedLocator([point.value for point in points]))
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_locator(NullLocator())
    axis.grid(alpha=0.3)
