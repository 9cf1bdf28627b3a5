"""Assigners and losses on a device: ``python -m benchmarks.gpu.assigner --out FILE.json``.

The tasks and batches are those of ``benchmarks.assigner``, in one process. Time is that of the
fastest call; memory is the peak growth of torch's tensors.
"""

import time
from collections.abc import Iterator, Sequence

import torch

from benchmarks import assigner_cuda, assigner_memory
from benchmarks.assigner_measuring import LEAST_MB, Cost, fastest
from benchmarks.assigner_scenes import Case, Scene, draw
from benchmarks.assigner_tasks import TASKS, estimated_gb, n_positives, peers
from benchmarks.gpu.results import Results, step_parser
from training.assigners.candidate_pairs import pairs_inside

PAIR = "ultralytics", "sparse_tal"
LOSSES = "ultralytics_loss", "loss_tal"
OTHERS = "sparse_simota", "static", "loss_simota", "loss_static"
CASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("32x1250x20x640", (*PAIR, *LOSSES)),
    ("16x7x80x640", (*PAIR, *LOSSES)),
    ("8x2000x136x640", (*PAIR, *LOSSES)),
    ("256x1250x136x640xbf16", ("loss_tal",)),
    ("32x1250x20x640", OTHERS),
    ("16x7x80x640", OTHERS),
)
"""Images, mean boxes per image, classes and pixels, with the measured tasks; most important cases
first, because the time limit may skip the last ones."""
SMALL_CASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("2x200x20x320", (*PAIR, *LOSSES, *OTHERS)),
    ("2x7x20x320", LOSSES),
)
DENSE, SPARSE = "32x1250x20x640", "16x7x80x640"
MOST_GB = 40.0
"""Memory beyond which a task of Ultralytics is skipped."""
CPU_GB = 4.0
CASE_S = 8.0
"""Remaining seconds below which no case is started."""
COLUMNS = (
    "images x boxes, classes, px", "pairs", "task", "positives per box", "ms",
    "ultralytics / this", "MB", "ultralytics / this (MB)", "kernels", "host waits",
    "copies to host",
)  # fmt: skip


def main() -> None:
    """Measure all cases in order."""
    options = step_parser(__doc__.splitlines()[0], "small batches").parse_args()
    end = time.monotonic() + options.limit
    results = Results(options.out)
    results.table("One call", COLUMNS)
    costs: dict[tuple[str, str], Cost] = {}
    for text, tasks in SMALL_CASES if options.small else CASES:
        left = end - time.monotonic()
        if left < CASE_S:
            results.note(f"{text} ({', '.join(tasks)}) is missing: the time was used up.")
            continue
        for task, cost in costs_of(Case.parse(text), tasks, options.device):
            costs[text, task] = cost
            results.row(*_row(Case.parse(text), task, costs, text))
    for name, figure, met in goals(costs, on_gpu=options.device == "cuda"):
        results.goal(name, figure, met)


def costs_of(case: Case, tasks: Sequence[str], device: str) -> Iterator[tuple[str, Cost]]:
    """Measure tasks one after the other on the same batch; skip those that need too much memory.

    Args:
        case: Size of the batch.
        tasks: Names in ``TASKS``.
        device: ``cuda`` or ``cpu``.
    """
    most_gb = MOST_GB if device == "cuda" else CPU_GB
    scene = draw(case).to(device)
    pairs = len(pairs_inside(scene.anchors, scene.targets)[0])
    for task in tasks:
        if estimated_gb(task, case) <= most_gb:
            yield task, _cost(scene, task, pairs, device)
        if device == "cuda":
            torch.cuda.empty_cache()


def _cost(scene: Scene, task: str, pairs: int, device: str) -> Cost:
    call = TASKS[task](scene)
    call()  # warm up: the first call also initialises libraries
    if device == "cuda":
        mb, result = assigner_cuda.added_mb(call)
        counted = assigner_cuda.counts(call)
    else:
        mb, result = assigner_memory.added_mb(call)
        counted = {}
    positives = n_positives(result)
    del result
    return Cost(
        pairs=pairs,
        s=fastest(call, device),
        mb=mb,
        positives=positives,
        threads=torch.get_num_threads(),
        **counted,
    )


def _row(
    case: Case, task: str, costs: dict[tuple[str, str], Cost], text: str
) -> tuple[str | int | float | None, ...]:
    cost, peer = costs[text, task], costs.get((text, peers(task)[0]))
    n_boxes = max(int(case.counts.sum()), 1)
    seen = peer is not None and min(peer.mb, cost.mb) >= LEAST_MB
    return (
        str(case),
        cost.pairs,
        task,
        None if cost.positives is None else f"{cost.positives / n_boxes:.2f}",
        f"{1000 * cost.s:.3f}",
        None if peer is None else f"{peer.s / cost.s:.2f}",
        f"{cost.mb:.0f}" if cost.mb >= LEAST_MB else f"< {LEAST_MB:.0f}",
        f"{peer.mb / cost.mb:.1f}" if peer is not None and seen else None,
        cost.launches,
        cost.syncs,
        cost.copies,
    )


def goals(
    costs: dict[tuple[str, str], Cost], *, on_gpu: bool
) -> Iterator[tuple[str, str, bool | None]]:
    """Compare the measured costs with the targets, which hold for a GPU only.

    Args:
        costs: Costs by case and task.
        on_gpu: Whether they were measured on a GPU.

    Yields:
        Target, figure and whether the target is met (None if it was not measured).
    """

    def ratio(case: str, tasks: tuple[str, str], field: str) -> float | None:
        dense, sparse = (costs.get((case, task)) for task in tasks)
        if not on_gpu or dense is None or sparse is None:
            return None
        return float(getattr(dense, field)) / max(float(getattr(sparse, field)), 1e-9)

    for name, case, tasks, field, least in (
        ("assigner, 32 x 1,250: at least 5 times faster", DENSE, PAIR, "s", 5.0),
        ("assigner, 32 x 1,250: at least 50 times leaner", DENSE, PAIR, "mb", 50.0),
        ("whole loss, 32 x 1,250: at least 5 times faster", DENSE, LOSSES, "s", 5.0),
        ("whole loss, 32 x 1,250: at least 50 times leaner", DENSE, LOSSES, "mb", 50.0),
        ("whole loss, 16 x 7: not slower", SPARSE, LOSSES, "s", 1.0),
    ):
        times = ratio(case, tasks, field)
        met = None if times is None else times >= least
        yield name, "" if times is None else f"{times:.2f} times", met
    huge = costs.get(("256x1250x136x640xbf16", "loss_tal"))
    yield (
        "whole loss, 256 x 1,250 with 136 classes: at most 32 GB",
        f"{huge.mb / 1024:.1f} GiB" if huge and on_gpu else "",
        huge.mb * 2**20 <= 32e9 if huge and on_gpu else None,
    )
    # A profile without kernels means that the profiler does not work.
    seen = [cost for (_, task), cost in costs.items() if task == "loss_tal" and cost.launches]
    waits = [cost.syncs for cost in seen]
    known = [n for n in waits if n is not None]
    yield (
        "the loss never makes the host wait",
        f"at most {max(known)} waits per call" if known else "",
        not any(known) if known else None,
    )


if __name__ == "__main__":
    main()
