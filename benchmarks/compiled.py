"""Training step of yolo11n with and without ``torch.compile``: ``python -m benchmarks.compiled``.

Network, loss and backward pass on random pixels and boxes, on a CPU. Steps of both alternate, so
that other load on the machine affects both equally.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from ultralytics.cfg import get_cfg

from benchmarks.assigner import machine
from training.losses.detection import detection_criterion
from training.losses.loss_options import LossOptions
from training.memory.meta_model import trained_model

MODEL, N_CLASSES, BOXES = "yolo11n", 20, 60
"""Boxes per image."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=8)
    options = parser.parse_args()
    step = Step(options.batch, options.imgsz)
    network = step.network
    compiled = torch.compile(network)
    step(network)
    first = step(compiled)
    times: dict[str, list[float]] = {"eager": [], "compiled": []}
    for _ in range(options.repeats):
        times["eager"].append(step(network))
        times["compiled"].append(step(compiled))
    print("| step | median s | fastest s | eager / this (fastest) | first step s |")
    print("|---|---|---|---|---|")
    for name, seconds in times.items():
        ratio = min(times["eager"]) / min(seconds)
        start = f"{first:.0f}" if name == "compiled" else ""
        median, fastest = statistics.median(seconds), min(seconds)
        print(f"| {name} | {median:.2f} | {fastest:.2f} | {ratio:.2f} | {start} |")
    print(f"\n{machine(torch.get_num_threads(), 'cpu', 'compiled')}")


class Step:
    """Training step without the optimiser.

    Args:
        batch: Batch size.
        imgsz: Height and width in pixels.
        model: Name of the model.
    """

    def __init__(self, batch: int, imgsz: int, model: str = MODEL) -> None:
        torch.manual_seed(0)
        self.network = trained_model(model, N_CLASSES).train().to(memory_format=torch.channels_last)
        self.network.args = get_cfg()
        self.criterion = detection_criterion(self.network, LossOptions())
        pixels = torch.rand(batch, 3, imgsz, imgsz)
        n = batch * BOXES
        self.batch = {
            "img": pixels.contiguous(memory_format=torch.channels_last),
            "batch_idx": torch.arange(n).remainder(batch).float(),
            "cls": torch.randint(0, N_CLASSES, (n, 1)).float(),
            "bboxes": torch.cat((torch.rand(n, 2), 0.01 + 0.05 * torch.rand(n, 2)), dim=1),
        }

    def __call__(self, network: Callable[..., object]) -> float:
        """Run the step with the eager or compiled network, and return its seconds."""
        begin = time.perf_counter()
        losses, _ = self.criterion(network(self.batch["img"]), self.batch)  # type: ignore[arg-type]
        losses.sum().backward()
        seconds = time.perf_counter() - begin
        self.network.zero_grad()
        return seconds


if __name__ == "__main__":
    main()
