"""Test of bf16 against fp32 before the first training step.

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
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import unwrap_model

from settings.training import Precision
from training.assigners.assigner import Assigner, WrappedAssigner
from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.predictions import Predictions
from training.engine.running_trainer import RunningTrainer
from training.losses.detection import wrap_assigners
from training.runtime.devices import exact_fp32
from training.runtime.distributed import are_joined
from training.runtime.precision import resolved

MAX_LOSS_CHANGE = 0.1
"""Largest accepted change of the loss, as a fraction of the loss in fp32. Measured in bf16 with
random weights of five models: at most .0011 with 60 symbols per image of 320 px, .01 with 9 symbols
per image of 96 px, and .042 with a single symbol."""
MIN_COSINE = 0.4
"""Lowest median over the trunk's parameters of the cosine between gradients in bf16 and fp32.
Measured with random weights, four images of 320 px, three seeds: omr-tiny .995, yolo11n .94 to .95,
yolo26n .87 to .95, yolo12n .52 to .87; with activations rounded to 8 bits (e4m3): yolo11n .27 to
.32, yolo26n .18 to .37, yolo12n .09 to .11. After 25 steps, the cosine of the whole trunk is .995
to 1. The trunk is all layers before the head."""
TEST_IMAGES = 4
"""Largest number of images in the test, which uses half a batch at most, because fp32 needs double
the memory."""


def start_precision(trainer: RunningTrainer) -> Precision:
    """Choose the training precision before the model is set up.

    A resumed run with ``auto`` keeps the result of its first test.

    Raises:
        ConfigError: The device does not support the requested precision.
    """
    requested = trainer.options.precision
    fell_back = trainer.resume and requested == "auto" and trainer.args.amp is False
    return "fp32" if fell_back else resolved(requested, trainer.device)


def tested_precision(trainer: RunningTrainer) -> Precision:
    """Test bf16 if it was chosen, and fall back to fp32 if their results differ too much.

    If bf16 was requested by name, it is kept, with a warning. All devices make the same decision.

    Args:
        trainer: Trainer after its set-up, with its loss.

    Returns:
        Training precision; Ultralytics' switches are set accordingly.
    """
    if trainer.state.precision != "bf16":
        return trainer.state.precision
    if not trainer.resume:
        result = self_test(unwrap_model(trainer.model), _test_batch(trainer))
        passed = _passed_everywhere(result.passed)
        is_kept = passed or trainer.options.precision == "bf16"
        if not passed:
            outcome = "kept as requested" if is_kept else "training in fp32"
            LOGGER.warning(f"bf16: {result}: too far from fp32; {outcome}")
        if not is_kept:
            trainer.args.amp = trainer.amp = False
            return "fp32"
    trainer.amp = True
    return "bf16"


@contextlib.contextmanager
def fp32_after_bf16(trainer: RunningTrainer) -> Iterator[None]:
    """Validate in fp32 if training is in bf16, as ``omr eval`` does.

    Ultralytics validates in fp16, and the weights may exceed its range.
    """
    before = trainer.amp
    trainer.amp = before and trainer.state.precision != "bf16"
    try:
        yield
    finally:
        trainer.amp = before


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """Losses and gradients of one batch in fp32 and in bf16."""

    loss: float
    """Loss in fp32."""
    low_loss: float
    """Loss in bf16."""
    cosine: float
    """Median over the trunk's parameters of the cosine between both gradients."""

    @property
    def passed(self) -> bool:
        """Whether bf16 matches fp32 closely enough; NaN counts as failure."""
        is_near = abs(self.low_loss - self.loss) <= MAX_LOSS_CHANGE * abs(self.loss)
        return is_near and self.cosine >= MIN_COSINE

    def __str__(self) -> str:
        return (
            f"loss {self.low_loss:.4g} in bf16 and {self.loss:.4g} in fp32, "
            f"cosine of the gradients {self.cosine:.3f} (at least {MIN_COSINE})"
        )


