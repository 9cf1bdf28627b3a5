import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from shared_recording import share_recording
from typer.testing import CliRunner, Result

from class_maps import ConfigError
from omr.commands.train import train
from settings.freezing import FreezeOptions
from settings.published import DEFAULT_WEIGHTS
from training.config import read_config
from training.data.allowed_transforms import Transforms
from training.losses.loss_options import LossOptions
from training.memory.gpus import Gpu


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for folder in ("images", "labels"):
        (root / folder / "train").mkdir(parents=True)
    for i in range(2):
        cv2.imwrite(str(root / f"images/train/{i}.png"), np.full((64, 64, 3), 255, np.uint8))
        (root / f"labels/train/{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.2 0.2 0.02 0.2\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [note, stem]\n")
    return root


def run(*words: object) -> Result:
    app = typer.Typer()
    app.command()(train)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_no_data(tmp_path: Path) -> None:
    assert run(tmp_path / "gone", "--out", tmp_path / "run").exit_code == 2


def test_train_prints_its_result(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["--epochs", 1, "--imgsz", 64, "--batch", 2, "--device", "cpu", "--json"]
    result = run(data, "--out", out, *words)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["best"] == str(out / "weights" / "best.pt")
    assert summary["epochs"] == 1
    assert summary["labels"]["train"]["symbols"] == 4
    assert summary["augmented"]["stem"]["seen"] == 2
    assert summary["activations"] == {
        "backbone": {"silu": 36},
        "neck": {"silu": 23},
        "head": {"silu": 18},
    }
    assert "train: 2 images, 4 symbols" in result.stderr
    again = run(data, "--out", out, *words)
    assert isinstance(again.exception, ConfigError)
    assert (
        str(again.exception)
        == f"{out}: already exists; choose another folder, --force to replace it, or --resume to "
        "continue"
    )


def test_the_draws_of_rare_classes_are_printed(data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "images/train/0.png", data / "images/train/2.png")
    for i in (1, 2):
        (data / f"labels/train/{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    file = tmp_path / "settings.yaml"
    file.write_text("balance_classes: true\nbalance_threshold: 1.0\nmodel: omr-tiny\n")
    words = ["--epochs", 1, "--imgsz", 64, "--batch", 2, "--device", "cpu", "--json"]
    result = run(data, "--out", tmp_path / "run", "--config", file, *words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rarest"] == {
        "stem": {"images": 1, "per_epoch": 1.4},
        "note": {"images": 3, "per_epoch": 3.0},
    }
    text = "rarest classes, draws per epoch: stem 1.4 (1 image), note 3 (3 images)"
    assert text in result.stderr


def test_the_input_size_is_that_of_the_weights(data: Path, tmp_path: Path) -> None:
    words = ["--epochs", 1, "--batch", 2, "--device", "cpu", "--no-validate"]
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert run(data, "--out", first, "--model", "omr-tiny", "--imgsz", 96, *words).exit_code == 0
    for suffix, out, chosen in ((".pt", second, []), (".safetensors", third, ["--imgsz", 64])):
        weights = (first / "weights" / "last.pt").with_suffix(suffix)
        result = run(data, "--out", out, "--model", weights, *chosen, *words)
        assert result.exit_code == 0, result.output
        assert read_config(out).imgsz == (64 if chosen else 96)
        assert ("imgsz 64: the weights were trained at 96" in result.output) == bool(chosen)


def test_weights_that_come_with_omr_are_fine_tuned_by_name(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["--epochs", 1, "--batch", 2, "--device", "cpu", "--no-validate"]
    result = run(data, "--out", out, "--model", DEFAULT_WEIGHTS, *words)
    assert result.exit_code == 0, result.output
    config = read_config(out)
    assert (config.model, config.imgsz) == (DEFAULT_WEIGHTS, 320)
    transfer = json.loads((out / "transfer.json").read_text())
    assert transfer["copied"]["model.0.conv.weight"] == 432


def test_force_replaces_a_run_and_resume_takes_no_settings(data: Path, tmp_path: Path) -> None:
    words = ["--epochs", 1, "--imgsz", 64, "--batch", 2, "--device", "cpu", "--model", "omr-tiny"]
    words += ["--no-validate"]
    out = tmp_path / "run"
    assert run(data, "--out", out, *words).exit_code == 0
    (out / "results.csv").write_text("old")
    assert run(data, "--out", out, *words, "--force").exit_code == 0
    assert not (out / "results.csv").read_text().startswith("old")
    error = run(data, "--out", out, "--resume", "--epochs", 9, "--device", "cpu").exception
    assert isinstance(error, ConfigError)
    assert str(error) == "--resume: the run keeps the settings it was started with; drop --epochs"


def test_the_loss_that_is_asked_for_is_trained_with(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["--epochs", 1, "--imgsz", 64, "--batch", 2, "--device", "cpu", "--model", "omr-tiny"]
    words += ["--no-validate", "--assigner", "simota", "--class-loss", "focal"]
    result = run(data, "--out", out, *words)
    assert result.exit_code == 0, result.output
    assert read_config(out).loss_options() == LossOptions(assigner="simota", class_loss="focal")


def test_a_rate_by_rule_stands_in_the_run_and_what_it_learnt_can_be_frozen(
    data: Path, tmp_path: Path
) -> None:
    words = ["--imgsz", 64, "--batch", 2, "--device", "cpu", "--no-validate"]
    auto = ["--model", "omr-tiny", "--epochs", 1, "--lr", "auto:linear", "--nominal-batch", 128]
    result = run(data, "--out", tmp_path / "first", *words, *auto)
    assert result.exit_code == 0, result.output
    rule = "linear rule from 0.001 at 16 images per step to 128"
    assert f"lr 0.008, warm-up of 0.1 epochs: {rule}" in result.stderr
    reduced = "--warmup-epochs 5: reduced to 0.1, the most in a run of 1 epoch"
    assert reduced in result.stderr
    first = read_config(tmp_path / "first")
    assert (first.lr, first.warmup_epochs, first.nominal_batch) == (0.008, 0.1, 128)
    frozen = ["--freeze", "neck", "--unfreeze-at", "1,2", "--lr-scale", "0.2,0.1", "--epochs", 3]
    weights = tmp_path / "first/weights/last.pt"
    result = run(data, "--out", tmp_path / "then", *words, *frozen, "--model", weights)
    assert result.exit_code == 0, result.output
    then = read_config(tmp_path / "then")
    assert then.freeze_options() == FreezeOptions(
        freeze="neck", unfreeze_at=(1, 2), lr_scale=(0.2, 0.1)
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--lr", "cube"],
            "--lr cube: expected a number above 0 and at most 1 or auto, auto:sqrt, auto:linear",
        ),
        (["--unfreeze-at", "1,x"], "--unfreeze-at 1,x: expected integers such as 3,6,9"),
        (["--unfreeze-at", "1.5"], "--unfreeze-at 1.5: expected integers such as 3,6,9"),
        (["--lr-scale", ""], "--lr-scale '': expected numbers such as 0.1,0.05"),
        (
            ["--freeze", "neck"],
            "--freeze: the layers of a model from scratch have learnt nothing; give --weights FILE.pt",
        ),
        (
            ["--resume", "--find-lr"],
            "--resume: the run keeps the settings it was started with; drop --find-lr",
        ),
    ],
)
def test_a_schedule_that_is_none(
    data: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    error = run(data, "--out", tmp_path / "run", "--device", "cpu", *words).exception
    assert isinstance(error, ConfigError)
    assert str(error) == message
    assert not (tmp_path / "run").exists()


def test_a_found_rate_is_printed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.lr_finder.N_STEPS", 8)
    monkeypatch.setattr("training.lr_finder.LOWEST", 1e-4)
    monkeypatch.setattr("training.lr_finder.HIGHEST", 1e-2)
    words = ["--imgsz", 64, "--batch", 2, "--device", "cpu", "--model", "omr-tiny", "--json"]
    result = run(data, "--out", tmp_path / "rate", "--find-lr", *words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found == json.loads((tmp_path / "rate/lr.json").read_text())
    assert "8 steps, up to a learning rate of 0.01" in result.stderr
    assert found["suggestion"] > 0
    assert f"continue with --lr {found['suggestion']:g} and another --out" in result.stderr


def test_what_is_done_to_images_is_on_record(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["--epochs", 1, "--imgsz", 64, "--batch", 2, "--device", "cpu", "--model", "omr-tiny"]
    refused = run(data, "--out", out, *words, "--flipud", 0.5).exception
    assert isinstance(refused, ConfigError)
    words += [
        "--no-validate",
        "--flipud",
        0.5,
        "--allow-music-flips",
        "--mosaic",
        0.25,
        "--degrees",
        2,
    ]
    words += ["--scale", 0.1, "--translate", 0, "--brightness", 0, "--precision", "fp32"]
    result = run(data, "--out", out, *words)
    assert result.exit_code == 0, result.output
    assert "1 epoch in fp32" in result.stdout
    config = read_config(out)
    assert config.transforms() == Transforms(
        flipud=0.5, mosaic=0.25, degrees=2, allow_music_flips=True
    )
    assert (config.scale, config.translate, config.brightness) == (0.1, 0, 0)


def test_the_configuration_of_a_run_is_taken_by_another(data: Path, tmp_path: Path) -> None:
    words = ["--imgsz", 64, "--batch", 2, "--device", "cpu", "--model", "omr-tiny"]
    words += ["--epochs", 1, "--no-validate", "--mosaic", 0.5, "--lr", "auto"]
    assert run(data, "--out", tmp_path / "first", *words).exit_code == 0
    file = tmp_path / "first/omr.yaml"
    again = run("--config", file, "--out", tmp_path / "second", "--mosaic", 0)
    assert again.exit_code == 0, again.output
    first, second = read_config(tmp_path / "first"), read_config(tmp_path / "second")
    assert replace(first, out=second.out, mosaic=0.0) == second
    refused = run(data, "--out", tmp_path / "first", "--resume", "--config", file).exception
    assert isinstance(refused, ConfigError)
    assert str(refused) == "--resume: the run keeps the settings it was started with; drop --config"


def test_resume_takes_no_other_loss(data: Path, tmp_path: Path) -> None:
    words = ["--resume", "--assigner", "static", "--class-loss", "bce"]
    error = run(data, "--out", tmp_path / "run", *words).exception
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "--resume: the run keeps the settings it was started with; drop --assigner, --class-loss"
    )


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("--assigner", ["tal", "simota", "static"]),
        ("--class-loss", ["bce", "focal", "varifocal"]),
        ("--precision", ["auto", "bf16", "fp16", "fp32"]),
    ],
)
def test_help_lists_the_choices_and_others_are_refused(
    option: str,
    choices: list[str],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = run("--help").output
    assert option in shown
    assert all(choice in shown for choice in choices)
    refused = run(data, "--out", tmp_path / "run", option, "sgd")
    assert refused.exit_code == 2
    assert all(choice in refused.output for choice in choices)
    assert not (tmp_path / "run").exists()


def test_the_batch_that_fits_is_trained_with(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share_recording(monkeypatch)
    out = tmp_path / "run"
    words = ["--epochs", 1, "--imgsz", 64, "--device", "cpu", "--model", "omr-tiny"]
    words += ["--no-validate", "--batch", "auto"]
    result = run(data, "--out", out, *words)
    assert result.exit_code == 0, result.output
    assert re.search(r"^batch 2: 0\.\d GiB per device predicted$", result.stderr, re.MULTILINE)
    assert (read_config(out).batch, read_config(out).nominal_batch) == (2, 0)
    nominal = run(data, "--out", tmp_path / "again", *words, "--nominal-batch", 5)
    assert nominal.exit_code == 0, nominal.output
    config = read_config(tmp_path / "again")
    assert (config.batch, config.nominal_batch) == (1, 5)  # of two images; 2 does not divide 5

    nothing = Gpu(name="this CPU", total_bytes=0, usable_bytes=0, bf16=False, device="cpu")
    monkeypatch.setattr("training.density.fitting_batch.present_device", lambda _: nothing)
    error = run(data, "--out", tmp_path / "third", *words).exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith("omr-tiny at 64 px: not even a batch of 1 fits on this CPU")
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize("batch", ["all", "1.5", "", "AUTO"])
def test_a_batch_is_a_number_or_auto(batch: str, data: Path, tmp_path: Path) -> None:
    error = run(data, "--out", tmp_path / "run", "--batch", batch).exception
    assert isinstance(error, ConfigError)
    assert (
        str(error) == f"--batch {batch or repr(batch)}: expected an integer of at least 1 or auto"
    )
