"""Memory of a training step, predicted and measured: ``python -m benchmarks.memory``.

Each line of the results file is a measured step on random pixels and boxes, or one call of
Ultralytics' assigner. Existing lines are not measured again, but predictions are always computed,
so that the tables are those of the current code. ``--device cuda`` measures on a GPU.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from ultralytics import __version__ as ultralytics_version
from ultralytics.utils.tal import TaskAlignedAssigner

from benchmarks.assigner import machine
from benchmarks.multihead_memory import LiveTensors
from eval.reports.density_report import StepMemory
from settings import head_config
from training.memory.batch_search import find_launch
from training.memory.dense_assigner import dense_assigner_bytes
from training.memory.gpus import Gpu
from training.memory.profile import profile_step
from training.memory.step import predict_step
from training.memory.step_spec import StepSpec

MODELS = ("yolo11n", "yolo11s", "yolo11m", "yolo11n, 4 heads")
SIDES = (320, 640)
BATCHES = (1, 2, 4)
PRECISIONS = ("fp32", "bf16")
HEADS = "harmony"
"""Head config for several heads, used with a box branch per group."""
N_CLASSES = 20
"""Classes of a single head."""
BOXES = 300
"""Boxes per image."""
DENSE = ((2, 300, 8400, 20), (4, 1250, 8400, 20), (4, 2000, 2100, 136), (2, 20, 8400, 208))
"""Images, boxes of the fullest image, anchor points and classes."""
FITTED = ("yolo11n", "yolo11s")
NO_MEMORY = "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS", "unable to find an engine"
"""Out-of-memory errors of cuBLAS and cuDNN."""
BEYOND = 1.3
"""Factor of the largest batch that fits at which the memory should be exceeded."""
MOST_IMAGES = 10_000
"""Upper bound of a batch, high enough for the memory to be the limit."""
TIMED = (("yolo11n", 640), ("yolo11x", 1280))
MB, GIB = 2**20, 2**30


def main() -> None:
    """Measure missing rows, and print the tables."""
    options = options_of()
    print(f"{_steps(options)}\n\n{_fitting(options)}\n\n{_dense(options)}\n\n{_times()}\n")
    print(machine(torch.get_num_threads(), options.device, "memory"))


def options_of() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/memory.jsonl"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--models",
        nargs="+",
        default=MODELS,
        help="model names; with suffix ', 4 heads' for several heads",
    )
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="pixels")
    parser.add_argument(
        "--most", type=float, default=4.0, help="largest predicted step to measure, GiB"
    )
    parser.add_argument(
        "--budget", type=float, default=2.0, help="memory for the batch that fits, GiB"
    )
    return parser.parse_args()


def specs_of(options: argparse.Namespace) -> Iterator[tuple[str, StepSpec]]:
    """Yield the compared steps with their model names."""
    for model in options.models:
        for imgsz in options.sides:
            for precision in PRECISIONS:
                for batch in options.batches:
                    spec = spec_of(model, imgsz, precision, batch, options.device)
                    yield model, spec
    if options.device == "cpu":
        guarded = StepSpec(
            model="yolo11n", n_classes=N_CLASSES, batch=2, device="cpu", boxes=2 * BOXES
        )
        yield "yolo11n, guard", guarded


def spec_of(model: str, imgsz: int, precision: str, batch: int, device: str) -> StepSpec:
    """Describe a step with ``BOXES`` symbols per image; ``model`` may end with ``, 4 heads``."""
    name, _, suffix = model.partition(", ")
    heads = replace(head_config.load(HEADS), box="separate") if suffix else None
    return StepSpec(
        model=name,
        n_classes=sum(len(group.classes) for group in heads.groups) if heads else N_CLASSES,
        heads=heads,
        imgsz=imgsz,
        batch=batch,
        precision=precision,  # type: ignore[arg-type]
        device=device,  # type: ignore[arg-type]
        boxes=BOXES * batch,
        guard=False,  # the guard would be half of a small step
    )


def _steps(options: argparse.Namespace) -> str:
    rows = [
        "| model | px | batch | precision | measured MB | predicted MB | off by | peak | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    offs = []
    for name, spec in specs_of(options):
        key = [name, spec.imgsz, spec.batch, spec.precision, spec.device]
        line = _line(options.results, key)
        if line is None and predict_step(spec).total_bytes <= options.most * 2**30:
            line = _measured(options.results, key, spec)
        predicted = predict_step(spec if line is None else replace(spec, pairs=line["pairs"]))
        rows.append(_row(name, spec, predicted, line))
        if line is not None:
            offs.append(predicted.allocated_bytes / line["total_bytes"] - 1)
        print(rows[-1], file=sys.stderr, flush=True)
    most = max(offs, key=abs, default=0.0)
    return "\n".join([*rows, "", f"{len(offs)} measured; at most {most:+.1%} off"])


def _row(name: str, spec: StepSpec, predicted: StepMemory, line: dict[str, Any] | None) -> str:
    cells = [name, spec.imgsz, spec.batch, spec.precision]
    foreseen = f"{predicted.allocated_bytes / MB:.0f}"
    if line is None:
        return f"| {' | '.join(map(str, cells))} | not measured | {foreseen} | | | |"
    off = predicted.allocated_bytes / line["total_bytes"] - 1
    cells += [f"{line['total_bytes'] / MB:.0f}", foreseen, f"{off:+.1%}"]
    cells += [line["peak_phase"] or predicted.peak_phase, f"{line['seconds']:.0f}"]
    return f"| {' | '.join(map(str, cells))} |"


def _measured(results: Path, key: list[Any], spec: StepSpec) -> dict[str, Any]:
    """Measure a step in a separate process."""
    begin = time.monotonic()
    with get_context("spawn").Pool(1) as pool:
        step = pool.apply(profile_step, (spec,))
    return _append(results, key, step.to_json() | {"seconds": time.monotonic() - begin})


def _fitting(options: argparse.Namespace) -> str:
    """Compare the predicted largest batch, and 1.3 times that batch, with limited memory."""
    rows = [
        "| model | px | precision | GiB allowed | batch | measured MB | outcome | 1.3 times | "
        "measured MB | outcome |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    budget = int(options.budget * GIB)
    gpu = Gpu(
        name="the limit", total_bytes=budget, usable_bytes=budget, bf16=True, device=options.device
    )
    for model in FITTED:
        for imgsz in options.sides:
            spec = spec_of(model, imgsz, "bf16", 1, options.device)
            largest = find_launch(partial(with_batch, spec), gpu, MOST_IMAGES, MOST_IMAGES).largest
            cells = [model, imgsz, spec.precision, f"{options.budget:g}"]
            for batch in (largest, ceil(BEYOND * largest)):
                cells += [batch, *_tried(options.results, with_batch(spec, batch), budget)]
            rows.append(f"| {' | '.join(map(str, cells))} |")
            print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join(rows)


def with_batch(spec: StepSpec, batch: int) -> StepSpec:
    """Describe the same step with another batch size."""
    return replace(spec, batch=batch, boxes=BOXES * batch)


def _tried(results: Path, spec: StepSpec, budget: int) -> tuple[str, str]:
    """Return the memory of a step in MB, and whether it fits; on a GPU torch enforces the limit."""
    key = ["fits", spec.model, spec.imgsz, spec.batch, spec.precision, spec.device, budget]
    line = _line(results, key)
    if line is None:
        with get_context("spawn").Pool(1) as pool:
            line = _append(results, key, pool.apply(within, (spec, budget)))
    total = line["total_bytes"]
    if total is None:
        return "", "out of memory"
    return f"{total / MB:.0f}", "runs" if line["runs"] else "exceeds"


def within(spec: StepSpec, budget: int) -> dict[str, Any]:
    """Run real steps with limited memory.

    On a CPU the memory of tensors cannot be limited, so it is compared with the limit afterwards.
    """
    if spec.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(
            min(budget / torch.cuda.get_device_properties(0).total_memory, 1.0)
        )
    try:
        total = profile_step(spec).total_bytes
    except torch.cuda.OutOfMemoryError:
        return {"total_bytes": None, "runs": False}
    except RuntimeError as error:
        if not any(text in str(error) for text in NO_MEMORY):
            raise
        return {"total_bytes": None, "runs": False}
    finally:
        if spec.device == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
    return {"total_bytes": total, "runs": total <= budget}


def _dense(options: argparse.Namespace) -> str:
    rows = [
        "| Ultralytics | batch | boxes of the fullest | anchor points | classes | measured MB | "
        "predicted MB | off by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for sizes in DENSE:
        key = ["assigner", ultralytics_version, *sizes]
        line = _line(options.results, key)
        line = line or _append(options.results, key, {"total_bytes": dense_peak(*sizes)})
    for line in _lines(options.results):
        if line["key"][0] == "assigner":
            _, version, *sizes = line["key"]
            predicted = dense_assigner_bytes(version, *sizes)
            cells = [version, *sizes, f"{line['total_bytes'] / MB:.0f}", f"{predicted / MB:.0f}"]
            cells.append(f"{predicted / line['total_bytes'] - 1:+.1%}")
            rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def dense_peak(n_images: int, n_boxes: int, n_points: int, n_classes: int) -> int:
    """Measure the peak bytes of Ultralytics' assigner for boxes of 5 to 30 px on 640 px images."""
    torch.manual_seed(0)
    assigner = TaskAlignedAssigner(
        topk=10, num_classes=n_classes, alpha=0.5, beta=6.0, stride=[8, 16, 32]
    )
    corners = torch.rand(n_images, n_boxes, 2) * 600
    boxes = torch.cat((corners, corners + 5 + 25 * torch.rand(n_images, n_boxes, 2)), dim=2)
    pred_corners = torch.rand(n_images, n_points, 2) * 600
    inputs = (
        torch.rand(n_images, n_points, n_classes),
        torch.cat((pred_corners, pred_corners + 20), dim=2),
        torch.rand(n_points, 2) * 640,
        torch.randint(0, n_classes, (n_images, n_boxes, 1)).float(),
        boxes,
        torch.ones(n_images, n_boxes, 1),
    )
    with LiveTensors() as live:
        assigner(*inputs)
    peak: int = live.peak
    return peak


