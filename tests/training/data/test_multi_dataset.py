import json
import pickle
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from drawn_data import repeat_training_images
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupted import interrupted
from shapes import converted_shapes
from torch import Tensor
from ultralytics.utils.ops import xywh2xyxy
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import ConfigError, InputError
from omr.scoring.class_matching import relabel
from training.config import TrainConfig, read_config, save_config
from training.data.multi_dataset import (
    DatasetOptions,
    join,
)
from training.data.weighted_sampler import WeightedSampler, apportion
from training.engine.omr_trainer import OmrTrainer
from training.engine.validator import SOURCE_METRIC, OmrValidator, source_names
from training.models.checkpoints import load_weights, open_weights
from training.predict.detector import predict
from training.trainer import new_trainer, ready_trainer, train

Draw = Callable[..., Path]
MUSIC = ("notehead", "stem", "beam")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted_shapes(tmp_path_factory.mktemp("shapes"))


def named(root: Path, names: Sequence[str], class_map: dict[str, Any] | None = None) -> Path:
    """An empty data set of these classes."""
    (root / "images").mkdir(parents=True)
    content = {"train": "images", "val": "images", "names": list(names)}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    if class_map is not None:
        (root / "manifest.json").write_text(json.dumps({"class_map": class_map, "pages": {}}))
    return root


def permuted(data: Path, out: Path, order: Sequence[int]) -> Path:
    """The same symbols, with the classes in another order."""
    shutil.copytree(data, out, ignore=shutil.ignore_patterns("*.cache"))
    content = yaml.safe_load((out / "data.yaml").read_text())
    old = content["names"]
    content["names"] = [old[label] for label in order]
    (out / "data.yaml").write_text(yaml.safe_dump(content))
    new = {str(label): str(i) for i, label in enumerate(order)}
    for file in (out / "labels").rglob("*.txt"):
        rows = [line.split() for line in file.read_text().splitlines()]
        file.write_text("".join(" ".join([new[row[0]], *row[1:]]) + "\n" for row in rows))
    return out


def make(config: TrainConfig) -> OmrTrainer:
    """A trainer that has trained no epoch."""
    return ready_trainer(config)


def config_of(out: Path, *folders: Path, **options: Any) -> TrainConfig:  # noqa: ANN401
    return TrainConfig(
        data=folders[0],
        joint=folders[1:],
        out=out,
        model="omr-tiny",
        imgsz=96,
        batch=4,
        device="cpu",
        **options,
    )


# ---- names


def test_the_union_is_by_name_in_order_of_appearance(tmp_path: Path) -> None:
    first = named(tmp_path / "a", ["x", "y"], {"name": "m", "unlabelled": []})
    second = named(tmp_path / "b", ["z", "y", "w"], {"name": "m", "unlabelled": ["w"]})
    joint = join(DatasetOptions(folders=(first, second)))
    assert joint.names == ("x", "y", "z", "w")
    assert [source.labels.tolist() for source in joint.sources] == [[0, 1], [2, 1, 3]]
    assert joint.labelled.tolist() == [[True, True, False, False], [False, True, True, False]]
    assert joint.unlabelled() == {str(first): ("z", "w"), str(second): ("x", "w")}


def test_true_negatives_are_of_absent_classes_only(tmp_path: Path) -> None:
    first = named(tmp_path / "a", ["x", "bar"], {"name": "m", "unlabelled": ["bar"]})
    second = named(tmp_path / "b", ["z"])
    joint = join(DatasetOptions(folders=(first, second), true_negatives=True))
    assert joint.labelled.tolist() == [[True, False, True], [True, True, True]]


def test_one_data_set_is_as_it_is(tmp_path: Path) -> None:
    names = ["b", "a", "b"]  # a name twice was no error before there were joint sets
    joint = join(DatasetOptions(folders=(named(tmp_path / "a", names),)))
    assert joint.names == tuple(names)
    assert joint.sources[0].labels.tolist() == [0, 1, 2]
    assert joint.labelled.all()


