"""Memory of a training step, predicted without allocating it and without a GPU.

The step is that of ``omr train``: model and head, loss and assigner, backward pass, and the
optimiser that Ultralytics builds. :mod:`training.memory.fake_step` runs it once and records its
allocations. The peak is the moment with the most allocated bytes.
"""

from collections.abc import Sequence
from dataclasses import replace

from eval.reports.density_report import StepMemory
from training.assigners.predictions import PARTS
from training.memory import cuda
from training.memory.fake_step import recorded_step
from training.memory.step_spec import StepSpec
from training.memory.timeline import MANY, Timeline

KINDS = (
    "parameters", "gradients", "optimizer", "ema", "buffers", "inputs", "activations", "loss",
    "assigner", "workspace", "guard",
)  # fmt: skip
"""Kinds of tensors in a step."""
KINDS_OF_CUDA = "allocator", "library"
"""Kinds of memory that only a GPU has."""
PAIRS_PER_BOX = 8
"""Assumed number of candidate pairs per box where the actual number is not known. The dense scenes
of benchmarks/results/assigner.md have 7.7: 38,163 for 5,000 boxes, 307,561 for 40,000."""


def predict_step(spec: StepSpec) -> StepMemory:
    """Predict the peak memory of a training step.

    Args:
        spec: Model, batch and everything else that the memory depends on.

    Raises:
        ConfigError: The model is unknown or too large, or the groups have another number of
            classes.
        InputError: The weights file is missing or does not contain a detection model.
    """
    return _memory(recorded_step(_of_many(spec)), spec)


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
    recorded = recorded_step(_of_many(spec))
    return [_memory(recorded, batch_spec) for batch_spec in specs]


def _of_many(spec: StepSpec) -> StepSpec:
    """Scale a step to the huge batch from whose tensor sizes all other batches are derived."""
    boxes = -(-spec.boxes // spec.batch)
    pairs = spec.boxes * PAIRS_PER_BOX if spec.pairs is None else spec.pairs
    # Fake sizes are looked up by length: the list of pairs must be longer than the list of boxes.
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
    """Compute the memory of one batch size from the result of :func:`recorded_step`."""
    timeline, n_anchors = recorded
    on_gpu = spec.device == "cuda"
    all_sizes = timeline.sizes(spec.batch, cuda.ROUNDING if on_gpu else 1)
    kind_masks = {kind: timeline.is_kind(kind) for kind in KINDS}
    maxima = {kind: int(timeline.live(all_sizes * mask).max()) for kind, mask in kind_masks.items()}
    sizes = all_sizes * ~kind_masks["guard"] if on_gpu else all_sizes
    live = timeline.live(sizes)
    peak = int(live.argmax())
    is_live = timeline.live_after(peak)
    at_peak = {kind: int(sizes[mask & is_live].sum()) for kind, mask in kind_masks.items()}
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
