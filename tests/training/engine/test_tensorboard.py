import csv
import importlib.util
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import cloudpickle
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from class_maps import MissingExtraError
from training.config import TrainConfig
from training.engine.omr_trainer import OmrTrainer
from training.engine.run_options import ON_OPTIONS
from training.engine.tensorboard import check_tensorboard
from training.trainer import new_trainer, train

Scalars = dict[str, list[tuple[int, float]]]


def config(data: Path, out: Path) -> TrainConfig:
    return TrainConfig(
        data=data,
        out=out,
        model="omr-tiny",
        epochs=2,
        imgsz=64,
        batch=2,
        device="cpu",
        warmup_epochs=0,
        tensorboard=True,
    )


def scalars(run: Path) -> Scalars:
    """Steps and values of every scalar."""
    events = EventAccumulator(str(run))
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train(config(dataset, out))
    return out


def rows(run: Path) -> list[dict[str, float]]:
    with (run / "results.csv").open() as file:
        return [{k.strip(): float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_every_step_and_every_epoch_is_there(run: Path) -> None:
    found = scalars(run)
    of_epochs = rows(run)
    for name in ("box_loss", "cls_loss", "dfl_loss"):
        steps = found[f"train/{name}"]
        assert [step for step, _ in steps] == [1, 2, 3, 4, 5, 6]
        for epoch, part in enumerate((steps[:3], steps[3:])):
            wanted = of_epochs[epoch][f"train/{name}"]
            assert mean(value for _, value in part) == pytest.approx(wanted, rel=1e-3)
    rates = [value for _, value in found["lr/pg0"]]
    assert rates == pytest.approx([0.001 * (1 - i / 6) for i in range(6)])
    for name in ("metrics/mAP50-95(B)", "val/box_loss"):
        assert [step for step, _ in found[name]] == [3, 6]
        values = [value for _, value in found[name]]
        assert values == pytest.approx([row[name] for row in of_epochs])


def test_nothing_is_written_unless_asked_for(trained: object, dataset: Path, run: Path) -> None:
    folder = trained.last.parent.parent  # type: ignore[attr-defined]
    assert not list(folder.glob("events.*"))
    assert list(run.glob("events.*"))


def test_a_run_that_goes_on_takes_up_its_steps(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    stock = OmrTrainer.preprocess_batch
    n = 0

    def cut_off(self: OmrTrainer, batch: dict[str, object]) -> dict[str, object]:
        nonlocal n
        n += self.model.training
        if n == 6:  # an epoch is saved, and two steps more are written
            raise KeyboardInterrupt
        return stock(self, batch)

    monkeypatch.setattr(OmrTrainer, "preprocess_batch", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train(config(dataset, out))
    monkeypatch.undo()
    train(TrainConfig(data=dataset, out=out, device="cpu", resume=True))
    steps = [step for step, _ in scalars(out)["train/box_loss"]]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_the_package_is_asked_for(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_tensorboard()
    find: Callable[..., object] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    with pytest.raises(MissingExtraError) as error:
        train(config(dataset, tmp_path / "run"))
    assert str(error.value) == "--tensorboard needs tensorboard: pip install 'omr-toolkit[log]'"
    assert not (tmp_path / "run").exists()


def test_the_options_of_several_devices_travel(dataset: Path, tmp_path: Path) -> None:
    callbacks = new_trainer(config(dataset, tmp_path)).callbacks
    # As Ultralytics hands them to the process of each device.
    there = cloudpickle.loads(cloudpickle.dumps(callbacks))

    class Trainer:
        """Takes whatever is set."""

    trainer = Trainer()
    for choose in there[ON_OPTIONS]:
        choose(trainer)
    assert vars(trainer)["options"].tensorboard is True
    assert vars(trainer)["options"].precision == "auto"
    assert vars(trainer)["options"].transforms.fliplr == 0
