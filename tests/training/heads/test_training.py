"""Trainings with several heads, from configuration to prediction."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import torch

from class_maps import ConfigError
from converters.formats.datasets import open_dataset
from training.config import TrainConfig, read_config
from training.heads.grouped import GroupedDetect, SeparateDetect
from training.models.checkpoints import load_weights
from training.predict.detector import predict
from training.trainer import train

HEADS = """groups:
- name: heads
  classes: [notehead]
- name: lines
  classes: [beam, stem]
"""


def config_of(data: Path, folder: Path, **options: str | int) -> TrainConfig:
    config = TrainConfig(
        data=data,
        out=folder / "run",
        model="omr-tiny",
        epochs=1,
        imgsz=64,
        batch=3,
        device="cpu",
        validate=False,
    )
    return replace(config, **options)  # type: ignore[arg-type]


def heads_file(folder: Path, more: str = "", text: str = HEADS) -> str:
    file = folder / "heads.yaml"
    file.write_text(text + more)
    return str(file)


@pytest.mark.parametrize("model", ["omr-tiny", "yolo26n"])
@pytest.mark.parametrize("box", ["shared", "separate"])
def test_from_configuration_to_prediction(
    dataset: Path, tmp_path: Path, box: str, model: str
) -> None:
    heads = heads_file(tmp_path, f"box: {box}\n")
    config = config_of(dataset, tmp_path, model=model, heads=heads)
    result = train(replace(config, validate=True))
    trained = load_weights(result.last)
    head = trained.model[-1]
    assert type(head) is (SeparateDetect if box == "separate" else GroupedDetect)
    assert head.labels == ((0,), (2, 1))
    assert read_config(config.out).heads == heads
    data = open_dataset(dataset)
    images = [(path, PurePosixPath(path.name)) for path in data.image_paths("val")]
    (page, *_) = predict(result.last, images, imgsz=64, device="cpu")
    assert len(page.labels)


def test_each_group_starts_at_the_sizes_of_its_classes(dataset: Path, tmp_path: Path) -> None:
    config = config_of(dataset, tmp_path, heads=heads_file(tmp_path, "box: separate\n"))
    result = train(replace(config, lr=1e-9))
    head = load_weights(result.last).model[-1]
    starts = [branch[-1].bias for branch in head.cv2[0].branches]
    assert not torch.allclose(starts[0], starts[1], atol=0.1)


def test_stock_boxes_contain_their_anchor_point(dataset: Path, tmp_path: Path) -> None:
    more = "box_encoding: stock\n"
    result = train(config_of(dataset, tmp_path, heads=heads_file(tmp_path, more)))
    assert load_weights(result.last).model[-1].dfl.conv.weight.min() == 0


def test_a_single_head_is_cloned_into_every_group(dataset: Path, tmp_path: Path) -> None:
    single = train(config_of(dataset, tmp_path / "single"))
    heads = heads_file(tmp_path)
    config = config_of(dataset, tmp_path / "groups", model=str(single.last), heads=heads)
    grouped = train(replace(config, lr=1e-12))
    image = torch.rand(1, 3, 64, 64)
    outputs = []
    for weights in (single.last, grouped.last):
        model = load_weights(weights)
        for module in model.modules():  # the epoch has changed the statistics
            if isinstance(module, torch.nn.BatchNorm2d):
                module.reset_running_stats()
        with torch.no_grad():
            outputs.append(model.eval()(image)[0])
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-3)  # stored in half precision


def test_heads_keep_their_weights_in_further_training(dataset: Path, tmp_path: Path) -> None:
    heads = heads_file(tmp_path, "box: separate\n")
    first = train(config_of(dataset, tmp_path / "first", heads=heads))
    config = config_of(dataset, tmp_path / "second", model=str(first.last))
    second = train(replace(config, lr=1e-12))
    before, after = (load_weights(result.last).model[-1] for result in (first, second))
    assert type(after) is SeparateDetect
    torch.testing.assert_close(
        after.cv2[0].branches[1][-1].bias, before.cv2[0].branches[1][-1].bias
    )
    with pytest.raises(ConfigError, match="already has several heads"):
        train(replace(config, heads=heads), force=True)


def test_groups_that_do_not_fit_are_refused_before_the_training_starts(
    dataset: Path, tmp_path: Path
) -> None:
    config = config_of(dataset, tmp_path, heads="harmony")
    with pytest.raises(ConfigError, match="heads: not in the data"):
        train(config)
    with pytest.raises(ConfigError, match="unknown head config: nothing"):
        train(replace(config, heads="nothing"))
    missing = heads_file(tmp_path, text=HEADS.replace(", stem", ""))
    with pytest.raises(ConfigError, match="heads: in no group: stem"):
        train(replace(config, heads=missing))
    assert not config.out.exists()
