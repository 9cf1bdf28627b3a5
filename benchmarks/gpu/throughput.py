"""Images per second of ``omr train`` and plain ``yolo train``, and a breakdown of their time.

    python -m benchmarks.gpu.throughput --work WORK --out FILE.json [--small] [--device cpu|0]

Both train the same model on the same files, with the same batch, loader processes, precision,
optimiser and shifts. Every measurement is a separate process. Those of a group are set up at the
same time, and then run one after the other. The most important group comes first.
"""

import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.gpu.figures import PHASES, Figures, Setup, read_figures
from benchmarks.gpu.results import POLL_S, Results, data_step_parser, wait_for_data
from benchmarks.gpu.waiting_process import WaitingProcess

WHOLE, COCO_LIKE = "whole", "coco_like"
TITLES = {WHOLE: "full pages", COCO_LIKE: "COCO-like density"}
RATIO_GOALS = {WHOLE: 5.0, COCO_LIKE: 1.0}
"""Goal: minimum ratio of images/s of ``omr train`` and ``yolo train``."""
BUSY_GOAL = 90.0
"""Goal: minimum GPU utilisation in percent."""
BATCH, IMGSZ = 64, 640  # pages of 1,200 symbols: Ultralytics' assigner needs about 20 GB
MAX_WORKERS = 16
LEAST_GROUP_S = 25.0
"""Remaining seconds below which no further group is started."""
SETUP_SHARE = 0.6
"""Fraction of the remaining time after which processes that are not set up are skipped."""
FIRST_GUESS_S = 6.0
"""Expected seconds of a measurement before the first one has been made."""
VARIANTS_S = 15.0
"""Time limit of the variants, whose search for convolution algorithms may take long."""
COLUMNS = (
    "trainer",
    "images/s",
    "step ms",
    "batch",
    "precision",
    "loader processes",
    "labels per image",
    "peak GiB",
    "NVML %",
    "kernels %",
    "kernels per step",
    "host waits per step",
)
DIFFERENCES = (
    "Alike in both trainers: model, files, batch, loader processes, precision, AdamW with the same "
    "learning rate and a step per batch, moving average, shifts, size changes and brightness; "
    "validation, saving and plots are off, and so are mosaic, flips, hue, saturation, and the "
    "restriction to deterministic algorithms."
)
LABELS_NOTE = (
    "Ultralytics' augmentation drops boxes with a side of 2 px or less. `yolo, all labels` keeps "
    "those that omr keeps, so that both train on the same labels; `yolo` has its own rule."
)
OWN_NOTE = (
    "Only omr checks loss, gradients and BatchNorm statistics for NaN and Inf in every step, and "
    "counts the symbols that augmentation sees."
)
BUSY_NOTE = (
    "kernels %: time per step in which a kernel runs, from a profiled window after the clean one, "
    "divided by the step time of the measured window. Phases are timed by CUDA events in steps of "
    "their own; on a CPU by the host's clock."
)