def _times() -> str:
    rows = [
        "| model | px | first prediction, CPU s | another batch, ms |",
        "|---|---|---|---|",
    ]
    for model, imgsz in TIMED:
        with get_context("spawn").Pool(1) as pool:
            first, other = pool.apply(_time, (model, imgsz))
        rows.append(f"| {model} | {imgsz} | {first:.1f} | {1000 * other:.0f} |")
    return "\n".join(rows)


def _time(model: str, imgsz: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    spec = StepSpec(model=model, n_classes=N_CLASSES, imgsz=imgsz, boxes=BOXES, device="cuda")
    begin = time.process_time()
    predict_step(spec)
    first = time.process_time()
    predict_step(replace(spec, batch=2 * spec.batch, boxes=2 * spec.boxes))
    return first - begin, time.process_time() - first


def _lines(results: Path) -> list[dict[str, Any]]:
    if not results.is_file():
        return []
    return [json.loads(line) for line in results.read_text("utf-8").splitlines()]


def _line(results: Path, key: list[Any]) -> dict[str, Any] | None:
    return next((line for line in _lines(results) if line["key"] == key), None)


def _append(results: Path, key: list[Any], figures: dict[str, Any]) -> dict[str, Any]:
    line = {"key": key, **figures}
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return line


if __name__ == "__main__":
    main()
