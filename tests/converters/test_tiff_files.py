import struct
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from converters import image_headers, images
from reading.options import ImageOptions
from reading.page_images import list_pages, read_image

UNSPECIFIED, PREMULTIPLIED, STRAIGHT = 0, 1, 2
Samples = NDArray[np.uint8] | NDArray[np.uint16]


def tiff(samples: Samples, extra: int | None, orientation: int = 1, n_pages: int = 1) -> bytes:
    """An uncompressed TIFF of samples of shape ``(H, W, S)``, with equal pages.

    Args:
        samples: Grey or RGB, and one more sample per pixel.
        extra: Value of the tag ExtraSamples; None to omit it.
        orientation: Value of the tag of this name.
        n_pages: Number of pages.
    """
    height, width, n_samples = samples.shape
    file = b"II*\0" + struct.pack("<I", 8)
    for i in range(n_pages):
        tags: list[tuple[int, Sequence[int]]] = [
            (256, [width]),
            (257, [height]),
            (258, [samples.itemsize * 8] * n_samples),
            (259, [1]),
            (262, [1 if n_samples == 2 else 2]),
            (273, [len(file) + 500]),
            (274, [orientation]),
            (277, [n_samples]),
            (278, [height]),
            (279, [samples.nbytes]),
            *([] if extra is None else [(338, [extra])]),
        ]
        entries, values = b"", b""
        first = len(file) + 6 + 12 * len(tags)
        for tag, numbers in tags:
            packed = struct.pack(f"<{len(numbers)}H", *numbers)
            if len(packed) > 4:
                values, packed = packed, struct.pack("<I", first)
            entries += struct.pack("<HHI", tag, 3, len(numbers)) + packed.ljust(4, b"\0")
        following = len(file) + 500 + samples.nbytes if i < n_pages - 1 else 0
        directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) + values
        file += directory.ljust(500, b"\0") + samples.tobytes()
    return file


INK = np.array([[0, 255, 128], [0, 0, 255]], np.uint8)
"""Alpha of black ink: paper, ink, half; paper, paper, ink."""
INK_ON_WHITE = [[255, 0, 127], [255, 255, 0]]


@pytest.mark.parametrize("extra", [PREMULTIPLIED, STRAIGHT])
@pytest.mark.parametrize("n_pages", [1, 2])
@pytest.mark.parametrize("orientation", [1, 6])
def test_greyscale_with_transparency_is_shown_on_white(
    orientation: int, n_pages: int, extra: int, tmp_path: Path
) -> None:
    stored = INK if orientation == 1 else np.rot90(INK)
    grey_alpha = np.dstack([np.zeros_like(stored), stored])
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(grey_alpha, extra, orientation, n_pages))
    assert images.read(path).tolist() == INK_ON_WHITE
    assert images.read_bgr(path)[..., 2].tolist() == INK_ON_WHITE
    for page in list_pages([path]).pages:
        assert read_image(page, ImageOptions()).tolist() == INK_ON_WHITE
    images.copy(path, tmp_path / "b.png")
    assert images.read(tmp_path / "b.png").tolist() == INK_ON_WHITE


@pytest.mark.parametrize("n_bits", [8, 16])
@pytest.mark.parametrize(
    ("extra", "pixel", "expected"),
    [
        (UNSPECIFIED, [10, 200, 30, 0], [10, 200, 30]),
        (PREMULTIPLIED, [50, 100, 0, 100], [205, 255, 155]),
        (STRAIGHT, [255, 0, 0, 102], [255, 153, 153]),
        (STRAIGHT, [10, 200, 30, 0], [255, 255, 255]),
        (None, [255, 0, 0, 102], [255, 153, 153]),
    ],
)
def test_the_meaning_of_a_fourth_sample(
    extra: int | None, pixel: list[int], expected: list[int], n_bits: int, tmp_path: Path
) -> None:
    samples = np.array([[pixel, [255] * 4, [0, 0, 0, 255]]], np.uint8)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(samples if n_bits == 8 else samples.astype(np.uint16) * 257, extra))
    assert images.read_bgr(path)[..., ::-1].tolist() == [[expected, [255] * 3, [0] * 3]]


def pyramid(path: Path, kinds: Sequence[int]) -> None:
    """Write a page of grey 200 for each kind (NewSubfileType); the others than 0 are smaller."""
    first, *others = (
        Image.new("L", (40, 20) if kind == 0 else (20, 10), 200 - kind) for kind in kinds
    )
    for image, kind in zip((first, *others), kinds, strict=True):
        image.encoderinfo = {"tiffinfo": {254: kind}}
    first.save(path, save_all=True, append_images=others, tiffinfo={254: kinds[0]})


@pytest.mark.parametrize(
    ("kinds", "indices", "n_counted"),
    [
        ((0, 1, 1), [None], 1),
        ((1, 0), [1], 2),
        ((0, 1, 0, 1), [0, 2], 2),
        ((0, 4), [None], 1),
        ((1, 1), [0, 1], 2),
    ],
)
def test_pages_that_repeat_another_in_small_are_not_read(
    kinds: Sequence[int], indices: list[int | None], n_counted: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    pyramid(path, kinds)
    listed = list_pages([path]).pages
    assert [page.index for page in listed] == indices
    names = [f"a-{i + 1}.png" for i in range(len(indices))]
    assert [page.name for page in listed] == (
        [PurePosixPath("a.tif")] if indices == [None] else [*map(PurePosixPath, names)]
    )
    size = (10, 20) if kinds == (1, 1) else (20, 40)
    assert {read_image(page, ImageOptions()).shape for page in listed} == {size}
    assert image_headers.n_frames(path) == n_counted
