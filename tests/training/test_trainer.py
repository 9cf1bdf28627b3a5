import copy
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from interrupted import interrupted
from ultralytics.utils.loss import E2ELoss
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import ConfigError, InputError
from converters.formats.datasets import open_dataset
from settings.run_files import CONFIG_FILE
from settings.training import AssignerName, ClassLoss
from training.assigners.simota import SparseSimOTA
from training.config import TrainConfig, read_config, save_config
from training.data.dataset import OmrDataset
from training.engine.omr_trainer import OmrTrainer
from training.engine.overrides import overrides_of
from training.engine.run_options import ON_OPTIONS
from training.heads.distance_bins import strides_below_zero
from training.losses.class_terms import CLASS_TERMS
from training.losses.loss_options import LossOptions
from training.models.checkpoints import load_weights
from training.predict.detector import predict
from training.runs import resume_state
from training.runs.checkpoint_files import REPORT_FILE
from training.trainer import TrainResult, new_trainer, ready_trainer, train

Draw = Callable[..., Path]


def tiny(data: Path, out: Path) -> TrainConfig:
    return TrainConfig(
        data=data, out=out, model="omr-tiny", epochs=1, imgsz=64, batch=4, device="cpu"
    )


def test_a_training_leaves_weights_config_and_counts(trained: TrainResult, dataset: Path) -> None:
    assert trained.best.is_file()
    assert trained.last.is_file()
    assert trained.epochs == 2
    assert {split: counts.symbols for split, counts in trained.labels.items()} == {
        "train": 54,
        "val": 54,
    }
    run = trained.last.parents[1]
    assert read_config(run).data == dataset
    args = yaml.safe_load((run / "args.yaml").read_text())
    off = ["flipud", "fliplr", "mosaic", "mixup", "cutmix", "copy_paste", "degrees", "hsv_h"]
    assert [args[name] for name in off] == [0] * len(off)
    assert args["max_det"] == 300
    assert args["plots"] is False
    assert not list(run.glob("*.jpg")), "no plots"
    json.dumps(trained.to_json())


