"""In which precision a network is trained: what a device can do, and a test before the first step.

Weights, loss and optimiser stay in single precision (fp32); it is the network's own convolutions
that run in half of it. bf16 has the range of fp32 and three digits less; fp16 has the digits, and
not the range, so that its loss is scaled. On CUDA a training in fp32 uses TF32 in its convolutions,
which is torch's default; :func:`training.runtime.devices.exact_fp32` is for results that are
compared.

Shapes: B images.
"""

import contextlib
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, distributed, nn
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import ConfigError
from settings.training import Precision
from training.assigners.assigner import Assigner
from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.predictions import Predictions
from training.runtime.devices import exact_fp32
from training.runtime.distributed import are_joined
from training.runtime.offline import NO_AMP

MAX_LOSS_CHANGE = 0.1
"""Of the loss in fp32. Measured in bf16 at random starts of five models: at most .0011 with 60
symbols an image of 320 px, .01 with 9 an image of 96 px, .042 with one."""
MIN_COSINE = 0.4
"""Between the gradients in bf16 and fp32 of half of the trunk's parameters. Measured at random
starts, four images of 320 px, three seeds: omr-tiny .995, yolo11n .94 to .95, yolo26n .87 to .95,
yolo12n .52 to .87; with activations rounded to 8 bits (e4m3): yolo11n .27 to .32, yolo26n .18 to
.37, yolo12n .09 to .11. After 25 steps the whole trunk's is .995 to 1."""
BRANCHES = "one2many", "one2one"
"""The two losses in Ultralytics' ``E2ELoss``."""
TEST_IMAGES = 4
"""The test's, at most; and half of a batch at most, because fp32 needs twice the memory."""


def resolved(asked: Precision, device: torch.device) -> Precision:
    """Choose what a device is to train in.

    Args:
        asked: ``auto`` is bf16 on a CUDA device that has it, fp16 on one that has not, and fp32 on
            all others: a CPU computes bf16 fast only if it has instructions for it.
        device: Where the model is.

    Returns:
        ``bf16``, ``fp16`` or ``fp32``.

    Raises:
        ConfigError: The device cannot do what was asked for.
    """
    able = _able(device)
    if asked == "auto":
        return able[0] if device.type == "cuda" else "fp32"
    if asked not in able:
        raise ConfigError(f"device {device} has no {asked}: --precision {' or '.join(able)}")
    return asked


def amp_argument(precision: Precision, device: torch.device) -> str | bool:
    """Say a precision in the words of Ultralytics' ``amp``.

    Its ``bf16`` is for CUDA alone. On a CPU the trainer switches autocast on by itself, after
    Ultralytics has made sure that there is nothing to scale.
    """
    if precision == "fp32" or device.type != "cuda":
        return False
    return precision


def start_precision(trainer: BaseTrainer) -> Precision:
    """Choose what a training starts in, before its model is set up.

    A run that goes on with ``auto`` keeps what its test came to.

    Raises:
        ConfigError: The device cannot do what was asked for.
    """
    asked: Precision = trainer.precision
    fell_back = trainer.resume and asked == "auto" and trainer.args.amp is False
    return "fp32" if fell_back else resolved(asked, trainer.device)


def tested_precision(trainer: BaseTrainer) -> Precision:
    """Test bf16 where it was chosen, and go back to fp32 where it is too far off.

    What was asked for by name stays, with a warning. All devices come to the same.

    Args:
        trainer: Set up, with its loss.

    Returns:
        What the training goes on in; Ultralytics' switches are set to it.
    """
    used: Precision = trainer.used
    if used != "bf16":
        return used
    if not trainer.resume:
        found = self_test(unwrap_model(trainer.model), _test_batch(trainer))
        passed = _everywhere(found.passed)
        kept = passed or trainer.precision == "bf16"
        if not passed:
            outcome = "kept, as was asked for" if kept else "trains in fp32"
            LOGGER.warning(f"bf16: {found}: too far from fp32; {outcome}")
        if not kept:
            trainer.args.amp = trainer.amp = False
            return "fp32"
    trainer.amp = True
    return "bf16"


@contextlib.contextmanager
def fp32_after_bf16(trainer: BaseTrainer) -> Iterator[None]:
    """Validate a training in bf16 in fp32, as ``omr eval`` does.

    Ultralytics validates in fp16, for whose range nobody has checked the weights.
    """
    before = trainer.amp
    trainer.amp = before and trainer.used != "bf16"
    try:
        yield
    finally:
        trainer.amp = before


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """One batch in single precision and in bf16."""

    loss: float
    """In fp32."""
    low_loss: float
    """In bf16."""
    cosine: float
    """Between the gradients of a parameter of the trunk: the median over all of them."""

    @property
    def passed(self) -> bool:
        """Whether bf16 is near enough; what is no number is not."""
        near = abs(self.low_loss - self.loss) <= MAX_LOSS_CHANGE * abs(self.loss)
        return near and self.cosine >= MIN_COSINE

    def __str__(self) -> str:
        return (
            f"loss {self.low_loss:.4g} in bf16 and {self.loss:.4g} in fp32, "
            f"cosine of the gradients {self.cosine:.3f} (at least {MIN_COSINE})"
        )


