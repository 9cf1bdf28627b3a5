"""Who writes into a run folder, and what is deleted there."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from interrupted import interrupted
from killed_run import Kill, forkserver, killed, run, trainer
from lock_holder import held_by_another_process

from class_maps import ConfigError
from converters.files.output_lock import LOCK
from training import trainer as trainer_module
from training.config import TrainConfig, save_config
from training.engine.inputs import TrainingInputs
from training.engine.omr_trainer import OmrTrainer
from training.runs.resumption import interruption
from training.runs.run_folder import is_of_run
from training.trainer import TrainResult, train


def tiny(data: Path, out: Path, **changes: Any) -> TrainConfig:  # noqa: ANN401
    config = TrainConfig(
        data=data, out=out, model="omr-tiny", epochs=1, imgsz=64, batch=4, device="cpu"
    )
    return replace(config, **changes)


def fail_at_start(monkeypatch: pytest.MonkeyPatch, out: Path) -> None:
    """Let the training fail in its first step, after the user has put a file into its folder."""

    def fail(_trainer: OmrTrainer, _batch: object) -> None:
        (out / "thesis.tex").touch()
        raise ValueError("broken")

    monkeypatch.setattr(OmrTrainer, "preprocess_batch", fail)


@pytest.mark.parametrize("options", [{"resume": True}, {}])
def test_a_run_that_another_process_writes_is_left_alone(
    options: dict[str, bool], trained: TrainResult, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained.last.parents[1], out)
    before = sorted(out.rglob("*"))
    with held_by_another_process(out) as pid:
        with pytest.raises(ConfigError) as raised:
            train(tiny(dataset, out, **options), force=not options)
        assert str(raised.value) == (
            f"{out}: another omr process (pid {pid}) is writing here; wait for it or choose "
            "another --out"
        )
    assert sorted(out.rglob("*")) == before


def test_two_trainings_in_one_folder_and_one_after_the_first_was_killed(
    dataset: Path, tmp_path: Path
) -> None:
    config = tiny(dataset, tmp_path / "run", validate=False)
    first = forkserver().Process(target=run, args=(replace(config, epochs=1000),))
    first.start()
    while first.is_alive() and not (config.out / "weights" / "state.pt").is_file():
        first.join(0.05)
    message = rf"run: another omr process \(pid {first.pid}\) is writing here; wait for it or"
    for second in (config, replace(config, resume=True)):
        with pytest.raises(ConfigError, match=message):
            train(second, force=not second.resume)
    assert first.is_alive()
    first.kill()
    first.join()
    assert (config.out / LOCK).is_file()
    assert train(config, force=True).epochs == 1
    assert not (config.out / LOCK).exists()


def test_a_run_without_a_folder_is_not_resumed(dataset: Path, tmp_path: Path) -> None:
    config = tiny(dataset, tmp_path / "run", resume=True)
    with pytest.raises(ConfigError) as raised:
        train(config)
    assert str(raised.value) == (
        f"{config.out}: no such folder; check --out, or omit --resume for a new run"
    )
    assert not config.out.exists()


def test_a_failed_start_leaves_only_what_it_did_not_write(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: TrainResult
) -> None:
    config = tiny(dataset, tmp_path / "run", model=str(trained.last), tensorboard=True)
    fail_at_start(monkeypatch, config.out)
    with pytest.raises(ValueError, match="broken"):
        train(config)
    assert [path.name for path in config.out.rglob("*")] == ["thesis.tex"]


def test_a_file_that_is_put_into_the_old_run_meanwhile_is_kept(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(dataset, tmp_path / "run")
    save_config(config)
    read = trainer_module._open

    def read_slowly(config: TrainConfig) -> tuple[Any, TrainingInputs]:
        (config.out / "thesis.tex").touch()
        return read(config)

    monkeypatch.setattr(trainer_module, "_open", read_slowly)
    with pytest.raises(ConfigError) as raised:
        train(config, force=True)
    assert str(raised.value) == (
        f"{config.out}: changed while omr was reading the data (thesis.tex), so it was not "
        "replaced; start again"
    )
    assert sorted(path.name for path in config.out.iterdir()) == ["omr.yaml", "thesis.tex"]


def test_a_link_is_followed(dataset: Path, tmp_path: Path) -> None:
    config = tiny(dataset, tmp_path / "run", validate=False)
    (tmp_path / "disk").mkdir()
    config.out.symlink_to(tmp_path / "disk")
    save_config(config)
    (tmp_path / "disk" / "results.csv").write_text("old")
    assert train(config, force=True).epochs == 1
    assert config.out.is_symlink()
    assert (tmp_path / "disk" / "weights" / "last.pt").is_file()
    assert (tmp_path / "disk" / "results.csv").read_text() != "old"


def test_a_run_with_a_file_of_the_user_is_not_replaced(
    trained: TrainResult, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained.last.parents[1], out)
    written = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    assert all(map(is_of_run, written))
    (out / "weights" / "before_the_deadline.pt").touch()
    (out / "score").mkdir()
    (out / "score" / "report.json").touch()
    with pytest.raises(ConfigError) as raised:
        train(tiny(dataset, out), force=True)
    assert str(raised.value) == (
        f"{out}: contains files that omr did not write (score/report.json, "
        "weights/before_the_deadline.pt), so it was not replaced; move them, or choose another "
        "folder"
    )
    assert all((out / name).is_file() for name in written)


def test_inputs_in_a_run_that_would_be_replaced_are_kept(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = tiny(dataset, out)
    save_config(config)
    message = "is inside {}, which would be replaced; choose another output folder"
    with pytest.raises(ConfigError, match=re.escape(message.format(out))):
        train(config, force=True, config_file=out / "omr.yaml")
    data = tmp_path / "data"
    shutil.copytree(dataset, data)
    shutil.move(data / "images", out / "images")
    (data / "images").symlink_to(out / "images")
    with pytest.raises(
        ConfigError, match=r"contains files that omr did not write \(images/train/0"
    ):
        train(replace(config, data=data), force=True)
    assert len([*(out / "images" / "train").iterdir()]) > 0


def test_an_interrupted_run_says_how_to_resume(dataset: Path, tmp_path: Path) -> None:
    config = tiny(dataset, tmp_path / "my run", epochs=3)
    message = interrupted(config, epoch=1)
    words = ["omr", "train", str(dataset), "--out", str(config.out), "--resume", "--device", "cpu"]
    assert message == (
        f"{config.out}: interrupted after epoch 2 of 3, which is kept; resume with: "
        f"{shlex.join(words)}"
    )
    (config.out / "weights" / "state.pt").unlink()
    again = interruption(config)
    assert again.endswith(
        f"to use its weights, start a new run with --model {config.out}/weights/last.pt"
    )


def test_a_run_interrupted_in_its_first_epoch(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_trainer: OmrTrainer, _batch: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(OmrTrainer, "preprocess_batch", interrupt)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as raised:
        train(tiny(dataset, out))
    assert str(raised.value) == (
        f"{out}: interrupted before the end of the first epoch; nothing was kept"
    )
    assert not out.exists()


def test_a_run_that_was_killed_in_its_set_up_can_be_replaced(dataset: Path, tmp_path: Path) -> None:
    config = tiny(dataset, tmp_path / "run", validate=False)
    killed(config, Kill(trainer, "setup_model"))
    assert (config.out / LOCK).is_file()
    with pytest.raises(ConfigError, match="exists; choose another folder, --force to replace it"):
        train(config)
    with pytest.raises(ConfigError, match=r"cannot be resumed: .*; start again with --force"):
        train(replace(config, resume=True))
    assert train(config, force=True).epochs == 1
