"""Times the assigners and measures their memory: ``python -m benchmarks.assigner``.

Every case runs in a process of its own. Memory is what the calls add to the peak of the process
(RSS); time is that of the fastest call.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from ultralytics.utils.tal import TaskAlignedAssigner

from training.assigners.assignment import Anchors, Targets, candidate_pairs
from training.assigners.task_aligned import SparseTaskAlignedAssigner
from training.assigners.ultralytics_drop_in import SparseDropIn

STRIDES = (8, 16, 32)
TASKS = ("ultralytics", "sparse_drop_in", "sparse")
CASES = ((16, 7, 80, 640), (4, 1250, 208, 640), (32, 1250, 20, 640))
"""Images, mean boxes of an image, classes, pixels a side."""
LARGE = 200
"""Mean boxes from which they are drawn as symbols on a page, not as things on a photograph."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scene:
    """A batch, dense and flat."""

    anchors: Anchors
    pred_scores: Tensor
    pred_boxes_xyxy: Tensor
    targets: Targets
    gt_labels: Tensor
    gt_boxes_xyxy: Tensor
    mask: Tensor


def draw(n_images: int, n_boxes: int, n_classes: int, side: int) -> Scene:
    """Draw a seeded batch: the fullest image has 1.6 times the mean, the emptiest .4 times."""
    torch.manual_seed(0)
    anchors = Anchors.of_image((side, side), STRIDES)
    counts = (n_boxes * torch.linspace(0.4, 1.6, n_images)).round().long()
    n, most = int(counts.sum()), int(counts.max())
    centre = torch.rand(n, 2) * side
    if n_boxes < LARGE:
        size = 16 * 20 ** torch.rand(n, 2)
    else:  # noteheads, and one in twenty a slur or a beam
        size = torch.rand(n, 2) * 14 + 3
        size[::20, 0] = torch.rand(len(size[::20])) * 300 + 30
    boxes = torch.cat((centre - size / 2, centre + size / 2), dim=1).clamp_(0, side)
    labels = torch.randint(0, n_classes, (n,))
    mask = torch.arange(most) < counts[:, None]
    padded, padded_labels = torch.zeros(n_images, most, 4), torch.zeros(n_images, most, 1)
    padded[mask], padded_labels[mask] = boxes, labels[:, None].float()
    half = anchors.strides[:, None] * torch.rand(n_images, len(anchors), 2).mul_(2).add_(0.5)
    return Scene(
        anchors=anchors,
        pred_scores=torch.rand(n_images, len(anchors), n_classes).pow_(4),
        pred_boxes_xyxy=torch.cat((anchors.points_xy - half, anchors.points_xy + half), dim=2),
        targets=Targets(images=mask.nonzero()[:, 0], labels=labels, boxes_xyxy=boxes),
        gt_labels=padded_labels,
        gt_boxes_xyxy=padded,
        mask=mask[..., None].float(),
    )


def assign(task: str, scene: Scene) -> Callable[[], object]:
    """Make a call of an assigner out of its name."""
    n_classes = scene.pred_scores.shape[2]
    predictions = scene.pred_scores, scene.pred_boxes_xyxy
    if task == "sparse":
        sparse = SparseTaskAlignedAssigner(num_classes=n_classes)
        return lambda: sparse(*predictions, scene.anchors, scene.targets)
    kind = TaskAlignedAssigner if task == "ultralytics" else SparseDropIn
    dense = kind(topk=10, num_classes=n_classes, alpha=0.5, beta=6.0, stride=list(STRIDES))
    truth = scene.gt_labels, scene.gt_boxes_xyxy, scene.mask
    return lambda: dense(*predictions, scene.anchors.points_xy, *truth)


def peak_mb() -> float:
    """Peak memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def measure(task: str, case: tuple[int, int, int, int], repeats: int) -> dict[str, float]:
    """Seconds, MB and candidate pairs of one case, in this process."""
    assign(task, draw(1, 2, 2, 64))()  # what torch sets up at its first use is no one's cost
    scene = draw(*case)
    call, before, seconds = assign(task, scene), peak_mb(), []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    added = peak_mb() - before
    pairs = len(candidate_pairs(scene.anchors, scene.targets)[0])
    return {"s": min(seconds), "mb": added, "pairs": pairs}


def apart(task: str, case: tuple[int, int, int, int], repeats: int) -> dict[str, float]:
    """Measure in a new process."""
    command = [sys.executable, "-m", "benchmarks.assigner", "--repeats", str(repeats)]
    command += ["--measure", task, *map(str, case)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=5, metavar=("TASK", "IMAGES", "BOXES", "CLASSES", "PX"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--largest", type=int, default=len(CASES), help="number of cases")
    options = parser.parse_args()
    if options.measure:
        task, n_images, n_boxes, n_classes, side = options.measure
        case = int(n_images), int(n_boxes), int(n_classes), int(side)
        print(json.dumps(measure(task, case, options.repeats)))
        return
    print("| images x boxes, classes, px | pairs | task | s | ultralytics / this | MB | ratio |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES[: options.largest]:
        repeats = options.repeats if case[0] * case[1] < 10_000 else 2
        peer = None
        for task in TASKS:
            found = apart(task, case, repeats)
            peer = peer or found
            where = f"{case[0]} x {case[1]}, {case[2]}, {case[3]}"
            times, memory = peer["s"] / found["s"], peer["mb"] / max(found["mb"], 0.1)
            print(
                f"| {where} | {found['pairs']:,} | {task} | {found['s']:.4f} | {times:.2f} "
                f"| {found['mb']:.0f} | {memory:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
