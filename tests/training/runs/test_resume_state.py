import errno
import json
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from finished_run import WEIGHTS, rows
from killed_run import Kill, Patch, files, half_a_state, killed, load_in_a_process, module, trainer
from ultralytics.models.yolo.detect import DetectionTrainer

from class_maps import ConfigError, InputError
from converters.files.atomic_files import atomic_file
from settings.run_files import STATE_FILE
from training.config import TrainConfig
from training.engine import omr_trainer
from training.engine.omr_trainer import OmrTrainer
from training.models.checkpoints import open_weights
from training.runs import resume_state
from training.runs.checkpoint_files import REPORT_FILE, finish_run
from training.trainer import train

Draw = Callable[..., Path]
EPOCHS = 3


def keep_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the last state of a run, which is deleted when the run is finished."""

    def finish(weights: Path) -> None:
        shutil.copy(weights / STATE_FILE, weights.parent / "end.pt")
        finish_run(weights)

    monkeypatch.setattr(omr_trainer, "finish_run", finish)


def flat(value: object, place: str = "") -> dict[str, Any]:
    """Every number and tensor of a state, by its place."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            name: leaf
            for key, inner in items
            for name, leaf in flat(inner, f"{place}/{key}").items()
        }
    return {place: value}


def check_equal(run: Path, other: Path, epochs: int = EPOCHS) -> None:
    ends = [flat(resume_state.read(folder / "end.pt")) for folder in (run, other)]
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        if name == "/seconds":
            continue
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, ends[1][name]), name
            assert value.stride() == ends[1][name].stride(), name
        else:
            assert value == ends[1][name], name
    assert rows(run) == rows(other)
    assert len(rows(run)) == epochs + 1
    reports = [(folder / REPORT_FILE).read_text() for folder in (run, other)]
    assert reports[0] == reports[1]
    assert sorted(file.name for file in (run / "weights").iterdir()) == WEIGHTS


@pytest.fixture(scope="module")
def data(draw: Draw, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("data") / "drawn", n_images=8, side=64, n_symbols=4)