def test_one_data_set_says_nothing_of_what_its_class_map_could_not_fill(tmp_path: Path) -> None:
    data = named(tmp_path / "a", ["x", "bar"], {"name": "m", "unlabelled": ["bar"]})
    assert join(DatasetOptions(folders=(data,))).labelled.tolist() == [[True, False]]


CLASH = (
    "{a} and {b}: converted with different class maps, but share the names tie; use --merge-classes all or a "
    "list of names if they mean the same, otherwise rename them in a class map and convert again"
)


@pytest.mark.parametrize(
    "maps",
    [
        pytest.param((None, None), id="nobody knows"),
        pytest.param(({"name": "harmony"}, None), id="one"),
        pytest.param(({"name": "harmony"}, {"name": "other"}), id="two"),
    ],
)
def test_a_name_that_may_mean_something_else_is_asked_for(
    maps: tuple[dict[str, str] | None, ...], tmp_path: Path
) -> None:
    folders = tuple(
        named(tmp_path / name, [name, "tie"], class_map)
        for name, class_map in zip("ab", maps, strict=True)
    )
    with pytest.raises(ConfigError) as raised:
        join(DatasetOptions(folders=folders))
    assert str(raised.value) == CLASH.format(a=folders[0], b=folders[1])
    for same in (("tie",), ("all",)):
        assert join(DatasetOptions(folders=folders, merge_classes=same)).names == ("a", "tie", "b")
    with pytest.raises(
        ConfigError, match=r"^--merge-classes: not a class of two data sets: ti \(did you mean"
    ):
        join(DatasetOptions(folders=folders, merge_classes=("ti",)))


def test_names_that_cannot_be(tmp_path: Path) -> None:
    a, b = named(tmp_path / "a", ["x", "x"]), named(tmp_path / "b", ["y"])
    with pytest.raises(InputError) as raised:
        join(DatasetOptions(folders=(b, a)))
    assert str(raised.value) == (
        f"{a}/data.yaml: names: duplicate: x; classes of several data sets are merged by name"
    )
    (b / "manifest.json").write_text('{"class_map": 3}')
    with pytest.raises(
        InputError, match=r"b/manifest\.json: class_map: expected `object`, got `int`"
    ):
        join(DatasetOptions(folders=(b,)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sampling_weights": (1.0,)},
            "--sampling-weights 1: expected a weight for each of 2 data sets, got 1",
        ),
        (
            {"sampling_weights": (1.0, 2, 3)},
            "--sampling-weights 1:2:3: expected a weight for each of 2 data sets, got 3",
        ),
        ({"sampling_weights": (1.0, 0)}, "--sampling-weights 1:0: expected weights above 0"),
        (
            {"sampling_weights": (1.0, float("nan"))},
            "--sampling-weights 1:nan: expected weights above 0",
        ),
    ],
)
def test_mixes_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        TrainConfig(data=Path("a"), joint=(Path("b"),), out=Path("run"), **options)
    assert str(raised.value) == message


def test_one_data_set_cannot_be_mixed() -> None:
    wrong: dict[str, Any] = {
        "sampling_weights": (1.0,),
        "true_negatives": True,
        "merge_classes": ("all",),
    }
    for name, value in wrong.items():
        with pytest.raises(ConfigError) as raised:
            TrainConfig(data=Path("a"), out=Path("run"), **{name: value})
        option = f"--{name.replace('_', '-')}"
        assert str(raised.value) == (
            f"{option}: needs several data sets, got one; add a data set or omit {option}"
        )
    with pytest.raises(
        ConfigError, match=r"^data: duplicate: a/\.\./a; use --sampling-weights to weight"
    ):
        TrainConfig(data=Path("a"), joint=(Path("b"), Path("a/../a")), out=Path("run"))


def test_a_part_without_any_label_is_an_error(dataset: Path, draw: Draw, tmp_path: Path) -> None:
    other = draw(tmp_path / "other", n_images=2)
    for file in other.rglob("labels/*/*.txt"):
        file.write_text("")
    config = config_of(tmp_path / "run", dataset, other, merge_classes=("all",))
    with pytest.raises(InputError, match=r"other/images/train: no symbols in any of 2 images"):
        train(config)
    assert not config.out.exists()