def test_training_and_prediction_need_no_polars(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ultralytics imports it inside its own ``save_model`` and plots."""
    monkeypatch.setitem(sys.modules, "polars", None)
    result = train(tiny(dataset, tmp_path / "run"))
    images = [(dataset / "images/val/0.png", PurePosixPath("0.png"))]
    [page] = predict(result.best, images, imgsz=64, device="cpu", score_thresh=0, max_det=5)
    assert len(page.labels) == 5


def test_every_symbol_is_seen_once_an_epoch(trained: TrainResult) -> None:
    seen = {name: counts["seen"] for name, counts in trained.augmented.items()}
    assert sum(seen.values()) == trained.epochs * trained.labels["train"].symbols
    assert all(counts["dropped"] < counts["seen"] / 4 for counts in trained.augmented.values())


def test_the_saved_model_is_ultralytics_own(trained: TrainResult) -> None:
    model = load_weights(trained.last)
    assert type(model).__module__ == "ultralytics.nn.tasks"
    assert list(model.names.values()) == ["notehead", "stem", "beam"]


def test_a_killed_run_goes_on(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(tiny(dataset, tmp_path / "run"), epochs=3)
    interrupted(config, epoch=1)
    moved = tmp_path / "moved"
    shutil.move(config.out, moved)
    datasets: list[OmrDataset] = []
    build = OmrTrainer.build_dataset

    def build_and_remember(trainer: OmrTrainer, *args: Any) -> OmrDataset:  # noqa: ANN401
        datasets.append(build(trainer, *args))
        return datasets[-1]

    monkeypatch.setattr(OmrTrainer, "build_dataset", build_and_remember)
    with pytest.raises(
        ConfigError, match=f"was started with {dataset}, not with other; give these"
    ):
        train(TrainConfig(data=Path("other"), out=moved, device="cpu", resume=True))
    result = train(TrainConfig(data=dataset, out=moved, device="cpu", resume=True))
    assert result.epochs == 3
    assert sum(counts["seen"] for counts in result.augmented.values()) == 3 * 54
    assert type(datasets[0].transforms.transforms[0]).__name__ == "SourcePerspective"
    assert not config.out.exists()
    with pytest.raises(ConfigError) as finished:
        train(TrainConfig(data=dataset, out=moved, resume=True))
    assert str(finished.value) == (
        f"{moved}: already finished after 3 epochs; to train further, start a new run with --model "
        f"{moved}/weights/last.pt"
    )


def test_a_resumed_run_has_the_loss_it_was_started_with(
    draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = draw(tmp_path / "data", n_images=2)
    config = replace(
        tiny(data, tmp_path / "run"), epochs=9, model="yolo26n", assigner="simota", validate=False
    )
    config = replace(config, class_loss="focal")
    save, setup = OmrTrainer.save_model, OmrTrainer._setup_train

    def save_and_die(trainer: OmrTrainer) -> bool:
        save(trainer)
        if trainer.epoch == 1:
            raise KeyboardInterrupt
        return True

    criteria: list[E2ELoss] = []

    def set_up_and_die(trainer: OmrTrainer) -> None:
        setup(trainer)
        criteria.extend(unwrap_model(m).criterion for m in (trainer.model, trainer.ema.ema))
        raise KeyboardInterrupt

    monkeypatch.setattr(OmrTrainer, "save_model", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    monkeypatch.setattr(OmrTrainer, "_setup_train", set_up_and_die)
    with pytest.raises(KeyboardInterrupt):
        train(TrainConfig(data=data, out=config.out, device="cpu", resume=True))
    for criterion in criteria:
        for loss, most in ((criterion.one2many, None), (criterion.one2one, 1)):
            assert isinstance(loss.assigner, SparseSimOTA)
            assert loss.assigner.max_points == most
            assert loss.class_term is CLASS_TERMS["focal"]
    trained = criteria[0]
    assert trained.updates == 2, "one for each epoch done"
    assert trained.o2m == pytest.approx(0.1 + 0.7 * (1 - 2 / 8))
    assert trained.o2o == pytest.approx(1 - trained.o2m)


@pytest.mark.parametrize("model", ["omr-tiny", "yolo26n"])
@pytest.mark.parametrize(
    ("assigner", "class_loss"), [("simota", "bce"), ("static", "focal"), ("tal", "varifocal")]
)
def test_every_assigner_and_class_loss_trains(
    model: str, assigner: AssignerName, class_loss: ClassLoss, draw: Draw, tmp_path: Path
) -> None:
    data = draw(tmp_path / "data", n_images=2)
    config = replace(tiny(data, tmp_path / "run"), model=model, validate=False)
    result = train(replace(config, assigner=assigner, class_loss=class_loss))
    weights = load_weights(result.last).state_dict().values()
    assert all(tensor.isfinite().all() for tensor in weights)
    stored = yaml.safe_load((config.out / CONFIG_FILE).read_text("utf-8"))
    assert (stored["assigner"], stored["class_loss"]) == (assigner, class_loss)
    read = read_config(config.out).loss_options()
    assert read == LossOptions(assigner=assigner, class_loss=class_loss)
    head, row = (config.out / "results.csv").read_text().splitlines()
    figures = dict(zip(head.replace(" ", "").split(","), map(float, row.split(",")), strict=True))
    assert figures["train/cls_loss"] > 0
    assert figures["train/box_loss"] > 0


def test_a_save_that_dies_leaves_the_checkpoint_before(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    written: list[Path] = []

    def die_on_the_fifth(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 5:  # after the first epoch's last and best, each in two forms
            write(path, content[:100])
            raise OSError("no space left")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", die_on_the_fifth)
    with pytest.raises(ConfigError) as raised:
        train(replace(tiny(dataset, tmp_path / "run"), epochs=2))
    assert str(raised.value) == (
        f"{tmp_path}/run/weights: weights of epoch 2 were not written: no space left; "
        "free some space and resume with --resume"
    )
    monkeypatch.undo()
    load_weights(tmp_path / "run" / "weights" / "last.pt")


def test_weights_keep_their_own_boxes(
    trained: TrainResult, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []
    setup = OmrTrainer._setup_train

    def setup_and_remember(trainer: OmrTrainer) -> None:
        setup(trainer)
        starts.append((copy.deepcopy(trainer.model).half(), trainer.model.criterion))

    monkeypatch.setattr(OmrTrainer, "_setup_train", setup_and_remember)
    result = train(replace(tiny(dataset, tmp_path / "run"), model=str(trained.best)))
    assert json.loads((tmp_path / "run" / REPORT_FILE).read_text())["priors"] is None
    [(start, loss)] = starts
    before = load_weights(trained.best)
    start, before = start.state_dict(), before.half().state_dict()
    assert all(torch.equal(start[name], weights) for name, weights in before.items())
    assert loss.bins[0] == -2
    after = load_weights(result.last)
    assert strides_below_zero(after.model[-1]) == 2


def test_without_validation_the_last_epoch_is_the_best(dataset: Path, tmp_path: Path) -> None:
    config = replace(tiny(dataset, tmp_path / "run"), epochs=2, validate=False, model="omr-tiny")
    result = train(config)
    best, last = (load_weights(file).state_dict() for file in (result.best, result.last))
    assert all(torch.equal(best[name], last[name]) for name in last)
    head, *rows = (tmp_path / "run" / "results.csv").read_text().splitlines()
    columns = [name.strip() for name in head.split(",")]
    assert len(rows) == 2
    assert {name.split("/")[0] for name in columns} == {"epoch", "time", "train", "lr"}
    assert all(len(row.split(",")) == len(columns) for row in rows)


def test_the_prior_can_be_turned_off(dataset: Path, tmp_path: Path) -> None:
    train(replace(tiny(dataset, tmp_path / "run"), size_prior=False))
    assert json.loads((tmp_path / "run" / REPORT_FILE).read_text())["priors"] is None


def test_a_head_without_distributions_trains(dataset: Path, tmp_path: Path) -> None:
    result = train(replace(tiny(dataset, tmp_path / "run"), model="yolo26n"))
    assert len(json.loads((tmp_path / "run" / REPORT_FILE).read_text())["priors"]) == 3
    assert result.last.is_file()


def test_max_det_follows_the_fullest_page(draw: Draw, tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=2, n_symbols=401)
    train(replace(tiny(data, tmp_path / "run"), lint=False))  # many symbols hide each other
    args = yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())
    assert args["max_det"] == 600  # 397 different symbols: half as many again, in whole hundreds
    model = load_weights(tmp_path / "run" / "weights" / "last.pt")
    assert model.model[-1].max_det == 600


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_gpu_is_deterministic_on_request(
    deterministic: bool, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr("training.engine.overrides.resolved", lambda *_: "bf16")
    config = replace(tiny(dataset, tmp_path / "run"), device="0", deterministic=deterministic)
    overrides = overrides_of(config, "yolo11n.yaml", 1)
    assert overrides["deterministic"] is deterministic


def test_doubled_rows_are_counted(draw: Draw, tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=2)
    file = data / "labels/train/0.txt"
    file.write_text(file.read_text() * 2)
    counts = train(tiny(data, tmp_path / "run")).labels["train"]
    assert (counts.symbols, counts.duplicates, counts.most) == (18, 9, 9)


def test_what_other_devices_are_given_can_be_pickled(dataset: Path, tmp_path: Path) -> None:
    config = tiny(dataset, tmp_path / "run")
    trainer = new_trainer(config)
    state = (type(trainer), vars(trainer.args), trainer.callbacks)
    kind, args, found = pickle.loads(pickle.dumps(state))
    assert kind is OmrTrainer
    assert args["max_det"] == 300
    [apply] = found[ON_OPTIONS]
    assert apply.__self__ == trainer.options


def empty(data: Path) -> None:
    for file in data.rglob("*.txt"):
        file.write_text("")


def no_images(data: Path) -> None:
    for file in data.rglob("train/*.png"):
        file.unlink()


def flat(data: Path) -> None:
    (data / "labels/train/1.txt").write_text("0 .5 .5 .1 .1\n1 .5 .5 0 .1\n")


def bad_row(data: Path) -> None:
    (data / "labels/train/1.txt").write_text("0 .5 .5 .1\n")


def small_image(data: Path) -> None:
    cv2.imwrite(str(data / "images/train/1.png"), np.zeros((8, 8, 3), np.uint8))


def no_yaml(data: Path) -> None:
    (data / "data.yaml").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (empty, "{data}/images/train: no symbols in any of 2 images: the label files are empty;"),
        (no_images, "{data}/images/train: contains no images"),
        (flat, "{data}/images/train/1.png: 1 symbol has a side of 0, the first in line 2 of"),
        (bad_row, "{data}/labels/train/1.txt: line 1: expected label, x_centre"),
        (
            small_image,
            "{data}/images/train/1.png: is 8 x 8 px; expected at least 10 x 10",
        ),
        (no_yaml, "{data}/data.yaml: no such file"),
    ],
)
def test_damaged_data_is_an_error(
    damage: Callable[[Path], None], message: str, draw: Draw, tmp_path: Path
) -> None:
    data = draw(tmp_path / "data", n_images=2)
    damage(data)
    with pytest.raises(InputError) as error:
        train(tiny(data, tmp_path / "run"))
    assert str(error.value).startswith(message.format(data=data))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists(), "nothing is left that cannot be resumed"


def test_settings_that_cannot_be(dataset: Path, tmp_path: Path) -> None:
    config = tiny(dataset, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"--model: unknown: yolo11q \(did you mean yolo11"):
        train(replace(config, model="yolo11q"))
    with pytest.raises(InputError, match=r"no\.pt: no such weights"):
        train(replace(config, model="no.pt"))
    with pytest.raises(
        ConfigError,
        match=r"^--epochs 0: expected an integer of at least 1; --lr -1: expected a number above 0 and at",
    ):
        replace(config, epochs=0, lr=-1)
    with pytest.raises(ConfigError) as raised:
        replace(config, assigner="ota")  # type: ignore[arg-type]
    assert str(raised.value) == "--assigner ota: expected one of tal, simota, static"
    with pytest.raises(ConfigError) as raised:
        replace(config, class_loss="mse")  # type: ignore[arg-type]
    assert str(raised.value) == "--class-loss mse: expected one of bce, focal, varifocal"
    with pytest.raises(
        ConfigError, match=r"^--translate 2: expected a number from 0 to 1; --scale -0\.5: expected"
    ):
        replace(config, translate=2, scale=-0.5)
    with pytest.raises(ConfigError, match=r"--seed -1: expected an integer from 0 to 2147483647"):
        replace(config, seed=-1)
    with pytest.raises(ConfigError, match=r"--beta .*: not used by --assigner simota; drop it"):
        replace(config, assigner="simota", beta=3)
    with pytest.raises(ConfigError, match=r"--lr 2: expected a number above 0 and at most 1"):
        replace(config, lr=2)
    with pytest.raises(ConfigError, match=r"--imgsz 100: must be a multiple of 32; use 96 or 128"):
        replace(config, imgsz=100)
    with pytest.raises(
        ConfigError, match="--device gpu: expected cpu, or numbers such as 0 or 0,1"
    ):
        train(replace(config, device="gpu"))
    wanted = str(torch.cuda.device_count())
    with pytest.raises(ConfigError, match=f"--device {wanted}: no CUDA device {wanted}; "):
        train(replace(config, device=wanted))
    assert not config.out.exists()


def test_a_run_folder_that_is_there(dataset: Path, tmp_path: Path) -> None:
    config = tiny(dataset, tmp_path)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"contains no omr\.yaml, so omr did not create it and"):
        train(config, force=True)
    with pytest.raises(
        ConfigError, match="exists; choose another folder, --force to replace it, or --resume to c"
    ):
        train(config)
    with pytest.raises(
        ConfigError, match=r"cannot be resumed: no weights/state\.pt; start again with --force"
    ):
        train(replace(config, resume=True))


def test_weights_and_data_inside_the_run_are_not_lost(
    trained: TrainResult, dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.last.parents[1], run)
    weights = run / "weights" / "last.pt"
    with pytest.raises(ConfigError) as raised:
        train(replace(tiny(dataset, run), model=str(weights)), force=True)
    assert str(raised.value) == (
        f"{weights}: is inside {run}, which would be replaced; choose another output folder"
    )
    shutil.copytree(dataset, run / "data")
    with pytest.raises(ConfigError, match=r"data: is inside .*, which would be replaced"):
        train(tiny(run / "data", run), force=True)
    assert weights.is_file()


def test_a_run_of_somebody_else_is_not_resumed(trained: TrainResult, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.last.parents[1], run)
    (run / CONFIG_FILE).write_text("epochs: 3\nknob: 1\n")
    with pytest.raises(InputError, match=r"omr\.yaml: unknown settings: knob$"):
        read_config(run)
    (run / CONFIG_FILE).unlink()
    with pytest.raises(InputError, match=r"omr\.yaml: no such file"):
        read_config(run)


def test_a_last_batch_of_one_small_image_is_refused(dataset: Path, tmp_path: Path) -> None:
    n_images = len(open_dataset(dataset).image_paths("train"))
    config = replace(tiny(dataset, tmp_path / "run"), imgsz=32, batch=n_images - 1)
    with pytest.raises(ConfigError) as raised:
        train(config)
    assert str(raised.value) == (
        "--imgsz 32: too small for a last batch of one image; use 64, or another --batch"
    )
    assert not config.out.exists()


def test_heads_of_the_run_that_would_be_replaced_are_not_lost(
    dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    config = replace(tiny(dataset, out), heads=str(out / "heads.yaml"))
    save_config(config)
    names = list(open_dataset(dataset).names)
    content = {"groups": [{"name": "all", "classes": names}]}
    (out / "heads.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=r"heads\.yaml: is inside .*, which would be replaced"):
        train(config, force=True)
    assert (out / "heads.yaml").is_file()


def test_a_run_without_its_last_weights_is_not_resumed_and_not_deleted(
    trained: TrainResult, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    (out / "weights").mkdir(parents=True)
    config = replace(tiny(dataset, out), epochs=2)
    save_config(config)
    resume_state.write(
        {"version": resume_state.VERSION, "epochs_done": 1}, out / "weights" / "state.pt"
    )
    with pytest.raises(ConfigError, match=r"weights/last\.pt: missing; restore the file"):
        train(replace(config, resume=True))
    assert (out / "weights" / "state.pt").is_file()


def test_a_folder_that_cannot_be_made_is_one_line(dataset: Path) -> None:
    with pytest.raises(ConfigError, match=r"^/proc/x/?.*: "):
        train(tiny(dataset, Path("/proc/x")))


def test_a_halved_batch_is_gathered_twice_as_often(dataset: Path, tmp_path: Path) -> None:
    made = ready_trainer(replace(tiny(dataset, tmp_path / "run"), nominal_batch=8))
    assert (made.state.batches_per_step, made.accumulate) == (2, 1)
    made.batch_size = 2  # what Ultralytics does when it does not fit into memory
    made._build_train_pipeline()
    assert (made.state.batches_per_step, made.accumulate) == (4, 1)