Kind = Literal["omr", "yolo", "yolo, all labels", "variants"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Planned measurement."""

    kind: Kind
    data: str
    details: bool = False
    """Whether to measure phases and kernels too."""
    repeated: bool = False
    """Whether it repeats an earlier measurement."""


PLANS: tuple[tuple[Plan, ...], ...] = (
    (
        Plan(kind="omr", data=WHOLE, details=True),
        Plan(kind="yolo, all labels", data=WHOLE, details=True),
        Plan(kind="yolo", data=COCO_LIKE, details=True),
        Plan(kind="omr", data=COCO_LIKE, details=True),
    ),
    (
        Plan(kind="yolo, all labels", data=WHOLE, repeated=True),
        Plan(kind="omr", data=WHOLE, repeated=True),
        Plan(kind="omr", data=COCO_LIKE, repeated=True),
        Plan(kind="yolo", data=COCO_LIKE, repeated=True),
    ),
    (Plan(kind="yolo", data=WHOLE), Plan(kind="variants", data=COCO_LIKE)),
)
"""Measurements in order of importance; those of a group are set up together, which takes about 20
seconds, and the trainers alternate in being first."""
SMALL_PLANS = ((PLANS[0][0], PLANS[0][1], PLANS[2][1]),)
"""One measurement of each kind, because processes take seconds to start on a CPU."""


class Throughput:
    """Runs the measurements and fills the tables.

    Args:
        results: Tables and goals of the step.
        base: Setup that all measurements share; ``trainer``, ``data`` and ``out`` are replaced.
        work: Folder of the data sets.
        deadline: Time of ``time.monotonic`` at which everything must have ended.
    """

    def __init__(self, results: Results, base: Setup, work: Path, deadline: float) -> None:
        self._results, self._base, self._work = results, base, work
        self._deadline = deadline
        self._expected_s = FIRST_GUESS_S
        self._figures: dict[tuple[str, Kind], list[Figures]] = {}

    def run(self, plans: Sequence[Plan], group: int) -> None:
        """Run the measurements of a group in order, while time remains."""
        if group and self._deadline - time.monotonic() < LEAST_GROUP_S:
            names = ", ".join(f"{plan.kind} on {TITLES[plan.data]}" for plan in plans)
            self._results.note(f"Not measured for want of time: {names}.")
            return
        processes = [self._start(plan, f"{group}-{number}") for number, plan in enumerate(plans)]
        try:
            self._wait_for_setup(processes)
            for plan, process in zip(plans, processes, strict=True):
                self._measure(plan, process)
        finally:
            for process in processes:
                process.stop()

    def _start(self, plan: Plan, name: str, batch: int = 0) -> WaitingProcess:
        setup = replace(
            self._base,
            trainer="omr" if plan.kind in ("omr", "variants") else "yolo",
            all_labels=plan.kind == "yolo, all labels",
            data=str(self._work / plan.data),
            out=str(self._work / "throughput" / name),
            batch=batch or self._base.batch,
            detail_steps=self._base.detail_steps if plan.details else 0,
        )
        return WaitingProcess("variants" if plan.kind == "variants" else "training_run", setup)

    def _wait_for_setup(self, processes: Sequence[WaitingProcess]) -> None:
        """Wait until all processes are set up, so that this does not disturb measurements."""
        begin = time.monotonic()
        latest = begin + SETUP_SHARE * (self._deadline - begin)
        while time.monotonic() < latest:
            if all(process.ready or process.ended for process in processes):
                break
            time.sleep(POLL_S)
        n_ready = sum(process.ready for process in processes)
        elapsed = time.monotonic() - begin
        print(f"{n_ready} of {len(processes)} processes set up in {elapsed:.1f} s", flush=True)

    def _measure(self, plan: Plan, process: WaitingProcess) -> None:
        name = f"{plan.kind}, {TITLES[plan.data]}"
        if self._deadline - time.monotonic() < self._expected_s:
            self._results.note(f"Not measured for want of time: {name}.")
            return
        begin = time.monotonic()
        if plan.kind == "variants":
            self._add_variants(process)
            return
        self._wait(process)
        self._expected_s = time.monotonic() - begin
        figures = read_figures(process.out / "figures.json")
        if figures is None:
            self._results.note(f"Not measured: {name}: {process.last_line()}")
            print(process.log(), flush=True)
            return
        self._add(plan, figures)

    def _wait(self, process: WaitingProcess) -> None:
        process.go()
        while not process.ended and time.monotonic() < self._deadline:
            time.sleep(POLL_S)
        process.stop()

    def _add(self, plan: Plan, figures: Figures) -> None:
        """Add the row of a measurement, and everything derived from it."""
        title = f"Throughput, {TITLES[plan.data]}"
        if not self._results.tables or self._results.tables[-1].title != title:
            self._results.table(title, COLUMNS)
        self._results.row(*throughput_row(plan, figures, self._base))
        self._figures.setdefault((plan.data, plan.kind), []).append(figures)
        if figures.one_by_one:
            self._results.note(
                f"{plan.kind}, {TITLES[plan.data]}: the assigner ran out of memory and went on "
                "image by image."
            )
        self._compare(plan)

    def _compare(self, plan: Plan) -> None:
        """Record the goals of a data set as soon as both trainers have been measured on it."""
        peer: Kind = "yolo, all labels" if plan.data == WHOLE else "yolo"
        if plan.kind not in ("omr", peer):
            return
        ours, theirs = (self._figures.get((plan.data, kind), []) for kind in ("omr", peer))
        if not ours or not theirs:
            return
        if theirs[-1].batch < ours[-1].batch:
            self._repeat_with_smaller_batch(theirs[-1].batch, plan.data)
        if not plan.repeated:
            self._add_phases(plan.data, {"omr": ours[0], peer: theirs[0]})
        same = [one for one in ours if one.batch == theirs[-1].batch] or ours
        self._record_ratio(plan.data, peer, same, theirs)
        self._record_busy()

    def _repeat_with_smaller_batch(self, batch: int, data: str) -> None:
        """Measure ``omr train`` with the largest batch that ``yolo train`` can use."""
        plan = Plan(kind="omr", data=data)
        if any(figures.batch == batch for figures in self._figures[data, "omr"]):
            return
        process = self._start(plan, f"{data}-{batch}", batch)
        self._wait(process)
        figures = read_figures(process.out / "figures.json")
        if figures is not None:
            self._results.row(*throughput_row(plan, figures, self._base))
            self._figures[data, "omr"].append(figures)

    def _record_ratio(
        self, data: str, peer: str, ours: Sequence[Figures], theirs: Sequence[Figures]
    ) -> None:
        goal = RATIO_GOALS[data]
        ratio, text = speed_ratio(ours, theirs)
        met = None if self._base.device == "cpu" else ratio >= goal
        self._record(f"images/s on {TITLES[data]}, at least {goal:g} times `{peer}`", text, met)

    def _record_busy(self) -> None:
        shares = {
            data: busy_share(figures[0])
            for (data, kind), figures in self._figures.items()
            if kind == "omr"
        }
        measured = {data: share for data, share in shares.items() if share is not None}
        text = ", ".join(f"{share:.0f} % on {TITLES[data]}" for data, share in measured.items())
        met = min(measured.values()) >= BUSY_GOAL if measured else None
        self._record(f"GPU busy in `omr train`, at least {BUSY_GOAL:g} %", text, met)

    def _record(self, name: str, figure: str, met: bool | None) -> None:
        """Record a goal, replacing an earlier figure for it."""
        goals = self._results.goals
        goals[:] = [goal for goal in goals if goal.name != name]
        self._results.goal(name, figure, met)

    def _add_phases(self, data: str, figures: dict[str, Figures]) -> None:
        columns = ("trainer", *PHASES, "sum")
        self._results.table(f"Where the time goes, {TITLES[data]}: ms per step", columns)
        for kind, one in figures.items():
            self._results.row(kind, *phase_cells(one.phases_ms))

    def _add_variants(self, process: WaitingProcess) -> None:
        """Add the rows of the variants as they become available."""
        columns = ("variant", "step ms", "launched by the host after ms")
        title = f"Variants: yolo11n, {self._base.batch} images of {self._base.imgsz} px, no loader"
        self._results.table(title, columns)
        process.go()
        file, n_added, ended = process.out / "variants.json", 0, False
        until = min(self._deadline, time.monotonic() + VARIANTS_S)
        while not ended and time.monotonic() < until:
            ended = process.ended  # before the file is read, so as not to miss its last rows
            rows: list[list[Any]] = json.loads(file.read_text("utf-8")) if file.is_file() else []
            for name, step_ms, host_ms in rows[n_added:]:
                self._results.row(name, round(step_ms, 2), round(host_ms, 2))
            n_added = len(rows)
            time.sleep(POLL_S)
        process.stop()
        if not n_added:
            self._results.note(f"Variants were not measured: {process.last_line()}")


def throughput_row(plan: Plan, figures: Figures, setup: Setup) -> tuple[Any, ...]:
    """Format the row of a measurement; see ``COLUMNS``."""
    return (
        f"{plan.kind} (again)" if plan.repeated else plan.kind,
        round(figures.images_per_s, 1),
        round(figures.step_ms, 1),
        figures.batch,
        setup.precision,
        setup.workers,
        round(figures.symbols_per_image),
        rounded(figures.peak_gib),
        rounded(figures.utilisation),
        rounded(figures.busy),
        rounded(figures.kernels_per_step),
        rounded(figures.waits_per_step),
    )


def phase_cells(phases_ms: dict[str, float]) -> tuple[float | None, ...]:
    """Format the phases of a step in the order of ``PHASES``, and their sum."""
    cells = [rounded(phases_ms.get(name)) for name in PHASES]
    return (*cells, rounded(sum(phases_ms.values()) if phases_ms else None))


def rounded(value: float | None) -> float | None:
    """Round to one digit; None stays None."""
    return None if value is None else round(value, 1)


def speed_ratio(ours: Sequence[Figures], theirs: Sequence[Figures]) -> tuple[float, str]:
    """Compare two trainers by the medians of their measurements.

    Args:
        ours: Measurements of ``omr train``, at least one.
        theirs: Measurements of ``yolo train``, at least one.

    Returns:
        Ratio of images/s, and a text with both figures.
    """
    our_speed, their_speed = (
        statistics.median(one.images_per_s for one in all_) for all_ in (ours, theirs)
    )
    batch = f"batch {theirs[-1].batch}"
    ratio = our_speed / their_speed
    return ratio, f"{ratio:.2f} times: {our_speed:.1f} and {their_speed:.1f} images/s, {batch}"


def busy_share(figures: Figures) -> float | None:
    """Return the GPU utilisation in percent, by kernels or else by NVML."""
    return figures.busy if figures.busy is not None else figures.utilisation


def main() -> None:
    """Run all measurements within the time limit."""
    parser = data_step_parser(__doc__.splitlines()[0], "a few steps, for a CPU", 75.0)
    options = parser.parse_args()
    deadline = time.monotonic() + options.limit
    results = Results(options.out)
    for note in (DIFFERENCES, LABELS_NOTE, OWN_NOTE, BUSY_NOTE):
        results.note(note)
    wait_for_data(options.work, (WHOLE, COCO_LIKE), options.limit / 2)
    base = base_setup(small=options.small, device=options.device)
    plans = SMALL_PLANS if options.small else PLANS
    throughput = Throughput(results, base, options.work, deadline)
    for number, group in enumerate(plans):
        throughput.run(group, number)


def base_setup(*, small: bool, device: str) -> Setup:
    """Choose the setup shared by all measurements."""
    workers = max(1, min(MAX_WORKERS, (os.cpu_count() or 1) - 2))
    full = Setup(
        trainer="omr",
        data="",
        out="",
        device="0" if device == "cuda" else device,
        batch=BATCH,
        imgsz=IMGSZ,
        workers=workers,
        warm_up=6,
        steps=40,
        max_seconds=4.0,
        detail_steps=5,
    )
    if not small:
        return full
    short = replace(full, warm_up=1, steps=2, max_seconds=5.0, detail_steps=1)
    return replace(short, batch=4, imgsz=160, workers=0)


if __name__ == "__main__":
    main()
