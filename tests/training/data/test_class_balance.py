from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_data import make_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.config import TrainConfig
from training.data.class_balance import ClassDraws, class_draws, repeat_counts, repeat_factors
from training.data.multi_dataset import DatasetOptions, MultiDataset, join
from training.data.weighted_sampler import WeightedSampler
from training.engine.inputs import open_inputs
from training.trainer import ready_trainer, run_options

FACTORS = st.lists(st.floats(1, 20), min_size=1, max_size=40).map(np.array)


def labels_of(*images: list[int]) -> list[NDArray[np.int64]]:
    return [np.array(labels, np.int64) for labels in images]


@pytest.mark.parametrize(
    ("images", "factors"),
    [
        ([[]], [1]),
        ([[], []], [1, 1]),
        ([[0, 0]], [1]),
        ([[0], [0], []], [1, 1, 1]),
        # Class 1 is in a hundredth of the images, class 2 in none, class 3 in a fiftieth.
        ([[0]] * 97 + [[0, 1, 3, 1], [3, 3], []], [1] * 97 + [2, 2**0.5, 1]),
    ],
)
def test_an_image_has_the_factor_of_its_rarest_class(
    images: list[list[int]], factors: list[float]
) -> None:
    shares = np.full(len(images), 1 / len(images))
    assert repeat_factors(labels_of(*images), shares, 0.04).tolist() == pytest.approx(factors)


def test_a_class_is_as_frequent_as_its_images_are_drawn() -> None:
    images = labels_of([0], [1], [1])
    shares = np.array([0.02, 0.49, 0.49])  # one data set of one image, and another of two
    assert repeat_factors(images, shares, 0.08).tolist() == pytest.approx([2, 1, 1])


@given(repeats=FACTORS, offset=st.floats(0, 1, exclude_max=True), round_number=st.integers(0, 99))
def test_a_round_has_a_fixed_length(
    repeats: NDArray[np.float64], offset: float, round_number: int
) -> None:
    counts = repeat_counts(repeats, round_number, offset)
    assert counts.sum() == len(repeats)
    exact = repeats * len(repeats) / repeats.sum()
    assert (np.abs(counts - exact) < 1 + 1e-9).all()
    assert repeat_counts(np.full(len(repeats), 7.0), round_number, offset).tolist() == [1] * len(
        repeats
    )


@given(repeats=FACTORS, offset=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30)
def test_no_image_falls_behind_its_factor(repeats: NDArray[np.float64], offset: float) -> None:
    exact = repeats * len(repeats) / repeats.sum()
    so_far = np.cumsum([repeat_counts(repeats, i, offset) for i in range(60)], axis=0)
    due = np.arange(1, 61)[:, None] * exact
    assert np.abs(so_far - due).max() < 4


def test_the_devices_share_the_repeats_of_an_epoch() -> None:
    repeats = np.array([1.0, 1, 1, 1, 4, 1, 1, 1, 1, 1])
    members = [np.arange(6), np.arange(6, 10)]
    ranks = [
        WeightedSampler(members, [6, 4], repeats=repeats, seed=5, rank=rank, n_ranks=2)
        for rank in range(2)
    ]
    epochs = [[list(sampler) for sampler in ranks] for _ in range(30)]
    assert all(len(own) == 5 for epoch in epochs for own in epoch)
    drawn = Counter(image for epoch in epochs for own in epoch for image in own)
    assert ranks[0].draws_per_epoch().tolist() == pytest.approx(
        [6 / 9] * 4 + [24 / 9, 6 / 9, *[1] * 4]
    )
    for image, per_epoch in enumerate(ranks[0].draws_per_epoch()):
        assert abs(drawn[image] - 30 * per_epoch) < 4, image
    resumed = WeightedSampler(members, [6, 4], repeats=repeats, seed=5, rank=1, n_ranks=2)
    resumed.set_epoch(7)
    assert list(resumed) == epochs[7][1]
    other = WeightedSampler(members, [6, 4], repeats=repeats, seed=6, rank=1, n_ranks=2)
    assert [list(other) for _ in range(30)] != [own for _, own in epochs]


def test_the_images_of_each_class_are_counted() -> None:
    assert class_draws([], np.empty(0)) == {}
    assert class_draws(labels_of([], []), np.ones(2)) == {}
    draws = class_draws(labels_of([0, 3, 0], [0], []), np.array([2.25, 0.5, 0.25]))
    assert list(draws) == [3, 0], "the rarest first"
    assert draws == {
        3: ClassDraws(images=1, per_epoch=2.2),
        0: ClassDraws(images=2, per_epoch=2.8),
    }


def two_sources(tmp_path: Path) -> MultiDataset:
    """Ten images with a common class, and two images with a class of their own."""
    common = make_dataset(tmp_path / "common", n_images=10)
    rare = make_dataset(tmp_path / "rare", n_images=2)
    for label in (rare / "labels").rglob("*.txt"):
        label.write_text("1 0.5 0.5 0.1 0.1\n")
    for label in (common / "labels").rglob("*.txt"):
        label.write_text("0 0.5 0.5 0.1 0.1\n")
    folders = common, rare
    return join(DatasetOptions(folders=folders, merge_classes=("all",), balance_threshold=0.5))


@pytest.mark.parametrize(
    ("weights", "counts"),
    [((), [9, 3]), ((1.0, 1.0), [6, 6]), ((5.0, 1.0), [10, 2])],
)
def test_sampling_weights_keep_their_ratio(
    weights: tuple[float, ...], counts: list[int], tmp_path: Path
) -> None:
    data = two_sources(tmp_path)
    data = replace(data, options=replace(data.options, sampling_weights=weights))
    files = data.image_files("train")
    labels = labels_of(*[[data.source_of[file]] for file in files])
    sampler = data.sampler(files, labels, seed=0)
    assert sampler.counts == counts
    assert sampler.draws_per_epoch().sum() == pytest.approx(12)


def rare_beam(tmp_path: Path, *, balance: bool) -> TrainConfig:
    """Twelve images; one has a beam, and one has no symbols."""
    data = tmp_path / "data"
    if not data.exists():
        make_dataset(data, n_images=12, side=64)
        for label in (data / "labels" / "train").iterdir():
            rows = "0 0.5 0.5 0.2 0.2\n" + "2 0.2 0.2 0.1 0.1\n" * (label.stem == "3")
            label.write_text("" if label.stem == "5" else rows)
    return TrainConfig(
        data=data,
        out=tmp_path / f"run-{balance}",
        model="omr-tiny",
        imgsz=64,
        batch=4,
        device="cpu",
        balance_classes=balance,
        balance_threshold=0.75,
    )


@pytest.mark.parametrize(("balance", "n_beams"), [(False, 10), (True, 26)])
def test_training_draws_rare_images_more_often(balance: bool, n_beams: int, tmp_path: Path) -> None:
    config = rare_beam(tmp_path, balance=balance)
    loader = ready_trainer(config).train_loader
    files = [Path(file).name for _ in range(10) for batch in loader for file in batch["im_file"]]
    assert len(files) == 10 * 12
    assert abs(Counter(files)["3.png"] - n_beams) <= 1
    draws = open_inputs(run_options(config)).rarest_classes(2)
    assert list(draws) == ["beam", "notehead"]
    assert draws["beam"] == ClassDraws(images=1, per_epoch=n_beams / 10)
