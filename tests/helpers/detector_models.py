"""Detection models with weights that make every place predict something else."""

import copy
import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from settings.head_config import BoxBranch, Group, HeadConfig
from training.heads.distance_bins import allow_below_zero
from training.heads.grouped import divided
from training.models.building import activation_kept
from training.models.zoo import model_file

LABELS = ((2, 0), (1,))
N_CLASSES = 3


def config(box: BoxBranch, **options: float | str) -> HeadConfig:
    """Two groups, one of them of one class."""
    groups = (Group(name="a", classes=("c2", "c0")), Group(name="b", classes=("c1",)))
    return HeadConfig(groups=groups, box=box, **options)  # type: ignore[arg-type]


def with_heads(
    single: DetectionModel, config: HeadConfig, labels: Sequence[Sequence[int]] = LABELS
) -> DetectionModel:
    """A copy with the head divided."""
    model = copy.deepcopy(single)
    model.model[-1] = divided(model.model[-1], labels, config)
    return model


@functools.cache
def single(name: str) -> DetectionModel:
    """A model with one head, signed distances, and weights that are not those of a start."""
    torch.manual_seed(0)
    with activation_kept():
        model = DetectionModel(model_file(name), nc=N_CLASSES, verbose=False)
    model.args = get_cfg()
    head = model.model[-1]
    allow_below_zero(head)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                state = module.state_dict()
                state["running_mean"].uniform_(-0.1, 0.1)
                state["running_var"].uniform_(0.1, 0.3)  # or deep layers see nothing of an image
        for branches in (head.cv2, head.cv3, getattr(head, "one2one_cv3", [])):
            for branch in branches:
                branch[-1].weight.normal_(std=0.1)
                branch[-1].bias.normal_(std=0.1)
    return model


def images(n: int, side: int) -> Tensor:
    """Blots of noise, so that no two places look alike, shape ``(n, 3, side, side)``."""
    noise = torch.rand(n, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(noise, (side, side), mode="bilinear")
