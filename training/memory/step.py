"""Memory of a training step, predicted without allocating it and without a GPU.

The step is that of a training: model and head, loss and assigner, backward pass, and the optimiser
that Ultralytics builds. It runs once on fake tensors, which have a size but no storage, while every
allocation and release is recorded. The peak is the moment with the most allocated bytes.
"""

import gc
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from ultralytics.cfg import get_cfg
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError, with_nearest
from settings.training import STRIDE
from training.assigners.predictions import PARTS
from training.heads.head_config import HeadConfig
from training.losses.detection import LossOptions, detection_criterion, wrap_assigners
from training.memory import cuda
from training.memory.fake_sizes import FakeSizes, RecordedAssigner
from training.memory.meta_model import replace_tensors, trained_model
from training.memory.timeline import MANY, Recorder, Timeline
from training.runtime.devices import memory_format_of
from training.runtime.library_loggers import quiet

StepPrecision = Literal["fp32", "bf16", "fp16"]
OPTIMIZERS = (
    "AdamW", "auto", "SGD", "MuSGD", "Adam", "Adamax", "NAdam", "RAdam", "RMSprop",
)  # fmt: skip
"""Optimisers of Ultralytics."""
HALF_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
TORCH_LOG = logging.getLogger(FakeTensorMode.__module__)
"""Logger that prints long stack traces if a fake tensor is too large."""
PAIRS_PER_BOX = 8
"""Assumed candidate pairs per box where they are not known. The dense scenes of
benchmarks/results/assigner.md have 7.7: 38,163 for 5,000 boxes, 307,561 for 40,000."""
GUARD_STATES = 2
"""Good states that the NaN guard keeps; there are three while it saves the next one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSpec:
    """Everything that the memory of a training step depends on.

    Raises:
        ConfigError: A number is too small, a name is unknown, or the device is a CPU with fp16.
    """

    model: str
    """Value of ``omr train --model``."""
    trust: bool = False
    """Whether pickled weights may be loaded even if that executes their code."""
    n_classes: int
    heads: HeadConfig | None = None
    """Groups of classes, each with its own head; None for a single head, or for the heads of the
    weights."""
    imgsz: int = 640
    """Input side in pixels, rounded up to a multiple of 32, which ``omr train`` requires."""
    batch: int = 16
    """Images per device."""
    precision: StepPrecision = "fp32"
    optimizer: str = "AdamW"
    """Name of an optimiser of Ultralytics."""
    iterations: int = 10_000
    """Steps of the whole training, by which Ultralytics' ``auto`` chooses an optimiser."""
    ema: bool = True
    """Whether a moving average of the weights is kept, as in every ``omr train``."""
    guard: bool = True
    """Whether the NaN guard of :mod:`training.runtime.nan_guard` keeps good states."""
    accumulates: bool = False
    """Whether gradients of earlier batches exist already."""
    device: Literal["cpu", "cuda"] = "cuda"
    boxes: int = 0
    """Symbols in the fullest batch."""
    boxes_max: int = 0
    """Symbols in the fullest image, on which only dense assigners depend."""
    pairs: int | None = None
    """Candidate pairs of the fullest batch; None assumes ``PAIRS_PER_BOX`` per symbol."""
    loss: LossOptions = field(default_factory=LossOptions)

    def __post_init__(self) -> None:
        least = {"n_classes": 1, "imgsz": 1, "batch": 1, "iterations": 1, "boxes": 0}
        small = {n: getattr(self, n) for n, low in least.items() if getattr(self, n) < low}
        if small:
            shown = ", ".join(f"{name} ({value})" for name, value in small.items())
            raise ConfigError(f"{shown}: too small; expected boxes from 0, all others from 1")
        known = (*HALF_DTYPES, "fp32")
        if self.precision not in known:
            raise ConfigError(f"precision: {self.precision}: expected one of {', '.join(known)}")
        if self.device == "cpu" and self.precision == "fp16":
            raise ConfigError("precision: fp16: not supported on a CPU; use bf16 or fp32")
        if self.optimizer.lower() not in map(str.lower, OPTIMIZERS):  # Ultralytics ignores case
            unknown = with_nearest([self.optimizer], OPTIMIZERS)
            raise ConfigError(f"optimizer: {unknown}: expected one of {', '.join(OPTIMIZERS)}")

    @property
    def side(self) -> int:
        """Height and width of the network input in pixels."""
        return -(-self.imgsz // STRIDE) * STRIDE


@dataclass(frozen=True, kw_only=True, slots=True)
class StepMemory:
    """Memory of a step in bytes, by kind: the maximum of each kind, and all kinds at the peak.

    The maxima do not add up to the total, because they are reached at different times: gradients
    are allocated while activations are released. ``at_peak`` adds up to it.
    """

    batch: int
    n_anchors: int
    """Anchor points per image."""
    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    """State of the optimiser."""
    ema_bytes: int
    """Moving average of the weights."""
    buffers_bytes: int
    """Statistics of normalisation layers, and the guard's copy of them."""
    inputs_bytes: int
    """Images as bytes and as floats."""
    activations_bytes: int
    """Tensors of the forward pass that the backward pass needs."""
    loss_bytes: int
    assigner_bytes: int
    workspace_bytes: int
    """Temporary tensors within a pass."""
    guard_bytes: int
    """Good states in main memory, which are part of the total on a CPU only."""
    allocator_bytes: int
    """CUDA: gaps between tensors that torch's allocator cannot use, even if memory runs out."""
    library_bytes: int
    """CUDA: workspace of matrix products."""
    total_bytes: int
    """Peak memory."""
    peak_phase: str
    """Phase of the peak: ``inputs``, ``forward``, ``loss``, ``backward`` or ``optimizer``."""
    at_peak: Mapping[str, int]
    """Bytes of each kind at the peak, adding up to the total."""

    @property
    def allocated_bytes(self) -> int:
        """Bytes of tensors at the peak, comparable with ``torch.cuda.max_memory_allocated``."""
        return self.total_bytes - self.allocator_bytes

    def to_json(self) -> dict[str, Any]:
        """Convert to a dictionary for JSON."""
        return asdict(self) | {"at_peak": dict(self.at_peak)}


def predict_step(spec: StepSpec) -> StepMemory:
    """Predict the peak memory of a training step.

    Args:
        spec: Model, batch and everything else that the memory depends on.

    Raises:
        ConfigError: The model is unknown or too large, or the groups have another number of
            classes.
        InputError: The weights file is missing or does not contain a detection model.
    """
    return _memory(_recorded(_of_many(spec)), spec)


def memory_over_batch(spec: StepSpec, batches: Sequence[int]) -> list[StepMemory]:
    """Predict the peak memory for several batch sizes; additional sizes cost next to nothing.

    Args:
        spec: Step to predict. Its ``boxes`` and ``pairs`` are scaled with the batch.
        batches: Batch sizes.

    Raises:
        ConfigError: See :func:`predict_step`; or a batch size is below 1.
        InputError: See :func:`predict_step`.
    """
    specs = [replace(spec, batch=batch) for batch in batches]
    recorded = _recorded(_of_many(spec))
    return [_memory(recorded, of_batch) for of_batch in specs]


def _of_many(spec: StepSpec) -> StepSpec:
    """Scale a step to the huge batch from whose tensor sizes all other batches are derived."""
    boxes = -(-spec.boxes // spec.batch)
    pairs = spec.boxes * PAIRS_PER_BOX if spec.pairs is None else spec.pairs
    # Fake sizes are looked up by length: the list of pairs must be longer than that of boxes.
    pairs = max(-(-pairs // spec.batch), boxes + 1) if boxes else 0
    if spec.device == "cuda":  # the list is processed in parts, each with whole pairs per image
        pairs = -(-pairs // PARTS) * PARTS
    return replace(
        spec,
        imgsz=spec.side,
        batch=MANY,
        boxes=boxes * MANY,
        boxes_max=0,
        pairs=pairs * MANY,
    )


def _memory(recorded: tuple[Timeline, int], spec: StepSpec) -> StepMemory:
    """Compute the memory of one batch size from the result of :func:`_recorded`."""
    timeline, n_anchors = recorded
    on_gpu = spec.device == "cuda"
    all_sizes = timeline.sizes(spec.batch, cuda.ROUNDING if on_gpu else 1)
    of_kind = {kind: timeline.is_kind(kind) for kind in KINDS}
    maxima = {kind: int(timeline.live(all_sizes * mask).max()) for kind, mask in of_kind.items()}
    sizes = all_sizes * ~of_kind["guard"] if on_gpu else all_sizes
    live = timeline.live(sizes)
    peak = int(live.argmax())
    is_live = timeline.live_after(peak)
    at_peak = {kind: int(sizes[mask & is_live].sum()) for kind, mask in of_kind.items()}
    if on_gpu:
        reserved = cuda.min_reserved_bytes(sizes.tolist(), timeline.events.tolist())
        at_peak |= {"library": cuda.CUBLAS_WORKSPACE, "allocator": reserved - int(live[peak])}
    return StepMemory(
        batch=spec.batch,
        n_anchors=n_anchors,
        **{f"{kind}_bytes": maxima[kind] for kind in KINDS},
        allocator_bytes=at_peak.get("allocator", 0),
        library_bytes=at_peak.get("library", 0),
        total_bytes=sum(at_peak.values()),
        peak_phase=timeline.phase_of(peak),
        at_peak=at_peak,
    )


@lru_cache(maxsize=32)
def _recorded(spec: StepSpec) -> tuple[Timeline, int]:
    """Run a step on fake tensors.

    Returns:
        Timeline of the step, and the number of anchor points per image.
    """
    model = trained_model(spec.model, spec.n_classes, spec.heads, real=False, trust=spec.trust)
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
    of_model = [_bytes(tensor) for tensor in model.state_dict().values()]
    of_average = of_model if spec.ema else []
    recorder.add_bytes(of_average, "ema")
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
        state = of_model + of_average + [_bytes(tensor) for tensor in tensors]
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
        optimizer: Optimizer = BaseTrainer.build_optimizer(
            trainer, model, name=spec.optimizer, iterations=spec.iterations
        )
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


KINDS = (
    "parameters", "gradients", "optimizer", "ema", "buffers", "inputs", "activations", "loss",
    "assigner", "workspace", "guard",
)  # fmt: skip
"""Kinds of tensors in a step."""
KINDS_OF_CUDA = "allocator", "library"
"""Kinds of memory that only a GPU has."""
