"""Training step on fake tensors, recorded for the prediction of its memory.

The step runs once on fake tensors, which have a size but no storage, while every allocation and
release is recorded.
"""

import gc
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from ultralytics.cfg import get_cfg
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError
from training.losses.detection import detection_criterion, wrap_assigners
from training.memory import cuda
from training.memory.fake_sizes import FakeSizes, RecordedAssigner
from training.memory.meta_model import initial_model, replace_tensors
from training.memory.step_spec import HALF_DTYPES, StepSpec
from training.memory.timeline import Recorder, Timeline
from training.runtime.devices import memory_format_of
from training.runtime.library_loggers import quiet

TORCH_LOG = logging.getLogger(FakeTensorMode.__module__)
"""Logger that prints long stack traces if a fake tensor is too large."""
GUARD_STATES = 2
"""Good states that the NaN guard keeps; there are three while it saves the next one."""


@lru_cache(maxsize=32)
def recorded_step(spec: StepSpec) -> tuple[Timeline, int]:
    """Run a step on fake tensors.

    Returns:
        Timeline of the step, and the number of anchor points per image.
    """
    model = initial_model(spec, real=False)
    model.args = get_cfg()
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake:
        replace_tensors(model, partial(_new, order=_order(spec)))
    # Not on fake tensors, because it reads values from the head.
    criterion = detection_criterion(model.train(), spec.loss)
    recorder = Recorder(cuda.cudnn_workspace if spec.device == "cuda" else None)
    sizes = FakeSizes(spec.batch, spec.pairs or 0)
    wrap_assigners(criterion, partial(RecordedAssigner, recorder=recorder, sizes=sizes))
    gc_enabled = gc.isenabled()
    gc.disable()  # it would release tensors at unpredictable times
    try:
        with quiet(TORCH_LOG, logging.CRITICAL), fake, sizes, recorder:
            optimizer = _optimize(model, spec, recorder)
            _forward_and_backward(model, criterion, spec, recorder)
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise ConfigError(
            f"{spec.model} at {spec.side} px: too large to predict; use a smaller --imgsz"
        ) from None
    else:
        timeline = recorder.timeline(always=("optimizer", "guard"))
        del optimizer  # only now: releasing its state must not be recorded
    finally:
        if gc_enabled:
            gc.enable()
    n_anchors = sum((spec.side // int(stride)) ** 2 for stride in model.stride.tolist())
    return timeline, n_anchors


def _order(spec: StepSpec) -> torch.memory_format:
    """Return the memory format that the trainer chooses for weights and images."""
    return memory_format_of(torch.device(spec.device), training=True)


def _new(tensor: Tensor, *, order: torch.memory_format) -> Tensor:
    """Make a tensor of the same shape, in a memory format if it has four dimensions."""
    new = torch.empty(tensor.shape, dtype=tensor.dtype)
    return new.contiguous(memory_format=order) if tensor.dim() == 4 else new


def _optimize(model: DetectionModel, spec: StepSpec, recorder: Recorder) -> Optimizer:
    """Record the tensors that persist between steps, and a step of the optimiser.

    Steps repeat, so the optimiser may come first, with images and gradients of the previous batch.
    """
    recorder.add(model.parameters(), "parameters")
    recorder.add(model.buffers(), "buffers")
    model_bytes = [_bytes(tensor) for tensor in model.state_dict().values()]
    average_bytes = model_bytes if spec.ema else []
    recorder.add_bytes(average_bytes, "ema")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    recorder.begin("optimizer", "inputs")
    images = _images(spec)  # live until the next batch is loaded
    recorder.kind, recorder.grows = "gradients", False
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    recorder.kind = "workspace"
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=10.0)
    optimizer = optimizer_of(model, spec)
    if spec.device == "cuda":  # one call for all parameters, if the optimiser has that option
        for group in optimizer.param_groups:
            group |= {"foreach": True} if "foreach" in group else {}
    optimizer.step()
    values = [value for state in optimizer.state.values() for value in state.values()]
    tensors = [value for value in values if isinstance(value, Tensor)]
    recorder.label(tensors, "optimizer")
    if spec.guard:
        state = model_bytes + average_bytes + [_bytes(tensor) for tensor in tensors]
        recorder.add_bytes(state * GUARD_STATES, "guard")
        recorder.add_bytes(state, "guard", stays=False)
        recorder.add_bytes((_bytes(buffer) for buffer in model.buffers()), "buffers")
    if not spec.accumulates:
        optimizer.zero_grad()
    del images
    return optimizer


def optimizer_of(model: DetectionModel, spec: StepSpec) -> Optimizer:
    """Build the optimiser as Ultralytics' trainer does.

    Args:
        model: Model whose parameters are optimised.
        spec: Step with the name of the optimiser.
    """
    trainer = SimpleNamespace(args=get_cfg(), data={"nc": spec.n_classes})
    with quiet():
        optimizer: Optimizer = BaseTrainer.build_optimizer(trainer, model, name=spec.optimizer)
    return optimizer


def _forward_and_backward(
    model: DetectionModel,
    criterion: Any,  # noqa: ANN401
    spec: StepSpec,
    recorder: Recorder,
) -> None:
    """Record one forward and backward pass."""
    recorder.begin("inputs", "inputs")
    batch = _labels(spec) | {"img": _images(spec)}
    recorder.begin("forward", "workspace")
    with _autocast(spec):
        outputs = model(batch["img"])
        recorder.rename("workspace", "activations")
        recorder.begin("loss", "loss")
        losses, items = criterion(outputs, batch)
        total = losses.sum()
        del outputs, losses
    recorder.begin("backward", "workspace")
    total.backward()
    recorder.label((p.grad for p in model.parameters() if p.grad is not None), "gradients")
    del items


def _images(spec: StepSpec) -> Tensor:
    """Convert the bytes of the data loader to floats, like the trainer."""
    loaded = torch.empty(spec.batch, 3, spec.side, spec.side, dtype=torch.uint8)
    return (loaded.float() / 255).contiguous(memory_format=_order(spec))


def _labels(spec: StepSpec) -> dict[str, Any]:
    n = spec.boxes
    labels: dict[str, Any] = {
        "batch_idx": torch.empty(n),
        "cls": torch.empty(n, 1),
        "bboxes": torch.empty(n, 4),
    }
    # For a GPU the data loader counts the pairs, so that the host knows the sizes of all tensors.
    return labels | ({"n_pairs": spec.pairs or 0} if spec.device == "cuda" else {})


@contextmanager
def _autocast(spec: StepSpec) -> Iterator[None]:
    """Enter autocast with the rules of the step's device.

    Fake CUDA tensors have no backward pass without a GPU. So fake CPU tensors are used, with a
    mode for the function that only CUDA computes in single precision.
    """
    if spec.precision == "fp32":
        yield
        return
    mode = _SoftmaxInSingle() if spec.device == "cuda" else nullcontext()
    with torch.autocast("cpu", dtype=HALF_DTYPES[spec.precision]), mode:
        yield


class _SoftmaxInSingle(TorchFunctionMode):
    """Computes softmax in single precision, as CUDA's autocast does.

    It is the only function of the models on which CUDA and CPU differ.

    Source: https://docs.pytorch.org/docs/stable/amp.html, "CUDA Ops that can autocast to float32".
    """

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func in (Tensor.softmax, torch.softmax, torch.nn.functional.softmax):
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
