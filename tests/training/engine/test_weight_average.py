from pathlib import Path

import pytest
import torch
from torch import nn
from ultralytics.utils.torch_utils import ModelEMA, unwrap_model

from training.config import TrainConfig
from training.engine.omr_trainer import OmrTrainer
from training.engine.weight_average import ema_decay
from training.trainer import ready_trainer


def weights_of_steps(n_steps: int) -> torch.Tensor:
    """The weight of the values after each step in the average at the end, from step 0."""
    model = nn.Linear(n_steps + 1, 1, bias=False).double()
    steps = torch.eye(n_steps + 1, dtype=torch.float64)
    model.weight.data[:] = steps[0]
    average = ModelEMA(model)
    average.decay = ema_decay
    for step in steps[1:]:
        model.weight.data[:] = step
        average.update(model)
    weights: torch.Tensor = average.ema.weight.detach()[0]
    return weights


@pytest.mark.parametrize("n_steps", [1, 2, 10, 200, 2000])
def test_most_of_the_average_is_the_last_tenth_at_any_length(n_steps: int) -> None:
    weights = weights_of_steps(n_steps)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] == 0, "the initial values"
    assert weights.diff().min() >= 0
    tail = -(-n_steps // 10)
    assert 0.6 < weights[-tail:].sum() <= 1
    assert n_steps < 100 or weights[-tail:].sum() < 0.7


@pytest.mark.parametrize(("epochs", "nominal_batch"), [(1, 0), (2, 0), (2, 2)])
def test_a_run_ends_with_the_average_over_its_steps(
    epochs: int,
    nominal_batch: int,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = TrainConfig(
        data=dataset,
        out=tmp_path,
        model="omr-tiny",
        epochs=epochs,
        warmup_epochs=0,
        lr=0.01,
        imgsz=64,
        batch=1,
        nominal_batch=nominal_batch,
        validate=False,
        device="cpu",
    )
    trainer = ready_trainer(config)
    monkeypatch.setattr(trainer, "_setup_train", lambda: None)  # done
    bias = unwrap_model(trainer.model).model[-1].cv3[0][-1].bias
    states = {0: bias.detach().clone()}

    def note_values(trainer: OmrTrainer) -> None:
        states[trainer.ema.updates] = bias.detach().clone()

    trainer.add_callback("on_train_batch_end", note_values)
    trainer.train()
    values = torch.stack([*states.values()]).double()
    expected = weights_of_steps(len(states) - 1) @ values
    average = trainer.ema.ema.model[-1].cv3[0][-1].bias.double()
    assert len(states) == 1 + epochs * (3 if nominal_batch else 6)
    torch.testing.assert_close(average, expected, rtol=1e-6, atol=1e-5)
    assert not torch.allclose(average, values[-1], rtol=1e-6, atol=1e-4)
