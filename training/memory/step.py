"""Memory of a training step, computed: nothing is allocated, and no GPU is needed.

The step is the trainer's own: the model with its head, our loss and assigner, backward, the
optimiser that Ultralytics builds. It is gone through once on tensors that have a size and no
storage, and every tensor that comes and goes is noted. The peak is the moment at which most bytes
are there.
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
from training.engine.precision import BRANCHES
from training.heads.head_config import HeadConfig
from training.losses.detection import LossOptions, detection_criterion
from training.memory import cuda
from training.memory.fake_sizes import NotedAssigner, RaggedSizes
from training.memory.meta_model import replace_tensors, trained_model
from training.memory.timeline import MANY, Recorder, Timeline
from training.runtime.devices import memory_format_of
from training.runtime.library_loggers import quiet

StepPrecision = Literal["fp32", "bf16", "fp16"]
OPTIMIZERS = (
    "AdamW", "auto", "SGD", "MuSGD", "Adam", "Adamax", "NAdam", "RAdam", "RMSprop",
)  # fmt: skip
"""Names that Ultralytics knows."""
LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}
TORCH_LOG = logging.getLogger(FakeTensorMode.__module__)
"""It writes pages about what is too large."""
PAIRS_A_BOX = 8
"""Candidate pairs of a box, where they are not known. In the dense scenes of benchmarks/README.md
there are 38,163 of 5,000 boxes and 307,561 of 40,000, 7.7 each."""
GUARD_STATES = 2
"""Good states that the guard keeps; while it makes one more, there are three."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSpec:
    """What the memory of a step depends on.

    Raises:
        ConfigError: A number is too small, a name is not known, or a CPU is to compute in fp16.
    """

    model: str
    """As ``omr train --model`` takes it."""
    trust: bool = False
    """Whether a pickle with weights that cannot be read otherwise may run its code."""
    n_classes: int
    heads: HeadConfig | None = None
    """Groups of classes with a head each; None for a single head, or for that of the weights."""
    imgsz: int = 640
    """Pixels; the next multiple of 32 counts, which is the one that ``omr train`` asks for."""
    batch: int = 16
    """Images on one device."""
    precision: StepPrecision = "fp32"
    optimizer: str = "AdamW"
    """As Ultralytics names it."""
    iterations: int = 10_000
    """Steps of the whole training; Ultralytics' ``auto`` goes by it."""
    ema: bool = True
    """Whether an average of the weights is kept, as every training of ``omr train`` does."""
    guard: bool = True
    """Whether :class:`training.engine.nan_guard.NanGuard` keeps good states, as it does there."""
    accumulates: bool = False
    """Whether gradients of earlier batches are there already."""
    device: Literal["cpu", "cuda"] = "cuda"
    boxes: int = 0
    """Symbols of the fullest batch."""
    boxes_max: int = 0
    """Symbols of the fullest image; only dense assigners look at it."""
    pairs: int | None = None
    """Candidate pairs of that batch; None for ``PAIRS_A_BOX`` a symbol."""
    loss: LossOptions = field(default_factory=LossOptions)

    def __post_init__(self) -> None:
        least = {"n_classes": 1, "imgsz": 1, "batch": 1, "iterations": 1, "boxes": 0}
        wrong = {n: getattr(self, n) for n, low in least.items() if getattr(self, n) < low}
        if wrong:
            shown = ", ".join(f"{name} ({value})" for name, value in wrong.items())
            raise ConfigError(f"too small: {shown}; boxes from 0, all others from 1")
        known = (*LOW, "fp32")
        if self.precision not in known:
            raise ConfigError(f"precision: {self.precision}: expected one of {', '.join(known)}")
        if self.device == "cpu" and self.precision == "fp16":
            raise ConfigError("device cpu has no fp16: take bf16 or fp32")
        if self.optimizer.lower() not in map(str.lower, OPTIMIZERS):  # as Ultralytics reads it
            unknown = with_nearest([self.optimizer], OPTIMIZERS)
            raise ConfigError(f"optimizer: unknown: {unknown}; one of {', '.join(OPTIMIZERS)}")

    @property
    def side(self) -> int:
        """Pixels of the network's input."""
        return -(-self.imgsz // STRIDE) * STRIDE


@dataclass(frozen=True, kw_only=True, slots=True)
class StepMemory:
    """Bytes of a step: each line at its own highest, and all of them at the peak.

    The lines do not add up to the total, because they are not at their highest together: gradients
    come when activations go. ``at_peak`` adds up to it.
    """

    batch: int
    n_anchors: int
    """Anchor points of an image."""
    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    """What the optimiser keeps from step to step."""
    ema_bytes: int
    """Average of the weights."""
    buffers_bytes: int
    """Statistics of the normalisation, and the guard's copy of them."""
    inputs_bytes: int
    """Images as whole numbers and as floats."""
    activations_bytes: int
    """What is kept of the forward pass for the way back."""
    loss_bytes: int
    assigner_bytes: int
    workspace_bytes: int
    """What comes and goes within a pass."""
    guard_bytes: int
    """Good states in main memory; on a CPU they are part of the total."""
    allocator_bytes: int
    """CUDA: gaps between tensors that torch's allocator cannot use, even when it is short."""
    library_bytes: int
    """CUDA: working memory of matrix products."""
    total_bytes: int
    """The peak."""
    peak_phase: str
    """When it is: ``inputs``, ``forward``, ``loss``, ``backward`` or ``optimizer``."""
    at_peak: Mapping[str, int]
    """Bytes of each line at the peak; they add up to the total."""

    @property
    def allocated_bytes(self) -> int:
        """Bytes in tensors at the peak: what ``torch.cuda.max_memory_allocated`` gives."""
        return self.total_bytes - self.allocator_bytes

    def to_json(self) -> dict[str, Any]:
        """Give names and numbers."""
        return asdict(self) | {"at_peak": dict(self.at_peak)}


def predict_step(spec: StepSpec) -> StepMemory:
    """Compute the peak memory of a training step.

    Args:
        spec: What it depends on.

    Raises:
        ConfigError: No such model, or its groups are not of so many classes.
        InputError: No such file with weights, or no detection model in it.
    """
    return _at(_recorded(_of_many(spec)), spec)


def memory_over_batch(spec: StepSpec, batches: Sequence[int]) -> list[StepMemory]:
    """Compute the peak memory for several batches; more of them cost next to nothing.

    Args:
        spec: What it depends on; ``boxes`` and ``pairs`` of its batch grow with the batch.
        batches: Images.

    Raises:
        ConfigError: As :func:`predict_step`, or a batch is below 1.
        InputError: As :func:`predict_step`.
    """
    specs = [replace(spec, batch=batch) for batch in batches]
    recorded = _recorded(_of_many(spec))
    return [_at(recorded, own) for own in specs]


def _of_many(spec: StepSpec) -> StepSpec:
    """The same step of a batch so large that its sizes show what grows with the batch."""
    boxes = -(-spec.boxes // spec.batch)
    pairs = spec.boxes * PAIRS_A_BOX if spec.pairs is None else spec.pairs
    # Operations are told apart by the length of what they ask about: of boxes, or of pairs.
    pairs = max(-(-pairs // spec.batch), boxes + 1) if boxes else 0
    if spec.device == "cuda":  # the list is worked through in parts, and each must be an image's
        pairs = -(-pairs // PARTS) * PARTS
    return replace(
        spec,
        imgsz=spec.side,
        batch=MANY,
        boxes=boxes * MANY,
        boxes_max=0,
        pairs=pairs * MANY,
    )


def _at(recorded: tuple[Timeline, int], spec: StepSpec) -> StepMemory:
    """Read a batch's memory off what :func:`_recorded` gave."""
    timeline, n_anchors = recorded
    on_gpu = spec.device == "cuda"
    all_sizes = timeline.sizes(spec.batch, cuda.ROUNDING if on_gpu else 1)
    of_kind = {kind: timeline.is_of(kind) for kind in KINDS}
    highest = {kind: int(timeline.live(all_sizes * own).max()) for kind, own in of_kind.items()}
    sizes = all_sizes * ~of_kind["guard"] if on_gpu else all_sizes
    live = timeline.live(sizes)
    peak = int(live.argmax())
    there = timeline.there_after(peak)
    at_peak = {kind: int(sizes[own & there].sum()) for kind, own in of_kind.items()}
    if on_gpu:
        held = cuda.least_reserved(sizes.tolist(), timeline.events.tolist())
        at_peak |= {"library": cuda.CUBLAS_WORKSPACE, "allocator": held - int(live[peak])}
    return StepMemory(
        batch=spec.batch,
        n_anchors=n_anchors,
        **{f"{kind}_bytes": highest[kind] for kind in KINDS},
        allocator_bytes=at_peak.get("allocator", 0),
        library_bytes=at_peak.get("library", 0),
        total_bytes=sum(at_peak.values()),
        peak_phase=timeline.phase_of(peak),
        at_peak=at_peak,
    )


@lru_cache(maxsize=32)
def _recorded(spec: StepSpec) -> tuple[Timeline, int]:
    """Go through a step on tensors without storage; count the anchor points of an image, too."""
    model = trained_model(spec.model, spec.n_classes, spec.heads, real=False, trust=spec.trust)
    model.args = get_cfg()
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake:
        replace_tensors(model, partial(_new, order=_order(spec)))
    # Outside, so that what it reads of the head are numbers.
    criterion = detection_criterion(model.train(), spec.loss)
    recorder = Recorder(cuda.cudnn_workspace if spec.device == "cuda" else None)
    sizes = RaggedSizes(spec.batch, spec.pairs or 0)
    for loss in (criterion, *(getattr(criterion, name, None) for name in BRANCHES)):
        if loss is not None and hasattr(loss, "assigner"):
            loss.assigner = NotedAssigner(loss.assigner, recorder, sizes)
    collects = gc.isenabled()
    gc.disable()  # what it finds would be given back at any time
    try:
        with quiet(TORCH_LOG, logging.CRITICAL), fake, sizes, recorder:
            optimizer = _optimize(model, spec, recorder)
            _pass(model, criterion, spec, recorder)
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise ConfigError(
            f"{spec.model} at {spec.side} px: too large to be predicted; take a smaller --imgsz"
        ) from None
    else:
        timeline = recorder.timeline(always=("optimizer", "guard"))
        del optimizer  # only now, with what it keeps
    finally:
        if collects:
            gc.enable()
    n_anchors = sum((spec.side // int(stride)) ** 2 for stride in model.stride.tolist())
    return timeline, n_anchors


def _order(spec: StepSpec) -> torch.memory_format:
    """Order in memory that the trainer chooses for weights and images."""
    return memory_format_of(torch.device(spec.device), training=True)


def _new(tensor: Tensor, *, order: torch.memory_format) -> Tensor:
    """Make a tensor of the same shape; only those of four dimensions have an order of channels."""
    made = torch.empty(tensor.shape, dtype=tensor.dtype)
    return made.contiguous(memory_format=order) if tensor.dim() == 4 else made


def _optimize(model: DetectionModel, spec: StepSpec, recorder: Recorder) -> Optimizer:
    """Note what is there in every step, and what a step of the optimiser takes.

    It comes first, with images and gradients of the batch before: steps go round and round.
    """
    recorder.add(model.parameters(), "parameters")
    recorder.add(model.buffers(), "buffers")
    of_model = [_bytes(tensor) for tensor in model.state_dict().values()]
    of_average = of_model if spec.ema else []
    recorder.add_bytes(of_average, "ema")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    recorder.begin("optimizer", "inputs")
    images = _images(spec)  # are there until the next ones come
    recorder.kind, recorder.grows = "gradients", False
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    recorder.kind = "workspace"
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=10.0)
    optimizer = optimizer_of(model, spec)
    if spec.device == "cuda":  # one call for all parameters, where there is a choice
        for group in optimizer.param_groups:
            group |= {"foreach": True} if "foreach" in group else {}
    optimizer.step()
    kept = [value for own in optimizer.state.values() for value in own.values()]
    kept = [value for value in kept if isinstance(value, Tensor)]
    recorder.label(kept, "optimizer")
    if spec.guard:
        state = of_model + of_average + [_bytes(tensor) for tensor in kept]
        recorder.add_bytes(state * GUARD_STATES, "guard")
        recorder.add_bytes(state, "guard", stays=False)
        recorder.add_bytes((_bytes(buffer) for buffer in model.buffers()), "buffers")
    if not spec.accumulates:
        optimizer.zero_grad()
    del images
    return optimizer


def optimizer_of(model: DetectionModel, spec: StepSpec) -> Optimizer:
    """Build the optimiser that Ultralytics' trainer builds.

    Args:
        model: Whose parameters it is for.
        spec: Names it.
    """
    trainer = SimpleNamespace(args=get_cfg(), data={"nc": spec.n_classes})
    with quiet():
        optimizer: Optimizer = BaseTrainer.build_optimizer(
            trainer, model, name=spec.optimizer, iterations=spec.iterations
        )
    return optimizer


def _pass(model: DetectionModel, criterion: Any, spec: StepSpec, recorder: Recorder) -> None:  # noqa: ANN401
    """Note a way forward and back."""
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
    """Make floats of the loader's whole numbers, as the trainer does."""
    loaded = torch.empty(spec.batch, 3, spec.side, spec.side, dtype=torch.uint8)
    return (loaded.float() / 255).contiguous(memory_format=_order(spec))


def _labels(spec: StepSpec) -> dict[str, Any]:
    n = spec.boxes
    labels: dict[str, Any] = {
        "batch_idx": torch.empty(n),
        "cls": torch.empty(n, 1),
        "bboxes": torch.empty(n, 4),
    }
    # On a GPU the loader counts the pairs, so that every table has a size that the host knows.
    return labels | ({"n_pairs": spec.pairs or 0} if spec.device == "cuda" else {})


@contextmanager
def _autocast(spec: StepSpec) -> Iterator[None]:
    """Compute in half precision as the device does.

    Fake tensors of a GPU go no way back without one. So those of a CPU stand for them, and what
    CUDA keeps in single precision and a CPU does not is turned here.
    """
    if spec.precision == "fp32":
        yield
        return
    kept = _SoftmaxInSingle() if spec.device == "cuda" else nullcontext()
    with torch.autocast("cpu", dtype=LOW[spec.precision]), kept:
        yield


class _SoftmaxInSingle(TorchFunctionMode):
    """Computes softmax in single precision, as CUDA's autocast does; nothing else of the models'.

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
"""Lines of a step's tensors."""
KINDS_OF_CUDA = "allocator", "library"
"""Lines that only a GPU has."""
