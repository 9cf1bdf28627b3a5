from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
import torch
from host_syncs import HostSyncs
from numpy.typing import NDArray
from torch.nn.functional import pad

from class_maps import InputError
from training.predict.image_batches import (
    ResizedImage,
    collate,
    equal_sizes,
    network_input,
    read_resized,
)

CPU = torch.device("cpu")


def written(folder: Path, array: NDArray[np.uint8]) -> Path:
    path = folder / f"{len(list(folder.iterdir()))}.png"
    cv2.imwrite(str(path), array)
    return path


def resized(path: Path, imgsz: int) -> ResizedImage:
    return read_resized(path, PurePosixPath(path.name), imgsz)


@pytest.mark.parametrize(
    ("size", "small", "factors"),
    [
        ((1, 1), (100, 100), (100.0, 100.0)),
        ((50, 200), (25, 100), (0.5, 0.5)),
        ((100, 80), (100, 80), (1.0, 1.0)),
        ((301, 1000), (31, 100), (0.1, 31 / 301)),
    ],
)
def test_the_longer_side_is_resized(
    size: tuple[int, int], small: tuple[int, int], factors: tuple[float, float], tmp_path: Path
) -> None:
    image = resized(written(tmp_path, np.zeros((*size, 3), np.uint8)), 100)
    assert image.pixels.shape == (*small, 3)
    assert (image.height, image.width) == size
    assert image.factors == factors


def test_a_file_that_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: no such image"):
        resized(tmp_path / "gone.png", 100)


def test_images_are_put_at_the_top_left(tmp_path: Path) -> None:
    wide = np.zeros((50, 200, 3), np.uint8)
    wide[..., 0] = 255  # blue
    white = np.full((100, 80, 3), 255, np.uint8)
    images = [resized(written(tmp_path, array), 100) for array in (wide, white)]
    first, second = (
        network_input(collate([image], 32), CPU, torch.contiguous_format)[0] for image in images
    )
    assert first.shape == (3, 32, 128)
    assert first[:, 24, 99].tolist() == [0, 0, 1], "red, green, blue"
    assert first[0, 25, 0].item() == pytest.approx(114 / 255)
    assert second.shape == (3, 128, 96)
    assert second[:, 99, 79].tolist() == [1, 1, 1]
    assert second[0, 0, 80].item() == pytest.approx(114 / 255)


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([], []),
        ([(64, 64)], [[0]]),
        ([(64, 40), (33, 64), (64, 33), (1, 64), (64, 64)], [[0, 1, 2, 4], [3]]),
    ],
)
def test_images_of_one_padded_size_are_a_group(
    sizes: list[tuple[int, int]], groups: list[list[int]], tmp_path: Path
) -> None:
    images = [resized(written(tmp_path, np.zeros((*s, 3), np.uint8)), 64) for s in sizes]
    assert equal_sizes(images, 32) == groups


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_input_is_that_of_a_conversion_on_the_host(
    memory_format: torch.memory_format, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    sizes = (64, 40), (33, 64), (64, 64)
    images = [
        resized(written(tmp_path, rng.integers(0, 256, (*size, 3), np.uint8)), 64) for size in sizes
    ]
    converted = [
        torch.from_numpy(np.ascontiguousarray(image.pixels[..., ::-1].transpose(2, 0, 1))) / 255
        for image in images
    ]
    padded = [pad(t, (0, 64 - t.shape[2], 0, 64 - t.shape[1]), value=114 / 255) for t in converted]
    small = network_input(collate(images, 32), CPU, memory_format)
    assert torch.equal(small, torch.stack(padded))
    assert small.is_contiguous(memory_format=memory_format)


def test_the_host_does_not_wait_for_a_batch_to_arrive(tmp_path: Path) -> None:
    images = [resized(written(tmp_path, np.zeros((64, 64, 3), np.uint8)), 64)]
    with HostSyncs() as syncs:
        network_input(collate(images, 32), CPU, torch.channels_last)
    assert syncs.records == []
