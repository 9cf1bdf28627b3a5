import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import pytest
import torch
import yaml
from tf32 import tf32_is_on
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.loss import E2ELoss
from ultralytics.utils.torch_utils import unwrap_model

from converters.formats.datasets import open_dataset
from training.assigners.similarity import EPS, MIN_SCORE, ciou_nwd
from training.assigners.static import StaticAssigner
from training.assigners.task_aligned import SparseTaskAlignedAssigner
from training.config import TrainConfig
from training.engine.callbacks import set_rate, start_epoch
from training.engine.omr_trainer import OmrTrainer
from training.engine.validator import OmrValidator
from training.heads.distance_bins import CLOSED, strides_below_zero
from training.losses.class_terms import CLASS_TERMS
from training.losses.detection import DetectionLoss
from training.trainer import new_trainer, ready_trainer


def small(data: Path, out: Path) -> TrainConfig:
    return TrainConfig(data=data, out=out, model="omr-tiny", imgsz=96, batch=4, device="cpu")


@pytest.fixture(scope="module")
def trainer(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> OmrTrainer:
    return ready_trainer(small(dataset, tmp_path_factory.mktemp("run")))


def test_every_process_of_several_devices_has_the_options(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultralytics.engine.trainer.RANK", 1)  # not the first
    config = replace(small(dataset, tmp_path), assigner="simota", size_prior=False)
    first = new_trainer(config)
    made = OmrTrainer(overrides=vars(first.args), _callbacks=first.callbacks)
    assert made.options.loss.assigner == "simota"
    assert not made.options.size_prior


def test_another_memory_format_can_be_chosen(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OmrTrainer, "memory_format", torch.contiguous_format)
    made = ready_trainer(replace(small(dataset, tmp_path), model="omr-tiny"))
    batch = made.preprocess_batch(next(iter(made.train_loader)))
    for tensor in (batch["img"], *unwrap_model(made.model).parameters()):
        assert tensor.is_contiguous()


def test_no_new_tensor_is_filled(dataset: Path, tmp_path: Path) -> None:
    ready_trainer(replace(small(dataset, tmp_path), model="omr-tiny"))
    assert torch.are_deterministic_algorithms_enabled()
    deterministic: Any = torch.utils.deterministic
    assert not deterministic.fill_uninitialized_memory


def test_validation_is_in_exact_fp32(trainer: OmrTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def validate(_trainer: OmrTrainer) -> tuple[dict[str, float], float]:
        seen.append(tf32_is_on())
        return {}, 0.0

    monkeypatch.setattr(DetectionTrainer, "validate", validate)
    trainer.epoch = 0
    trainer.validate()
    assert seen == [False]
    assert tf32_is_on()


def test_validation_has_the_training_batch(trainer: OmrTrainer) -> None:
    assert trainer.train_loader.batch_size == 4
    assert trainer.test_loader.batch_size == 4


def test_no_image_is_held_for_a_mosaic(trainer: OmrTrainer) -> None:
    for _batch in trainer.train_loader:
        held = [image for image in trainer.train_loader.dataset.ims if image is not None]
        assert len(held) <= 1


def test_both_copies_of_the_model_have_the_loss(trainer: OmrTrainer) -> None:
    for model in (unwrap_model(trainer.model), trainer.ema.ema):
        assert isinstance(model.criterion, DetectionLoss)
        assert model.criterion.assigner == SparseTaskAlignedAssigner(
            num_classes=3, similarity=ciou_nwd, eps=EPS, min_score=MIN_SCORE
        )
        assert model.criterion.class_term is CLASS_TERMS["bce"]


def test_both_copies_of_the_model_have_signed_distances(trainer: OmrTrainer) -> None:
    for model in (unwrap_model(trainer.model), trainer.ema.ema):
        assert strides_below_zero(model.model[-1]) == 2
        assert model.criterion.bins.tolist() == [*range(-2, 16)]


def test_a_start_without_sizes_predicts_as_ultralytics_does(dataset: Path, tmp_path: Path) -> None:
    made = ready_trainer(replace(small(dataset, tmp_path), size_prior=False))
    assert made.state.priors is None
    for model in (unwrap_model(made.model), made.ema.ema):
        assert model.criterion.bins.tolist() == [*range(-2, 16)]
        last = model.model[-1].cv2[0][-1]
        of_bins = last.bias.unflatten(0, (4, 18))
        assert torch.equal(of_bins[:, :2], torch.full((4, 2), CLOSED))
        assert torch.equal(of_bins[:, 2:], of_bins[:1, 2:3].expand(4, 16))
        assert not last.weight.unflatten(0, (4, 18))[:, :2].any()


def test_a_head_config_can_ask_for_ultralytics_bins(dataset: Path, tmp_path: Path) -> None:
    names = open_dataset(dataset).names
    file = tmp_path / "heads.yaml"
    group = {"name": "all", "classes": list(names)}
    file.write_text(yaml.safe_dump({"groups": [group], "box_encoding": "stock"}), "utf-8")
    made = ready_trainer(replace(small(dataset, tmp_path / "run"), heads=str(file)))
    for model in (unwrap_model(made.model), made.ema.ema):
        assert strides_below_zero(model.model[-1]) == 0
        assert model.criterion.bins.tolist() == [*range(16)]


def test_the_configuration_reaches_every_branch_of_the_loss(dataset: Path, tmp_path: Path) -> None:
    config = replace(small(dataset, tmp_path), assigner="static", class_loss="varifocal")
    made = ready_trainer(replace(config, model="yolo26n"))
    for model in (unwrap_model(made.model), made.ema.ema):
        assert isinstance(model.criterion, E2ELoss)
        both = model.criterion.one2many, model.criterion.one2one
        assert [type(loss) for loss in both] == [DetectionLoss] * 2
        assert [loss.assigner for loss in both] == [StaticAssigner(), StaticAssigner(max_points=1)]
        assert all(loss.class_term is CLASS_TERMS["varifocal"] for loss in both)


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"epochs": 1}, [3 / 3, 2 / 3, 1 / 3]),
        ({"epochs": 2}, [0 / 3, 1 / 3, 2 / 3, 3 / 3, 2 / 3, 1 / 3]),
        ({"epochs": 2, "warmup_epochs": 0.0}, [6 / 6, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ({"epochs": 2, "warmup_epochs": 0.0, "final_lr": 0.4}, [1, 0.9, 0.8, 0.7, 0.6, 0.5]),
        # Two batches, then the third alone; a step has the rate of its first batch.
        (
            {"epochs": 2, "warmup_epochs": 0.0, "nominal_batch": 4},
            [1, 1, 4 / 6, 3 / 6, 3 / 6, 1 / 6],
        ),
    ],
)
def test_the_rate_rises_and_falls_to_zero_step_by_step(
    settings: dict[str, Any],
    rates: list[float],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = ready_trainer(replace(small(dataset, tmp_path), batch=2, **settings))
    monitored = []

    def note_rate(trainer: OmrTrainer) -> None:
        monitored.append(trainer.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(trainer, "_setup_train", lambda: None)  # done
    trainer.add_callback("on_train_batch_end", note_rate)
    trainer.args.val = False
    trainer.train()
    assert monitored == pytest.approx([0.001 * factor for factor in rates])


def test_the_momentum_of_sgd_rises_in_the_warm_up(dataset: Path, tmp_path: Path) -> None:
    config = replace(small(dataset, tmp_path), batch=2, optimizer="SGD", epochs=3)
    config = replace(config, warmup_epochs=4 / 3)
    trainer = ready_trainer(config)
    momenta = []
    for trainer.epoch in range(3):
        start_epoch(trainer)
        for _ in trainer.train_loader:
            set_rate(trainer)
            momenta.append(trainer.optimizer.param_groups[0]["momentum"])
    start, end = trainer.args.warmup_momentum, trainer.args.momentum
    rising = [start + (end - start) * i / 4 for i in range(4)]
    assert momenta == pytest.approx([*rising, *[end] * 5])
    assert start < end


def test_the_threads_stay_as_they_were(dataset: Path, tmp_path: Path) -> None:
    torch.set_num_threads(3)
    new_trainer(small(dataset, tmp_path))
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("asked", "threads"), [("", joblib.cpu_count()), ("1", 1)])
def test_every_core_is_used_unless_asked_otherwise(asked: str, threads: int) -> None:
    code = "import training, torch; print(torch.get_num_threads())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": asked},
    )
    assert int(done.stdout) == threads


def test_a_cpu_has_its_own_order_in_memory(trainer: OmrTrainer) -> None:
    batch = trainer.preprocess_batch(next(iter(trainer.train_loader)))
    weights = trainer.model.model[1].conv.weight
    for tensor in (batch["img"], weights):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_the_average_starts_at_the_prior_too(trainer: OmrTrainer) -> None:
    assert trainer.state.priors is not None
    own, average = (model.model[-1].cv2[0][-1] for model in (trainer.model, trainer.ema.ema))
    assert torch.equal(own.bias, average.bias)
    assert not torch.allclose(own.bias, torch.ones_like(own.bias))


def test_validation_loses_no_image_to_a_clock(
    trainer: OmrTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10**6, 1000))
    monkeypatch.setattr("ultralytics.utils.nms.time.time", lambda: next(clock))
    validator = trainer.get_validator()
    assert type(validator) is OmrValidator
    validator.end2end = False
    box = torch.tensor([50.0, 50, 10, 10, 0.9, 0, 0])
    found = validator.postprocess(box[None, :, None].repeat(3, 1, 1))
    assert [len(image["conf"]) for image in found] == [1, 1, 1]
