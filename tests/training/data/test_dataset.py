import pytest
import torch
from drawn_data import make_dataset

from settings.training import AssignerName
from training.assigners.assignment import Anchors, Targets
from training.assigners.candidate_pairs import pairs_inside
from training.config import TrainConfig
from training.engine.omr_trainer import OmrTrainer
from training.losses.assigner_factory import PairCounter, boxes_in_pixels
from training.losses.loss_options import LossOptions
from training.trainer import ready_trainer

IMGSZ = 64


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> OmrTrainer:
    folder = tmp_path_factory.mktemp("score_data")
    make_dataset(folder / "data")
    config = TrainConfig(
        data=folder / "data", out=folder / "run", model="omr-tiny", imgsz=IMGSZ, device="cpu"
    )
    return ready_trainer(config)


def test_on_a_cpu_no_pairs_are_counted(trainer: OmrTrainer) -> None:
    for loader in (trainer.train_loader, trainer.test_loader):
        assert loader.dataset.pairs is None
        assert "n_pairs" not in next(iter(loader))


@pytest.mark.parametrize("assigner", ["tal", "simota", "static"])
@pytest.mark.parametrize("images", [[0], [0, 1, 2]])
def test_pairs_of_a_batch(
    trainer: OmrTrainer,
    assigner: AssignerName,
    images: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset, strides = trainer.test_loader.dataset, trainer.model.stride.tolist()
    counter = PairCounter.of_loss(LossOptions(assigner=assigner), strides)
    monkeypatch.setattr(dataset, "pairs", counter)
    batch = dataset.collate_fn([dataset[image] for image in images])
    height, width = batch["img"].shape[2:]
    targets = Targets(
        images=batch["batch_idx"].long(),
        labels=batch["cls"].long().flatten(),
        boxes_xyxy=boxes_in_pixels(batch["bboxes"], (width, height)),
    )
    anchors = Anchors.of_image((height, width), strides)
    gts, _ = pairs_inside(anchors, targets, counter.small_boxes, counter.radius)
    assert batch["n_pairs"] == len(gts) > len(targets) > 0


def test_a_batch_without_symbols_has_no_pairs(trainer: OmrTrainer) -> None:
    counter = PairCounter.of_loss(LossOptions(), trainer.model.stride.tolist())
    assert counter.count(torch.empty(0, 4), (IMGSZ, IMGSZ)) == 0


def test_a_gpu_counts_them(trainer: OmrTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "device", torch.device("cuda"))
    for mode in ("train", "val"):
        files = trainer.multi_dataset.image_files(mode)
        dataset = trainer.build_dataset(files, mode, 2)
        assert dataset.pairs == PairCounter.of_loss(
            trainer.options.loss, trainer.model.stride.tolist()
        )
        assert dataset.collate_fn([dataset[0]])["n_pairs"] > 0
