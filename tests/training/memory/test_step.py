from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from class_maps import ConfigError
from eval.reports.density_report import StepMemory
from settings.head_config import Group, HeadConfig
from settings.training import AssignerName, OptimizerName
from training.losses.loss_options import LossOptions
from training.memory import fake_step
from training.memory.fake_step import optimizer_of, recorded_step
from training.memory.meta_model import replace_tensors, trained_model
from training.memory.profile import profile_step
from training.memory.step import PAIRS_PER_BOX, memory_over_batch, predict_step
from training.memory.step_spec import StepSpec
from training.memory.timeline import Recorder
from training.models.checkpoints import save_weights

SMALL = StepSpec(model="omr-tiny", n_classes=3, imgsz=96, batch=2, boxes=40, device="cpu")
HEADS = HeadConfig(
    groups=(Group(name="thin", classes=("a", "b")), Group(name="rest", classes=("c",))),
    box="separate",
)


@contextmanager
def cuda_autocast() -> Iterator[None]:
    """Enable CUDA autocast, which ``torch.autocast`` ignores without a GPU."""
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", True)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", False)


def n_bytes(tensors: Iterable[object]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))


@pytest.fixture(scope="module")
def memory() -> StepMemory:
    return predict_step(SMALL)


def test_kinds_match_a_real_model(memory: StepMemory) -> None:
    model = trained_model("omr-tiny", 3)
    trained = [p for p in model.parameters() if p.requires_grad]

    assert memory.parameters_bytes == n_bytes(model.parameters())
    assert memory.gradients_bytes == n_bytes(trained)
    assert memory.ema_bytes == n_bytes(model.state_dict().values())
    assert memory.buffers_bytes == 2 * n_bytes(model.buffers())  # the guard has a copy
    assert memory.n_anchors == 12**2 + 6**2 + 3**2


@pytest.mark.parametrize(
    ("boxes", "pairs"), [(0, 0), (0, None), (1, 0), (1, 1), (1, 9), (2, 2), (2, None)]
)
def test_a_batch_with_few_symbols(memory: StepMemory, boxes: int, pairs: int | None) -> None:
    few = predict_step(replace(SMALL, boxes=boxes, pairs=pairs))
    assert 0 < few.total_bytes <= memory.total_bytes


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_optimizer_matches_the_state_of_a_real_one(
    name: OptimizerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_step, "_forward_and_backward", lambda *_: None)
    monkeypatch.setattr("training.memory.step.recorded_step", recorded_step.__wrapped__)
    spec = replace(SMALL, optimizer=name)
    model = trained_model("omr-tiny", 3)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer = optimizer_of(model, spec)
    optimizer.step()
    state_bytes = n_bytes(v for state in optimizer.state.values() for v in state.values())

    predicted = predict_step(spec)

    assert type(optimizer).__name__ == name
    assert predicted.optimizer_bytes == state_bytes
    assert predicted.guard_bytes == 3 * (2 * n_bytes(model.state_dict().values()) + state_bytes)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"precision": "bf16", "n_classes": 3, "heads": HEADS, "guard": False},
        {"boxes": 0, "guard": False, "ema": False, "optimizer": "SGD"},
    ],
    ids=["fp32", "bf16, two heads", "no boxes"],
)
def test_prediction_matches_a_real_step(changed: dict[str, Any]) -> None:
    spec = replace(SMALL, **changed)
    measured = profile_step(spec)

    predicted = predict_step(replace(spec, pairs=measured.pairs))

    assert predicted.total_bytes == pytest.approx(measured.total_bytes, rel=0.03)
    assert sum(predicted.at_peak.values()) == predicted.total_bytes


def test_memory_grows_with_batch_and_image_size(memory: StepMemory) -> None:
    over_batch = memory_over_batch(SMALL, [1, 2, 3, 64])

    totals = [memory.total_bytes for memory in over_batch]
    assert totals == sorted(set(totals))
    assert over_batch[1] == memory
    assert [memory.batch for memory in over_batch] == [1, 2, 3, 64]
    assert predict_step(replace(SMALL, imgsz=128)).activations_bytes > memory.activations_bytes


def test_more_batch_sizes_need_no_other_model(
    monkeypatch: pytest.MonkeyPatch, memory: StepMemory
) -> None:
    monkeypatch.setattr(fake_step, "initial_model", None)  # building a model would fail

    assert len(memory_over_batch(SMALL, range(1, 100))) == 99


def test_a_derived_batch_equals_the_batch_itself(memory: StepMemory) -> None:
    """Run the step for the batch itself, instead of deriving it from a huge batch."""
    pairs = SMALL.boxes * PAIRS_PER_BOX
    timeline, _ = recorded_step(replace(SMALL, pairs=pairs))

    assert timeline.live(timeline.sizes(1)).max() == memory.total_bytes


