"""Memory of a validation step with one head, grouped heads, and separate heads for four groups.

A step is that of Ultralytics' validator during training: network, loss and NMS, while all outputs
are kept. Each row runs in a separate process.

    python -m benchmarks.multihead_memory [--model NAME] [--classes N]... [--batch N] [--imgsz PX]
"""

import argparse
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from multiprocessing import get_context

import torch
import torchvision  # noqa: F401  # Ultralytics' NMS uses it only if it has been imported
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import nms

from benchmarks.assigner_memory import added_mb
from settings.head_config import Group, HeadConfig
from training.heads.distance_bins import allow_below_zero
from training.heads.grouped import divided
from training.losses.detection import detection_criterion
from training.losses.loss_options import LossOptions
from training.models.zoo import model_file

KINDS = ("single", "shared", "separate")
N_GROUPS = 4
N_SYMBOLS = 300
"""Symbols per image."""
BIAS = -6.8
"""Bias of all classes, whose scores of 0.0011 exceed the validator's threshold of 0.001."""


class LiveTensors(TorchDispatchMode):
    """Dispatch mode that counts the live bytes of all tensors made under it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return out

    def peak_mb(self) -> float:
        """Return the peak in MB since the last call."""
        peak, self.peak = self.peak, self.live
        return peak / 2**20

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.live += self.sizes[key]
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.live -= self.sizes.pop(key)


def model_of(name: str, n_classes: int, kind: str) -> DetectionModel:
    """Build a model whose classes are assigned to the groups in turn."""
    torch.manual_seed(0)
    model = DetectionModel(model_file(name), nc=n_classes, verbose=False)
    model.args = get_cfg()
    head = model.model[-1]
    allow_below_zero(head)
    for branch in head.cv3:
        torch.nn.init.normal_(branch[-1].weight, std=0.1)
        torch.nn.init.constant_(branch[-1].bias, BIAS)
    if kind != "single":
        labels = [range(group, n_classes, N_GROUPS) for group in range(N_GROUPS)]
        groups = tuple(Group(name=str(g[0]), classes=tuple(map(str, g))) for g in labels)
        config = HeadConfig(groups=groups, box="separate" if kind == "separate" else "shared")
        model.model[-1] = divided(head, labels, config)
    return model.eval()


def batch_of(n_images: int, n_classes: int) -> dict[str, Tensor]:
    """Draw symbols of 1 to 6 % of the image side at random positions."""
    n = n_images * N_SYMBOLS
    return {
        "batch_idx": torch.arange(n_images).repeat_interleave(N_SYMBOLS).float(),
        "cls": torch.randint(0, n_classes, (n, 1)).float(),
        "bboxes": torch.cat((torch.rand(n, 2), 0.01 + 0.05 * torch.rand(n, 2)), dim=1),
    }


@torch.no_grad()
def step(
    model: DetectionModel, images: Tensor, batch: dict[str, Tensor], note: Callable[[], float]
) -> Iterator[float]:
    """Run a validation step, and yield the result of ``note`` after each of its three phases."""
    criterion = detection_criterion(model, LossOptions())
    note()
    outputs = model(images)
    yield note()
    criterion(outputs, batch)
    yield note()
    nms.non_max_suppression(
        outputs, 0.001, 0.7, multi_label=True, max_det=300, max_time_img=float("inf")
    )
    yield note()


def row(name: str, n_classes: int, kind: str, n_images: int, imgsz: int) -> tuple[float, ...]:
    """Measure peak MB of tensors per phase, MB added to the process, and CPU seconds per phase."""
    torch.set_num_threads(1)
    model, batch = model_of(name, n_classes, kind), batch_of(n_images, n_classes)
    images = torch.rand(n_images, 3, imgsz, imgsz)
    with LiveTensors() as live:
        peaks = [*step(model, images, batch, live.peak_mb)]
    times: list[float] = []
    rss, _ = added_mb(lambda: [*step(model, images, batch, lambda: _add_time(times))])
    return (*peaks, rss, *(after - before for before, after in pairwise(times)))


def _add_time(times: list[float]) -> float:
    times.append(time.process_time())
    return times[-1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--classes", type=int, nargs="+", default=[42, 136])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--imgsz", type=int, default=640)
    options = parser.parse_args()
    print("| model | classes | head | network MB | loss MB | NMS MB | peak / single |", end="")
    print(" process MB | / single | network s | loss s | NMS s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for n_classes in options.classes:
        first: tuple[float, float] = (0.0, 0.0)
        for kind in KINDS:
            arguments = options.model, n_classes, kind, options.batch, options.imgsz
            with get_context("spawn").Pool(1) as pool:
                *peaks, rss, network, loss, suppression = pool.apply(row, arguments)
            first = (max(peaks), rss) if kind == "single" else first
            shown = [options.model, n_classes, kind, *(f"{peak:.0f}" for peak in peaks)]
            shown += [f"{max(peaks) / first[0]:.2f}", f"{rss:.0f}", f"{rss / first[1]:.2f}"]
            shown += [f"{seconds:.1f}" for seconds in (network, loss, suppression)]
            print(f"| {' | '.join(map(str, shown))} |", flush=True)


if __name__ == "__main__":
    main()