def self_test(model: DetectionModel, batch: Mapping[str, Any]) -> SelfTest:
    """Compare bf16 with fp32 on one batch without changing the model.

    Both passes assign the boxes to the same points, and propagate the same gradient of the head's
    outputs, computed from the fp32 loss. With random weights, the smallest change of the scores
    selects other points and changes the direction of the loss's gradient. With separate assignments
    and gradients, the test would compare losses rather than networks.

    Args:
        model: Model with its loss.
        batch: Batch returned by ``preprocess_batch``: ``img``, shape ``(B, 3, H, W)``, and labels.
    """
    criterion = _with_repeated_assignment(model)
    with exact_fp32():
        loss, gradients, output_gradients = _pass(model, criterion, batch, low=False)
    low_loss, low_gradients, _ = _pass(
        model, criterion, batch, low=True, output_gradients=output_gradients
    )
    pairs = [(gradients[name].flatten(), low.flatten()) for name, low in low_gradients.items()]
    results = [
        torch.stack([nn.functional.cosine_similarity(*pair, dim=0), pair[0].any().float()])
        for pair in pairs
    ]
    rows: list[list[float]] = torch.stack(results).tolist() if results else []  # one transfer
    cosines = [cosine for cosine, is_any in rows if is_any]
    # NaN has no defined position in a sorted list.
    is_unusable = not cosines or any(math.isnan(cosine) for cosine in cosines)
    cosine = math.nan if is_unusable else median(cosines)
    return SelfTest(loss=loss, low_loss=low_loss, cosine=cosine)


class _RepeatedAssigner(WrappedAssigner):
    """Assigner that returns the first result of another one on every call."""

    __slots__ = ("first",)

    def __init__(self, inner: Assigner) -> None:
        super().__init__(inner)
        self.first: Assignment | None = None

    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """Assign by the predictions of the first call."""
        if self.first is None:
            self.first = self.inner.assign(predictions, anchors, targets)
        return self.first


def _with_repeated_assignment(model: DetectionModel) -> object:
    """Copy the model's loss so that it assigns boxes to the same points each time."""
    criterion = deepcopy(getattr(model, "criterion", None))
    wrap_assigners(criterion, _RepeatedAssigner)
    return criterion


def _pass(
    model: DetectionModel,
    criterion: object,
    batch: Mapping[str, Any],
    *,
    low: bool,
    output_gradients: Sequence[Tensor] | None = None,
) -> tuple[float, dict[str, Tensor], Sequence[Tensor]]:
    """Return the loss and the gradients of the trunk's parameters and of the head's outputs.

    If the trunk is frozen, the gradients are those of the head's parameters.
    """
    copy = deepcopy(model).train()  # the statistics of BatchNorm change
    copy.criterion = criterion
    with torch.autocast(batch["img"].device.type, dtype=torch.bfloat16, enabled=low):
        outputs = copy(batch["img"])
        loss = copy.loss(batch, outputs)[0].sum()
    flat = [tensor for tensor in _tensors(outputs) if tensor.requires_grad]
    if output_gradients is None:
        output_gradients = torch.autograd.grad(
            loss, flat, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    gradients = [g.to(t.dtype) for g, t in zip(output_gradients, flat, strict=True)]
    torch.autograd.backward(flat, gradients)
    trunk, head = (
        {n: p.grad for n, p in part.named_parameters() if p.grad is not None}
        for part in (copy.model[:-1], copy.model[-1])
    )
    return float(loss.detach()), trunk or head, output_gradients


def _tensors(outputs: object) -> Iterator[Tensor]:
    """Yield the outputs of a head, without its input maps (``feats``)."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, Mapping):
        for name, value in outputs.items():
            if name != "feats":
                yield from _tensors(value)


def _test_batch(trainer: RunningTrainer) -> dict[str, Any]:
    """Return the first validation images; loading training images would advance their order."""
    dataset = trainer.test_loader.dataset
    n_same_shape = int((dataset.batch == 0).sum())
    n = max(1, min(TEST_IMAGES, n_same_shape, trainer.train_loader.batch_size // 2))
    state = random.getstate()
    batch: dict[str, Any] = dataset.collate_fn([dataset[i] for i in range(n)])
    random.setstate(state)  # older versions of Ultralytics draw random numbers here
    return dict(trainer.preprocess_batch(batch))


def _passed_everywhere(passed: bool) -> bool:
    """Return whether a test has passed in the processes of all devices."""
    if not are_joined():
        return passed
    results: list[bool | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(results, passed)
    return all(results)