def tiny(data: Path, out: Path) -> TrainConfig:
    return TrainConfig(
        data=data, out=out, model="omr-tiny", epochs=EPOCHS, imgsz=64, batch=4, device="cpu", seed=3
    )


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        keep_the_end(patch)
        train(tiny(data, out))
    return out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB, which only root can mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_before_the_first_state_there_is_nothing_to_go_on_from(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(data, tmp_path / "run")
    killed(config, Kill(files, "write_state"))
    assert (config.out / "weights" / "last.pt").is_file()
    with pytest.raises(ConfigError) as raised:
        train(replace(config, resume=True))
    assert str(raised.value) == (
        f"{config.out}: cannot be resumed: no weights/state.pt; start again with --force"
    )


@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(Kill(trainer, "optimizer_step", call=4), id="in an epoch"),
        pytest.param(Kill(trainer, "save_metrics", call=2, after=True), id="after its row"),
        pytest.param(Kill(files, "write_state", call=2), id="after its weights"),
        pytest.param(half_a_state, id="in its state"),
        pytest.param(Kill(files, "write_state", call=2, after=True), id="after its state"),
    ],
)
def test_a_killed_run_ends_as_if_it_had_not_been(
    kill: Patch, data: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(data, tmp_path / "run")
    killed(config, kill)
    keep_the_end(monkeypatch)
    train(TrainConfig(data=data, out=config.out, device="cpu", resume=True))
    check_equal(undisturbed, config.out)


def test_other_models_and_several_sources_too(
    data: Path, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = draw(tmp_path / "other", n_images=4, side=64)
    config = replace(
        tiny(data, tmp_path / "whole"),
        joint=(other,),
        sampling_weights=(1.0, 2.0),
        balance_classes=True,
        balance_threshold=1.0,
        merge_classes=("all",),
        model="yolo26n",
        optimizer="SGD",
        epochs=2,
    )
    keep_the_end(monkeypatch)
    train(config)
    config = replace(config, out=tmp_path / "run")
    killed(config, Kill(trainer, "optimizer_step", call=5))
    train(TrainConfig(data=data, joint=(other,), out=config.out, device="cpu", resume=True))
    check_equal(tmp_path / "whole", tmp_path / "run", epochs=2)


def test_processes_that_load_images_change_nothing(
    data: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OmrTrainer, "get_dataset", OmrTrainer.get_dataset)  # put back after
    config = tiny(data, tmp_path / "run")
    killed(config, load_in_a_process, Kill(trainer, "optimizer_step", call=4))
    keep_the_end(monkeypatch)
    load_in_a_process()
    train(TrainConfig(data=data, out=config.out, device="cpu", resume=True))
    check_equal(undisturbed, config.out)


def test_a_run_that_was_killed_before_it_finished_is_finished(
    data: Path, undisturbed: Path, tmp_path: Path
) -> None:
    config = tiny(data, tmp_path / "run")
    killed(config, Kill(module, "finish_run"))
    weights = config.out / "weights"
    shutil.copy(weights / STATE_FILE, config.out / "end.pt")
    with pytest.raises(ConfigError, match="already finished after 3 epochs; to train further"):
        train(replace(config, resume=True))
    for part in weights.glob("*.part"):
        part.unlink()
    check_equal(undisturbed, config.out)


def test_without_room_for_a_state_the_one_before_is_kept(tmp_path: Path) -> None:
    file = tmp_path / STATE_FILE
    resume_state.write({"version": 1, "epochs_done": 1}, file)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            resume_state.write({"version": 1, "epochs_done": 2, "w": torch.zeros(99_999)}, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert resume_state.reason(raised.value) == "File too large"
    assert resume_state.read(file)["epochs_done"] == 1
    assert list(tmp_path.iterdir()) == [file]


def test_a_training_without_room_for_its_state_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(resume_state, "write", full)
    result = train(replace(tiny(data, tmp_path / "run"), epochs=1))
    assert result.last.is_file()
    said = [record.message for record in caplog.records if STATE_FILE in record.message]
    assert len(said) == 1
    assert said[0].endswith(
        f"{tmp_path}/run/weights/state.pt: epoch 1 was not written, there is none yet: "
        "No space left on device; --resume uses the last state written"
    )


def test_a_full_disk_keeps_the_checkpoint_and_the_run_resumes(
    data: Path, undisturbed: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = small_disk / "run"
    save = OmrTrainer.save_model

    def fill(trainer: OmrTrainer) -> bool:
        if trainer.epoch == 1:
            (small_disk / "other").write_bytes(
                bytes(shutil.disk_usage(small_disk).free - 3_000_000)
            )
        return save(trainer)

    monkeypatch.setattr(OmrTrainer, "save_model", fill)
    with pytest.raises(ConfigError) as raised:
        train(tiny(data, out))
    monkeypatch.setattr(OmrTrainer, "save_model", save)
    assert str(raised.value) == (
        f"{out}/weights: weights of epoch 2 were not written: No space left on device; free some "
        "space and resume with --resume"
    )
    assert sorted(file.name for file in (out / "weights").iterdir()) == [*WEIGHTS, STATE_FILE]
    assert resume_state.epochs_done(out / "weights" / STATE_FILE) == 1
    for name in WEIGHTS:
        open_weights(out / "weights" / name)
    (small_disk / "other").unlink()
    keep_the_end(monkeypatch)
    train(TrainConfig(data=data, out=out, device="cpu", resume=True))
    check_equal(undisturbed, out)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file; start the run again"),
        (b"", "damaged; start the run again"),
        (b"PK\x03\x04 and no more", "damaged; start the run again"),
    ],
)
def test_a_state_that_cannot_be_read(content: bytes | None, problem: str, tmp_path: Path) -> None:
    file = tmp_path / STATE_FILE
    if content is not None:
        file.write_bytes(content)
    for mapped in (False, True):
        with pytest.raises(InputError) as raised:
            resume_state.read(file, mapped=mapped)
        assert str(raised.value) == f"{file}: {problem}"


def test_a_flipped_bit_of_a_state_is_found(tmp_path: Path) -> None:
    file = tmp_path / STATE_FILE
    values = torch.rand(100)
    resume_state.write({"version": resume_state.VERSION, "values": values}, file)
    assert torch.equal(resume_state.read(file)["values"], values)
    content = bytearray(file.read_bytes())
    content[content.index(values.numpy().tobytes()) + 50] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged; start the run again"):
        resume_state.read(file)


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / STATE_FILE
    resume_state.write({"version": 0}, file)
    with pytest.raises(InputError, match="written by another version of omr; start the run again"):
        resume_state.read(file)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for text in ("1", "2"):
        with atomic_file(file) as part:
            part.write_text(text)
        assert file.read_text() == text
    with pytest.raises(ZeroDivisionError), atomic_file(file) as part:
        part.write_text(str(1 // 0))
    with pytest.raises(FileNotFoundError), atomic_file(file):
        pass
    assert json.loads(file.read_text()) == 2
    assert list(tmp_path.iterdir()) == [file]


def test_rows_of_later_epochs_go_and_a_missing_one_counts(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    resume_state.cut_results(file, 2)
    assert not file.exists()
    file.write_text("epoch,loss\n1,5\n3,4\n4,3\n")  # for the second there was no room
    resume_state.cut_results(file, 3)
    assert file.read_text() == "epoch,loss\n1,5\n3,4\n"
    resume_state.cut_results(file, 0)
    assert file.read_text() == "epoch,loss\n"


@pytest.mark.parametrize("rows", ["", "epoch,time\n1,2\n"])
def test_half_a_row_is_removed(rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next row would continue it, or a file without a heading."""

    def full_disk(trainer: OmrTrainer, _metrics: object) -> None:
        with trainer.csv.open("a") as file:
            file.write("2,")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(DetectionTrainer, "save_metrics", full_disk)
    training = object.__new__(OmrTrainer)
    training.csv, training.epoch = tmp_path / "results.csv", 1
    training.args = SimpleNamespace(val=True)
    if rows:
        training.csv.write_text(rows)
    training.save_metrics({})
    assert (training.csv.read_text() if training.csv.exists() else "") == rows
    assert training.csv.exists() == bool(rows)
