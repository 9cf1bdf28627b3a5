"""Time and memory of assigners and losses: ``python -m benchmarks.assigner``.

Every task of a case runs in a separate process, and the tasks take turns. Time is that of the
fastest call. Memory is the peak that a call adds, on a CPU to the process (RSS), on a CUDA device
to torch's tensors. See ``--help`` for the options.
"""

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.assigner_growth import growth, growth_table, plot
from benchmarks.assigner_measuring import LEAST_MB, LONG_S, TURN_S, WAITING, Cost, TooLarge, measure
from benchmarks.assigner_scenes import Case
from benchmarks.assigner_tasks import TASKS, peers
from converters.versions import TOOLKIT, installed_versions

CASES = (
    "16x7x80x640",
    "4x1250x208x640",
    "32x1250x20x640",
    "16x200x80x640",
    "8x2000x136x640",
    "4x1250x136x1280",
    "32x100x20x320",
    "384x100x20x320",
)
"""Images, mean boxes per image, classes, image side in pixels; the first has COCO's density."""
CUDA_CASES = (*CASES, "256x1250x136x640xbf16")
ONLY = {
    "384x100x20x320": ("ultralytics", "sparse_tal", "sparse_simota", "plain_simota"),
    "256x1250x136x640xbf16": ("loss_tal",),
}
"""Tasks of cases that do not run all tasks."""

Costs = Mapping[str, Cost | TooLarge]


def table_head(device: str) -> str:
    """Format the head of the table."""
    titles = [
        "images x boxes, classes, px",
        "pairs",
        "task",
        "assigned a box",
        "s",
        "ultralytics / this",
        "this / sparse TAL",
        "MiB",
        "ultralytics / this",
    ]
    titles += [] if device == "cpu" else ["kernels", "syncs", "copies to host"]
    return f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}"


def table_row(case: Case, task: str, costs: Costs, device: str) -> str:
    """Format the cost of a task."""
    cost = costs[task]
    if isinstance(cost, TooLarge):
        cells = [str(case), "", task, "", "-", "-", "-", f"- ({cost})", "-"]
        return f"| {' | '.join(cells + ([] if device == 'cpu' else ['-'] * 3))} |"
    dense, sparse = (_cost(costs, peer) for peer in peers(task))
    n_boxes = max(int(case.counts.sum()), 1)
    cells = [
        str(case),
        f"{cost.pairs:,}",
        task,
        "" if cost.positives is None else f"{cost.positives / n_boxes:.2f}",
        f"{cost.s:.4f}",
        _ratio(dense.s, cost.s) if dense else "-",
        _ratio(cost.s, sparse.s) if sparse else "-",
        f"{cost.mb:.0f}" if cost.mb >= LEAST_MB else f"< {LEAST_MB:.0f}",
        _ratio(dense.mb, cost.mb) if dense and min(dense.mb, cost.mb) >= LEAST_MB else "-",
    ]
    if device != "cpu":
        cells += [str(cost.launches), str(cost.syncs), str(cost.copies)]
    return f"| {' | '.join(cells)} |"


def _cost(costs: Costs, task: str) -> Cost | None:
    cost = costs.get(task)
    return cost if isinstance(cost, Cost) else None


def _ratio(above: float, below: float) -> str:
    return f"{above / below:.2f}" if above < 10 * below else f"{above / below:.0f}"


def machine(threads: int, device: str, module: str = "assigner") -> str:
    """Describe machine, versions and command."""
    versions = installed_versions("torch", "ultralytics", TOOLKIT)
    lines = Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""
    models = [line.split(":", 1)[1].strip() for line in lines.splitlines() if "model name" in line]
    policy = (WAITING | os.environ)["OMP_WAIT_POLICY"]
    gpu = "no GPU" if device == "cpu" else torch.cuda.get_device_name()
    parts = [
        f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {gpu}",
        f"Python {platform.python_version()}",
        *(f"{name} {version}" for name, version in versions.items()),
        f"{threads} threads, wait policy {policy.lower()}",
    ]
    command = shlex.join(["python", "-m", f"benchmarks.{module}", *sys.argv[1:]])
    return f"{'; '.join(parts)}.\nCommand: `{command}`"


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--largest", type=int, help="number of cases, or of cases per sweep (default: all)"
    )
    parser.add_argument(
        "--cases", nargs="+", type=Case.parse, metavar="IMAGESxBOXESxCLASSESxPX[xbf16]"
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--repeats", type=int, default=5, help="rounds after the warm-up call")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--most-gb",
        type=float,
        default=12,
        help="memory limit of a task; tasks with a higher estimate are skipped",
    )
    parser.add_argument("--growth", action="store_true", help="sweep boxes and image size")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="plot of --growth")
    options = parser.parse_args(arguments)
    if options.plot and not options.growth:
        parser.error("--plot: requires --growth")
    return options


def main() -> None:
    """Print the table."""
    options = options_of()
    device = options.device
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("benchmarks.assigner: --device cuda: no CUDA device available")
    torch.set_num_threads(options.threads)
    limits = options.repeats, device, options.most_gb
    if options.growth:
        points = growth(options.tasks, options.largest, limits)
        print(growth_table(points))
        if options.plot:
            plot(points, options.plot)
        threads = {cost.threads for point in points for cost in point.costs.values()}
    else:
        threads = tables(options.cases, options.tasks, options.largest, limits)
    rounds = f"{options.repeats} rounds of {TURN_S} s"
    print(f"\nTime: the fastest call of {rounds}, or the first if it takes over {LONG_S:.0f} s.")
    print(machine(max(threads, default=0), device))


def tables(
    cases: Sequence[Case] | None,
    tasks: Sequence[str] | None,
    largest: int | None,
    limits: tuple[int, str, float],
) -> set[int]:
    """Measure and print all cases.

    Returns:
        Thread counts of the processes.
    """
    _, device, _ = limits
    known = [Case.parse(text) for text in (CASES if device == "cpu" else CUDA_CASES)]
    threads = set()
    print(table_head(device))
    for case in cases or known[:largest]:
        selected = [task for task in ONLY.get(case.text, TASKS) if task in (tasks or TASKS)]
        costs = measure(case, selected, *limits)
        for task in selected:
            print(table_row(case, task, costs, device), flush=True)
        threads |= {cost.threads for cost in costs.values() if isinstance(cost, Cost)}
    return threads


if __name__ == "__main__":
    main()
