"""One step of a training on two processes, over gloo."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import IterableSimpleNamespace

from settings.head_config import Group, HeadConfig
from training.heads.grouped import divided
from training.losses.detection import detection_criterion
from training.losses.loss_options import LossOptions
from training.models.zoo import model_file
from training.runtime import distributed

N_RANKS = 2
GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5, "epochs": 3}
HEADS = HeadConfig(
    groups=(Group(name="heads", classes=("a",)), Group(name="lines", classes=("b", "c"))),
    box="separate",
)


def model(kind: str) -> DetectionModel:
    """A small network whose BatchNorm does not look at the batch: ranks have halves of it."""
    torch.manual_seed(1)
    name = "yolo26n" if kind == "two branches" else "omr-tiny"
    net = DetectionModel(model_file(name), nc=3, verbose=False)
    if kind == "separate":
        net.model[-1] = divided(net.model[-1], ((0,), (1, 2)), HEADS)
    net.args = IterableSimpleNamespace(**GAINS)
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    net.criterion = detection_criterion(net, LossOptions())
    return net


def batch(objects: tuple[int, ...]) -> dict[str, Tensor]:
    """Four images, with so many objects each."""
    generator = torch.Generator().manual_seed(2)
    images = torch.repeat_interleave(torch.arange(4), torch.tensor(objects))
    n = len(images)
    return {
        "img": torch.rand(4, 3, 64, 64, generator=generator),
        "batch_idx": images.float(),
        "cls": torch.randint(3, (n, 1), generator=generator).float(),
        "bboxes": torch.rand(n, 4, generator=generator) * 0.3 + 0.2,
    }


def half(whole: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    own = (whole["batch_idx"] // 2) == rank
    part = {key: whole[key][own] for key in ("batch_idx", "cls", "bboxes")}
    part["batch_idx"] = part["batch_idx"] - 2 * rank
    return part | {"img": whole["img"][2 * rank : 2 * rank + 2]}


CASES = {
    f"{kind}, {objects}": (kind, objects)
    for kind, objects in (
        ("single", (0, 0, 0, 0)),
        ("single", (5, 1, 2, 0)),
        ("single", (4, 3, 0, 0)),
        ("separate", (5, 1, 2, 0)),
        ("separate", (0, 0, 1, 6)),
        ("two branches", (5, 1, 2, 0)),
    )
}


def on_a_rank(rank: int, folder: str) -> None:
    """Take one step's loss and gradients of every case as a trainer on two devices does."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=N_RANKS
    )
    found = {}
    for name, (kind, objects) in CASES.items():
        with distributed.cpu_wrapper():
            net = nn.parallel.DistributedDataParallel(
                model(kind), device_ids=[None], find_unused_parameters=True
            )
        loss = net(half(batch(objects), rank))[0].sum() * N_RANKS  # as Ultralytics' trainer does
        loss.backward()
        found[name] = loss.detach(), gradients(net.module)
    torch.save(found, f"{folder}/{rank}.pt")
    with torch.no_grad():  # a validation, in which rank 1 has nothing to do
        if rank == 0:
            assert distributed.total_a_rank(torch.tensor(0.5), least=1) == 1
    distributed.leave()
    assert not dist.is_initialized()


def gradients(net: nn.Module) -> dict[str, Tensor]:
    return {k: p.grad for k, p in net.named_parameters() if p.grad is not None}