def test_imgsz_is_rounded_up_to_a_multiple_of_32() -> None:
    spec = replace(SMALL, imgsz=65)

    assert spec.side == 96
    assert predict_step(spec) == predict_step(SMALL)


def test_accumulated_gradients_persist_through_the_step(memory: StepMemory) -> None:
    accumulated = predict_step(replace(SMALL, accumulates=True, guard=False))
    single = predict_step(replace(SMALL, guard=False))

    more = accumulated.total_bytes - single.total_bytes
    assert memory.gradients_bytes / 2 < more <= memory.gradients_bytes


def test_on_a_gpu_the_guard_is_not_part_of_the_total(memory: StepMemory) -> None:
    spec = replace(SMALL, device="cuda", precision="fp16")
    found = predict_step(spec)

    assert found.guard_bytes == pytest.approx(memory.guard_bytes, rel=0.02)
    assert found.at_peak["guard"] == 0
    assert found.total_bytes == sum(found.at_peak.values())
    assert found.allocated_bytes + found.allocator_bytes == found.total_bytes
    assert found.at_peak["library"] == found.library_bytes == 32 * 2**20


def test_fake_tensors_of_a_cpu_match_those_of_a_gpu() -> None:
    """Compare the forward pass with fake CUDA tensors, on which autocast keeps softmax in fp32."""
    spec = StepSpec(model="yolo11n", n_classes=3, batch=2, precision="bf16")
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    model = trained_model("yolo11n", 3, real=False).train()
    live_bytes = []
    for device in ("cuda", "cpu"):
        with mode:
            replace_tensors(model, lambda t: torch.empty(t.shape, dtype=t.dtype, device=device))  # noqa: B023
            images = torch.empty(2, 3, 640, 640, device=device)
            half = cuda_autocast() if device == "cuda" else fake_step._autocast(spec)
            with Recorder() as recorder, half:
                outputs = model(images)
        timeline = recorder.timeline()
        live_bytes.append(int(timeline.live(timeline.sizes(1))[-1]))
        del outputs

    assert live_bytes[0] == pytest.approx(live_bytes[1], rel=0.002)


@pytest.mark.parametrize("model", ["yolo26n", "omr-tiny-p2", "yolov7-tiny"])
def test_other_models(model: str) -> None:
    found = predict_step(replace(SMALL, model=model, imgsz=64, boxes=3, device="cuda"))

    assert found.activations_bytes > found.batch * 2**20


def test_weights_have_the_memory_of_their_model(tmp_path: Path, memory: StepMemory) -> None:
    model = trained_model("omr-tiny", 3)
    model.names = dict(enumerate("abc"))
    save_weights(model, tmp_path / "best.pt", train_args={})

    found = predict_step(replace(SMALL, model=str(tmp_path / "best.pt")))

    assert found == memory


@pytest.mark.parametrize("assigner", ["simota", "static"])
def test_other_assigners(assigner: AssignerName) -> None:
    found = predict_step(replace(SMALL, imgsz=64, loss=LossOptions(assigner=assigner)))

    assert found.assigner_bytes > 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch": 0, "imgsz": -1}, "imgsz (-1), batch (0): too small; expected boxes from 0, all others from 1"),
        ({"precision": "fp8"}, "precision: fp8: expected one of bf16, fp16, fp32"),
        ({"precision": "fp16"}, "precision: fp16: not supported on a CPU; use bf16 or fp32"),
    ],
)  # fmt: skip
def test_invalid_specs(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as info:
        replace(SMALL, **changed)

    assert str(info.value) == message


def test_an_unknown_model_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^--model: unknown: yolo11q \(did you mean yolo11x\?\)"):
        predict_step(replace(SMALL, model="yolo11q"))


def test_groups_for_another_number_of_classes() -> None:
    with pytest.raises(ConfigError, match=r"^heads: config has 3 classes, but the data has 4$"):
        predict_step(replace(SMALL, heads=HEADS, n_classes=4))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_measuring_needs_the_device() -> None:
    with pytest.raises(ConfigError) as info:
        profile_step(replace(SMALL, device="cuda"))

    assert str(info.value) == "--measure: no CUDA device available; omit it, or use --device cpu"


def test_what_is_too_large_to_predict_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(*_arguments: object) -> None:
        raise RuntimeError("Storage size calculation overflowed with sizes=[64, 1000000000]")

    monkeypatch.setattr(fake_step, "_forward_and_backward", overflow)
    with pytest.raises(ConfigError) as raised:
        recorded_step(replace(SMALL, imgsz=8192))
    assert str(raised.value) == ("omr-tiny at 8192 px: too large to predict; use a smaller --imgsz")
