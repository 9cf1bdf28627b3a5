"""Training out of tar files: the same weights, and an order that reads sequentially."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import class_maps
from converters import image_tars
from converters.conversion import ConversionOptions, convert
from converters.files.hashes import state
from settings.run_files import RECORD_FILE
from training.config import TrainConfig
from training.data.multi_dataset import DatasetOptions, join
from training.data.weighted_sampler import Shuffle, WeightedSampler
from training.models.checkpoints import load_weights
from training.trainer import train


@pytest.fixture(scope="module")
def folders(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set in files, converted to a YOLO folder and to shards."""
    folder = tmp_path_factory.mktemp("sharded")
    names = "[notehead, stem, beam]"
    (folder / "own.yaml").write_text(
        f"name: own\nclasses: {names}\nsources: {{yolo: {{map: same names}}}}\n"
    )
    options = ConversionOptions(class_map=class_maps.load(str(folder / "own.yaml")))
    convert(dataset, folder / "files", options)
    convert(
        dataset,
        folder / "tar",
        replace(options, formats=("parquet",), image_mode="tar"),
    )
    return folder / "files", folder / "tar"


def test_the_weights_are_those_of_a_training_on_files(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    before = {path: state(path) for path in folders[1].rglob("*")}
    runs = []
    for data in folders:
        out = tmp_path / data.name
        config = TrainConfig(
            data=data, out=out, model="omr-tiny", epochs=1, imgsz=64, batch=2, device="cpu"
        )
        runs.append(train(config))
    assert {path: state(path) for path in folders[1].rglob("*")} == before
    expected, actual = (load_weights(run.last).state_dict() for run in runs)
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[name], tensor) for name, tensor in actual.items())
    digests = [
        [
            data[key]
            for data in _record(tmp_path / name)["data"]
            for key in ("train", "val", "images")
        ]
        for name in ("files", "tar")
    ]
    assert digests[0] == digests[1]


def _record(run: Path) -> dict[str, list[dict[str, str]]]:
    content: dict[str, list[dict[str, str]]] = json.loads((run / RECORD_FILE).read_text())
    return content


def draws(shuffle: Shuffle, n: int, *, rank: int = 0, ranks: int = 1, start: int = 0) -> list[int]:
    """Return the draws of three epochs from one source of ``n`` images, from an epoch on."""
    sampler = WeightedSampler(
        [np.arange(n)],
        [1],
        repeats=np.ones(n),
        seed=3,
        rank=rank,
        n_ranks=ranks,
        shuffles=[shuffle],
    )
    sampler.set_epoch(start)
    return [image for _ in range(start, 3) for image in sampler]


CHUNKS = np.repeat(np.arange(50), 20)
"""50 chunks of 20 images."""


def test_images_move_less_than_the_buffer() -> None:
    order = np.array(draws(Shuffle(chunks=CHUNKS, buffer=100), 1000)[:1000])
    assert sorted(order.tolist()) == list(range(1000))
    chunks = CHUNKS[order]
    spans = [np.ptp(np.flatnonzero(chunks == chunk)) for chunk in range(50)]
    assert max(spans) < 100 + 20
    assert np.mean(spans) > 50  # and are spread over it
    begins = [np.flatnonzero(chunks == chunk)[0] for chunk in range(50)]
    assert np.corrcoef(begins, range(50))[0, 1] < 0.5  # chunks are in random order
    within = np.diff([i for i in order.tolist() if CHUNKS[i] == 7])
    assert (within < 0).any()


@pytest.mark.parametrize(
    "shuffle",
    [
        Shuffle(chunks=CHUNKS, buffer=1000),
        Shuffle(buffer=1),
        Shuffle(chunks=CHUNKS * 0, buffer=4000),
    ],
)
def test_a_buffer_as_large_as_the_data_set_permutes_it(shuffle: Shuffle) -> None:
    assert draws(shuffle, 1000) == draws(Shuffle(), 1000)


def test_the_order_is_reproducible_on_every_device_and_after_an_interruption() -> None:
    shuffle = Shuffle(chunks=CHUNKS, buffer=100)
    whole = draws(shuffle, 1000)
    assert whole[:1000] != whole[1000:2000]
    assert draws(shuffle, 1000, start=2) == whole[2000:]
    on_two = [draws(shuffle, 1000, rank=rank, ranks=2) for rank in (0, 1)]
    assert [i for pair in zip(*on_two, strict=True) for i in pair] == whole[:3000]


def test_repeated_images_stay_with_their_chunk() -> None:
    repeats = np.ones(1000)
    repeats[:20] = 5.0
    shuffle = Shuffle(chunks=CHUNKS, buffer=100)
    sampler = WeightedSampler([np.arange(1000)], [1], repeats=repeats, seed=0, shuffles=[shuffle])
    order = np.array([*sampler])
    assert np.bincount(order, minlength=1000)[:20].min() >= 4
    assert np.ptp(np.flatnonzero(order < 20)) < 100 + 20 * 6


def test_the_sampler_of_a_data_set_in_tar_files(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_tars, "CHUNK_BYTES", 1024)
    sharded = folders[1]
    options = DatasetOptions(folders=(sharded,), shuffle_buffer=1)
    data = join(options)
    files = data.image_files("train")
    order = [*data.sampler(files, [np.zeros(1, np.int64)] * len(files), seed=0)]
    numbers = image_tars.chunk_numbers(files, sharded / "images/train")
    assert numbers is not None
    assert len(set(numbers.tolist())) > 2
    chunks = numbers[order].tolist()
    assert len([*dict.fromkeys(chunks)]) == 1 + np.count_nonzero(np.diff(chunks))