def self_test(model: DetectionModel, batch: Mapping[str, Any]) -> SelfTest:
    """Compare bf16 with single precision on one batch; the model stays as it is.

    Both losses give the boxes to the same points, and the same gradient of the head's outputs, that
    of the loss in fp32, is sent back through both: at a random start points are chosen by the least
    change of the scores, and the loss's own gradient turns with them, so that two choices and two
    gradients would say more about the loss than about the network.

    Args:
        model: With its loss set.
        batch: As ``preprocess_batch`` left it: ``img``, shape ``(B, 3, H, W)``, and the labels.
    """
    criterion = _repeating(model)
    with exact_fp32():
        loss, gradients, sent_back = _pass(model, criterion, batch, low=False)
    low_loss, low_gradients, _ = _pass(model, criterion, batch, low=True, sent_back=sent_back)
    pairs = [(gradients[name].flatten(), low.flatten()) for name, low in low_gradients.items()]
    measured = [
        torch.stack([nn.functional.cosine_similarity(*pair, dim=0), pair[0].any().float()])
        for pair in pairs
    ]
    rows: list[list[float]] = torch.stack(measured).tolist() if measured else []  # one transfer
    cosines = [cosine for cosine, is_any in rows if is_any]
    # In an order NaN would stand anywhere.
    unusable = not cosines or any(math.isnan(cosine) for cosine in cosines)
    cosine = math.nan if unusable else median(cosines)
    return SelfTest(loss=loss, low_loss=low_loss, cosine=cosine)


class _Repeated(Assigner):
    """Assigns as another assigner does, and the second time as it did the first time."""

    __slots__ = ("first", "inner")

    def __init__(self, inner: Assigner) -> None:
        self.inner = inner
        self.first: Assignment | None = None

    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """Look at the predictions of the first call only."""
        if self.first is None:
            self.first = self.inner.assign(predictions, anchors, targets)
        return self.first


def _repeating(model: DetectionModel) -> object:
    """A copy of the model's loss whose boxes go to the same points each time."""
    criterion = deepcopy(getattr(model, "criterion", None))
    for loss in (criterion, *(getattr(criterion, name, None) for name in BRANCHES)):
        if loss is not None and hasattr(loss, "assigner"):
            loss.assigner = _Repeated(loss.assigner)
    return criterion


def _pass(
    model: DetectionModel,
    criterion: object,
    batch: Mapping[str, Any],
    *,
    low: bool,
    sent_back: Sequence[Tensor] | None = None,
) -> tuple[float, dict[str, Tensor], Sequence[Tensor]]:
    """The loss, the gradients of the trunk's parameters, and those of the head's outputs.

    Where the trunk is frozen, those of the head's parameters instead.
    """
    copy = deepcopy(model).train()  # BatchNorm's statistics move
    copy.criterion = criterion
    with torch.autocast(batch["img"].device.type, dtype=torch.bfloat16, enabled=low):
        outputs = copy(batch["img"])
        loss = copy.loss(batch, outputs)[0].sum()
    flat = [tensor for tensor in _tensors(outputs) if tensor.requires_grad]
    if sent_back is None:
        sent_back = torch.autograd.grad(
            loss, flat, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    torch.autograd.backward(flat, [g.to(t.dtype) for g, t in zip(sent_back, flat, strict=True)])
    trunk, head = (
        {n: p.grad for n, p in part.named_parameters() if p.grad is not None}
        for part in (copy.model[:-1], copy.model[-1])
    )
    return float(loss.detach()), trunk or head, sent_back


def _tensors(outputs: object) -> Iterator[Tensor]:
    """What a head gives, but for the maps it was given (``feats``)."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, Mapping):
        for name, value in outputs.items():
            if name != "feats":
                yield from _tensors(value)


def _test_batch(trainer: BaseTrainer) -> dict[str, Any]:
    """The first images of the validation: to draw of the training's would change their order."""
    dataset = trainer.test_loader.dataset
    of_a_shape = int((dataset.batch == 0).sum())
    n = max(1, min(TEST_IMAGES, of_a_shape, trainer.train_loader.batch_size // 2))
    state = random.getstate()
    batch: dict[str, Any] = dataset.collate_fn([dataset[i] for i in range(n)])
    random.setstate(state)  # older versions of Ultralytics draw here
    return dict(trainer.preprocess_batch(batch))


def _everywhere(passed: bool) -> bool:
    """Tell whether a test has passed in the processes of all devices."""
    if not are_joined():
        return passed
    of_all: list[bool | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(of_all, passed)
    return all(of_all)


def _able(device: torch.device) -> tuple[Precision, ...]:
    """What a device can train in, the best first."""
    if device.type == "cpu":
        return "bf16", "fp32"
    if device.type != "cuda":
        return ("fp32",)
    if _has_bf16(device):
        return "bf16", "fp16", "fp32"
    half_works = not NO_AMP.search(torch.cuda.get_device_name(device))
    return ("fp16", "fp32") if half_works else ("fp32",)


def _has_bf16(device: torch.device) -> bool:
    """Whether a CUDA device computes bf16 itself, and does not only pretend to."""
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