def test_an_image_of_two_data_sets_is_an_error(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.yaml"
    content = yaml.safe_load((dataset / "data.yaml").read_text())
    copy.write_text(yaml.safe_dump(content | {"path": str(dataset)}))
    joint = join(DatasetOptions(folders=(dataset, copy), merge_classes=("all",)))
    with pytest.raises(ConfigError, match=f"belongs to both {dataset} and {copy}$"):
        _ = joint.source_of


# ---- the order of images

SIZES = st.lists(st.integers(1, 40), min_size=2, max_size=4)


def samplers(
    sizes: Sequence[int], weights: Sequence[float], n_ranks: int = 1
) -> list[WeightedSampler]:
    ends = np.cumsum([0, *sizes])
    members = [np.arange(a, b) for a, b in pairwise(ends)]
    return [
        WeightedSampler(
            members, weights, repeats=np.ones(sum(sizes)), seed=3, rank=rank, n_ranks=n_ranks
        )
        for rank in range(n_ranks)
    ]


def sources_of(images: Sequence[int], sizes: Sequence[int]) -> list[int]:
    found: list[int] = np.searchsorted(np.cumsum(sizes), images, side="right").tolist()
    return found


def test_a_mix_of_two_to_one_is_exact() -> None:
    [sampler] = samplers([60, 30], [2, 1])
    assert sampler.counts == [60, 30]
    [sampler] = samplers([10, 80], [2, 1])
    assert sampler.counts == [60, 30]
    epoch = list(sampler)
    assert len(epoch) == len(sampler) == 90
    drawn = np.array(sources_of(epoch, [10, 80]))
    assert Counter(drawn.tolist()) == {0: 60, 1: 30}
    batches = drawn.reshape(-1, 6)
    assert ((batches == 0).sum(axis=1) == 4).all(), "every batch has the mix"


@given(sizes=SIZES, data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_stretch_has_nearly_the_mix(sizes: list[int], data: st.DataObject) -> None:
    weights = [data.draw(st.floats(0.5, 4)) for _ in sizes]
    [sampler] = samplers(sizes, weights)
    drawn = np.array(sources_of(list(sampler), sizes))
    for source, n in enumerate(sampler.counts):
        so_far = np.cumsum(drawn == source)
        due = np.arange(1, len(drawn) + 1) * n / len(drawn)
        assert np.abs(so_far - due).max() < len(sizes)


@given(sizes=SIZES, n_ranks=st.integers(1, 3), n_epochs=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_no_image_comes_again_before_all_of_its_source(
    sizes: list[int], n_ranks: int, n_epochs: int
) -> None:
    ranks = samplers(sizes, [1, 3, 2, 1][: len(sizes)], n_ranks)
    assert len({tuple(sampler.counts) for sampler in ranks}) == 1, "every device has the mix"
    drawn = Counter(i for sampler in ranks for _ in range(n_epochs) for i in sampler)
    for source, size in enumerate(sizes):
        first = sum(sizes[:source])
        times = [drawn[image] for image in range(first, first + size)]
        assert max(times) - min(times) <= 1
        assert sum(times) == n_epochs * n_ranks * ranks[0].counts[source]


def test_the_order_depends_on_seed_and_epoch() -> None:
    sizes, weights = [30, 20], [1, 1]
    [one], [again] = samplers(sizes, weights), samplers(sizes, weights)
    epochs = [list(one) for _ in range(3)]
    assert epochs[0] != epochs[1]
    assert [list(again) for _ in range(3)] == epochs
    [resumed] = samplers(sizes, weights)
    resumed.set_epoch(2)
    assert list(resumed) == epochs[2]
    resumed.set_epoch(2)  # a loader reads ahead
    assert list(resumed) != epochs[2]
    members = [np.arange(30), np.arange(30, 50)]
    other = WeightedSampler(members, weights, repeats=np.ones(50), seed=4)
    assert list(other) != epochs[0]


def test_a_light_source_comes_at_all() -> None:
    assert apportion(10, [1000, 1]) == [10, 1]
    assert apportion(7, [1, 1, 1]) == [3, 2, 2]
    assert apportion(10, [0.3, 0.3, 0.4]) == [3, 3, 4]


def test_the_trainer_draws_by_weight(dataset: Path, shapes: Path, tmp_path: Path) -> None:
    trainer = make(config_of(tmp_path, dataset, shapes, sampling_weights=(3.0, 1.0)))
    assert len(trainer.train_loader) == 3  # 12 images in batches of 4
    for batch in trainer.train_loader:
        music = sum(file.startswith(str(dataset)) for file in batch["im_file"])
        assert music == 3


def test_every_process_of_several_devices_joins_the_same(
    dataset: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path, dataset, shapes, sampling_weights=(3.0, 1.0))
    first = new_trainer(config)
    args, callbacks = pickle.loads(pickle.dumps((vars(first.args), first.callbacks)))
    monkeypatch.setattr("ultralytics.engine.trainer.RANK", 1)  # not the first
    other = OmrTrainer(overrides=args, _callbacks=callbacks)
    assert other.data == first.data
    assert other.multi_dataset.options == first.multi_dataset.options == config.sources()


# ---- labels and masks


def test_labels_are_joined_by_name(dataset: Path, shapes: Path, tmp_path: Path) -> None:
    order = [2, 0, 1]
    other = permuted(dataset, tmp_path / "other", order)
    plain, changed = (
        make(config_of(tmp_path / name, data, shapes))
        for name, data in (("a", dataset), ("b", other))
    )
    assert plain.multi_dataset.names[:3] == MUSIC
    assert changed.multi_dataset.names[:3] == tuple(MUSIC[label] for label in order)
    for before, after in zip(
        plain.train_loader.dataset.labels, changed.train_loader.dataset.labels, strict=True
    ):
        names = [
            [trainer.multi_dataset.names[int(label)] for label in row["cls"][:, 0]]
            for trainer, row in ((plain, before), (changed, after))
        ]
        assert Path(before["im_file"]).name == Path(after["im_file"]).name
        assert sorted(names[0]) == sorted(names[1])
        assert before["cls"].dtype == after["cls"].dtype
    totals = [len(t.train_loader.dataset) for t in (plain, changed)]
    assert totals == [12, 12]
    labels = np.concatenate([row["cls"] for row in plain.train_loader.dataset.labels])
    assert set(labels[:, 0]) > {0, 1, 2}
    assert "sports ball" in {plain.multi_dataset.names[int(label)] for label in labels[:, 0]}


def slopes(trainer: OmrTrainer, folder: Path) -> torch.Tensor:
    """Size of the loss's derivative by each class's logit bias, on the images of one source."""
    model = unwrap_model(trainer.model).train()
    whole = next(batch for batch in trainer.train_loader if batch)
    batch = trainer.preprocess_batch(whole)
    head = model.model[-1]
    outputs = model(batch["img"])
    outputs["scores"].retain_grad()
    loss, _ = model.criterion(outputs, batch)
    loss.sum().backward()
    own = [file.startswith(str(folder)) for file in batch["im_file"]]
    assert 0 < sum(own) < len(own)
    assert outputs["scores"].shape[1] == head.nc
    grad: torch.Tensor = outputs["scores"].grad
    return grad[torch.tensor(own)].abs().sum(dim=(0, 2))


@pytest.mark.parametrize("true_negatives", [False, True])
def test_what_a_source_does_not_label_gets_no_slope_from_it(
    true_negatives: bool, dataset: Path, shapes: Path, tmp_path: Path
) -> None:
    options = {"sampling_weights": (1.0, 1.0), "true_negatives": true_negatives}
    trainer = make(config_of(tmp_path, dataset, shapes, **options))
    for source, folder in enumerate((dataset, shapes)):
        moved = slopes(trainer, folder) > 0
        own = np.arange(len(trainer.multi_dataset.names)) < len(MUSIC)
        own = own if source == 0 else ~own
        assert moved[torch.from_numpy(own)].all()
        assert moved[torch.from_numpy(~own)].any() == true_negatives


def test_no_mask_where_all_is_labelled(dataset: Path, tmp_path: Path) -> None:
    trainer = make(config_of(tmp_path, dataset))
    assert "class_mask" not in trainer.preprocess_batch(next(iter(trainer.train_loader)))


def test_a_class_that_one_data_set_draws_and_does_not_label_is_masked(
    dataset: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(dataset, tmp_path / "data")
    manifest = {"class_map": {"name": "m", "unlabelled": ["stem"]}}
    (data / "manifest.json").write_text(json.dumps(manifest))
    trainer = make(config_of(tmp_path / "run", data))
    batch = trainer.preprocess_batch(next(iter(trainer.train_loader)))
    assert batch["class_mask"].tolist() == [[True, False, True]] * 4


def test_validation_does_not_count_what_a_source_says_nothing_of(
    dataset: Path, shapes: Path, tmp_path: Path
) -> None:
    trainer = make(config_of(tmp_path, dataset, shapes))
    validator = trainer.get_validator()
    validator.device, validator.end2end = torch.device("cpu"), False
    batches = [validator.preprocess(batch) for batch in trainer.test_loader]
    n_classes = len(trainer.multi_dataset.names)
    for batch in batches:
        validator.preprocess(batch | {"img": (batch["img"] * 255).byte()})
        every = torch.zeros(len(batch["im_file"]), 4 + n_classes, n_classes)
        every[:, :4] = torch.tensor([50.0, 50, 10, 10])[None, :, None]
        every[:, 4:] = torch.eye(n_classes) * 0.9  # a point for each class
        found = validator.postprocess(every)
        assert (batch["class_mask"].sum(dim=1) < n_classes).all()
        for file, image in zip(batch["im_file"], found, strict=True):
            music = file.startswith(str(dataset))
            assert all((label < 3) == music for label in image["cls"].tolist())
            assert len(image["cls"]) == (3 if music else 80)


# ---- a run


def test_the_configuration_is_saved_and_read(tmp_path: Path) -> None:
    config = TrainConfig(
        data=tmp_path / "a",
        joint=(tmp_path / "b",),
        sampling_weights=(2.0, 1.0),
        true_negatives=True,
        merge_classes=("tie",),
        out=tmp_path / "run",
    )
    save_config(config)
    assert read_config(config.out) == config
    content = yaml.safe_load((config.out / "omr.yaml").read_text())
    assert content["data"] == [str(tmp_path / "a"), str(tmp_path / "b")]
    # As in a file that was written before there were several data sets.
    content["data"] = str(tmp_path / "a")
    for name in ("sampling_weights", "true_negatives", "merge_classes"):
        del content[name]
    (config.out / "omr.yaml").write_text(yaml.safe_dump(content))
    plain = TrainConfig(data=config.data, out=config.out)
    assert read_config(config.out) == plain


def test_a_joint_run_counts_its_parts_and_is_resumed_with_all_of_them(
    dataset: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = Path(shutil.copytree(shapes, tmp_path / "coco"))
    config = config_of(tmp_path / "run", dataset, shapes, epochs=3)
    interrupted(config, epoch=1)
    alone = TrainConfig(data=dataset, out=config.out, device="cpu", resume=True)
    with pytest.raises(ConfigError) as raised:
        train(alone)
    assert str(raised.value) == (
        f"{config.out}: was started with {dataset} {shapes}, not with {dataset}; give these, or "
        f"start a new run with --model {config.out}/weights/last.pt"
    )
    moved = tmp_path / "moved"
    shutil.move(shapes, moved)
    result = train(replace(alone, joint=(moved,)))
    assert list(result.sources) == [str(dataset), str(moved)]
    assert read_config(config.out).joint == (moved,)
    parts = [part["train"].symbols for part in result.sources.values()]
    assert parts[0] == 54
    assert result.labels["train"].symbols == sum(parts)
    seen = {name: counts["seen"] for name, counts in result.augmented.items()}
    assert sum(seen[name] for name in MUSIC) == 3 * parts[0], "each image once an epoch"
    assert sum(seen.values()) == 3 * sum(parts)
    assert {"sports ball", "necktie"} < seen.keys()
    assert len(result.unlabelled[str(dataset)]) == 80
    assert list(load_weights(result.last).names.values())[:4] == [*MUSIC, "person"]


def scores(weights: Path, folder: Path) -> float:
    """AP50 over the classes of a data set, as a mean."""
    from converters.formats.datasets import open_dataset
    from eval.metrics.coco import evaluate

    data = open_dataset(folder)
    truths = list(data.pages("val"))
    files = [(data.splits["val"] / page.image, page.image) for page in truths]
    found = predict(weights, files, imgsz=96, device="cpu", max_det=10**6)
    names = open_weights(weights).names
    pages = [relabel(page, names, data.names) for page in found]
    score = evaluate(truths, pages, data.names).macro.ap50
    assert score is not None
    return score


@pytest.mark.slow
def test_both_parts_are_learnt(draw: Draw, tmp_path: Path) -> None:
    music = draw(tmp_path / "music", n_images=24)
    photographs = converted_shapes(tmp_path, n_images=24)
    for folder in (music, photographs):
        repeat_training_images(folder, 3)
    config = replace(
        config_of(tmp_path / "run", music, photographs, sampling_weights=(1.0, 1.0), epochs=5),
        batch=8,
        lr=0.01,
        warmup_epochs=0.3,
        validate=False,
    )
    result = train(config)
    assert scores(result.last, music) > 0.4
    assert scores(result.last, photographs) > 0.25


def guess(validator: OmrValidator, _preds: object) -> list[dict[str, Tensor]]:
    """Predict the truths of each image, moved a little and with some classes wrong."""
    found = []
    batch = validator.guessed
    scale = torch.tensor(batch["img"].shape[2:])[[1, 0, 1, 0]]
    for i, file in enumerate(batch["im_file"]):
        generator = torch.Generator().manual_seed(zlib.crc32(Path(file).name.encode()))
        own = batch["batch_idx"] == i
        boxes = xywh2xyxy(batch["bboxes"][own] * scale)
        wrong = torch.rand(len(boxes), generator=generator) < 0.3
        found.append(
            {
                "bboxes": boxes + torch.randn(boxes.shape, generator=generator),
                "conf": torch.rand(len(boxes), generator=generator),
                "cls": (batch["cls"][own, 0] + wrong) % validator.nc,
                "extra": torch.empty(len(boxes), 0),
            }
        )
    return found


def test_each_source_is_validated_on_its_own(
    draw: Draw, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    music = draw(tmp_path / "music", n_images=7)
    trainer = make(config_of(tmp_path / "run", music, shapes))
    trainer.epoch = 0
    trainer.loss_items = dict.fromkeys(trainer.ema.ema.criterion.loss_names, torch.zeros(()))
    prepare = OmrValidator.preprocess

    def remember(validator: OmrValidator, batch: dict[str, Any]) -> dict[str, Any]:
        batch = validator.guessed = prepare(validator, batch)
        return batch

    monkeypatch.setattr(OmrValidator, "preprocess", remember)
    monkeypatch.setattr(OmrValidator, "postprocess", guess)
    both = trainer.get_validator()(trainer)
    of_sources = {"music": music, shapes.name: shapes}
    assert {name for name in both if name.startswith(SOURCE_METRIC.format(""))} == {
        *map(SOURCE_METRIC.format, of_sources)
    }
    for source, name in zip(trainer.multi_dataset.sources, of_sources, strict=True):
        files = [str(file) for file in source.dataset.image_paths("val")]
        trainer.test_loader = trainer.get_dataloader(files, mode="val")
        alone = trainer.get_validator()(trainer)["metrics/mAP50(B)"]
        assert 0.1 < alone < 0.99
        # Both are rounded.
        assert both[SOURCE_METRIC.format(name)] == pytest.approx(alone, abs=1e-5)


def test_sources_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [named(tmp_path / part / "data", [part]) for part in "ab"]
    joint = join(DatasetOptions(folders=tuple(folders)))
    assert source_names(joint) == [str(folder) for folder in folders]
    odd = [named(tmp_path / "of all" / name, [name]) for name in ("a,b", "c d")]
    assert source_names(join(DatasetOptions(folders=tuple(odd)))) == ["a_b", "c_d"]
