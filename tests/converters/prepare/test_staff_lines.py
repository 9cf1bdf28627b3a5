from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from converters.prepare.staff_lines import lies_on_side, measure_staff_space

Grey = NDArray[np.uint8]
RNG = np.random.default_rng(1)


def music(space: float, *, staves: int = 6, lines: int = 5, seed: int = 0) -> Grey:
    """Draw staves with noteheads, stems and beams at random places."""
    rng = np.random.default_rng(seed)
    pitch, width = round(space * 11), round(space * 60)
    image = np.full((pitch * staves + round(space * 4), width), 255, np.uint8)
    thickness = max(1, round(space * 0.12))
    for staff in range(staves):
        top = round(space * 4) + staff * pitch
        for line in range(lines):
            row = round(top + line * space)
            image[row : row + thickness, round(space * 2) : width - round(space * 2)] = 0
        for x in rng.uniform(space * 3, width - space * 3, 30).tolist():
            y = top + float(rng.uniform(-1, 5)) * space
            centre, axes = (round(x), round(y)), (round(space * 0.6), round(space * 0.5))
            cv2.ellipse(image, centre, axes, -20, 0, 360, 0, -1)
            cv2.line(image, centre, (round(x), round(y - 3.5 * space)), 0, thickness)
        x, y = rng.uniform(space * 5, width - space * 12), top - space * 2
        cv2.rectangle(
            image, (round(x), round(y)), (round(x + 5 * space), round(y + space / 2)), 0, -1
        )
    return image


def rotated(image: Grey, degrees: float) -> Grey:
    height, width = image.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(image, turn, (width, height), borderValue=255), np.uint8)


DAMAGES: dict[str, Callable[[Grey], Grey]] = {
    "none": lambda image: image,
    "blurred": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 4), np.uint8),
    "noisy": lambda image: np.clip(image + RNG.normal(0, 30, image.shape), 0, 255).astype(np.uint8),
    "turned": lambda image: rotated(image, 3),
    "shaded": lambda image: (image * np.linspace(0.4, 1, image.shape[1])).astype(np.uint8),
    "faint": lambda image: (200 + image * 0.2).astype(np.uint8),
    "fat": lambda image: np.asarray(cv2.erode(image, np.ones((3, 3))), np.uint8),
    "binarised": lambda image: ((cv2.blur(image, (2, 2)) > 128) * 255).astype(np.uint8),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("space", [16, 20.7, 33, 60])
def test_damaged_pages(space: float, damage: str) -> None:
    found = measure_staff_space(DAMAGES[damage](music(space)))
    assert found is not None
    assert found.most == pytest.approx(space, rel=0.02)
    assert found.others == ()


@pytest.mark.parametrize("space", [5, 8, 12, 140])
def test_small_and_large_pages(space: float) -> None:
    found = measure_staff_space(music(space, staves=3))
    assert found is not None
    assert found.most == pytest.approx(space, rel=0.03)


def test_other_sizes_are_reported_most_frequent_first() -> None:
    parts = [music(20, staves=6), music(13, staves=3), music(30, staves=3)]
    width = max(part.shape[1] for part in parts)
    padded = [np.pad(p, ((0, 0), (0, width - p.shape[1])), constant_values=255) for p in parts]
    found = measure_staff_space(np.concatenate(padded))
    assert found is not None
    assert found.most == pytest.approx(20, rel=0.02)
    assert sorted(found.others) == pytest.approx([13, 30], rel=0.02)


def test_thin_pale_lines_of_small_staves_are_reported() -> None:
    large, small = music(24, staves=5), cv2.resize(music(24, staves=5), None, fx=0.5, fy=0.5)
    small = 190 + np.asarray(small, np.uint8) // 255 * 65
    padding = ((0, 0), (0, large.shape[1] - small.shape[1]))
    page = np.concatenate([large, np.pad(small, padding, constant_values=255)])
    found = measure_staff_space(page)
    assert found is not None
    assert found.most == pytest.approx(24, rel=0.02)
    assert found.others == pytest.approx([12], rel=0.02)


def text(size: float) -> Grey:
    image = np.full((1600, 1200), 255, np.uint8)
    words = ["".join(RNG.choice([*"etaoinshrdlu"], 6)) for _ in range(4000)]
    for row, y in enumerate(np.arange(100, 1500, size * 42)):
        line = " ".join(words[row * 12 : row * 12 + 12])
        cv2.putText(image, line, (80, round(y)), cv2.FONT_HERSHEY_COMPLEX, size, 0, 2)
    return image


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.full((300, 200), 255, np.uint8), id="blank"),
        pytest.param(np.zeros((300, 200), np.uint8), id="black"),
        pytest.param(np.full((1, 1), 255, np.uint8), id="one pixel"),
        pytest.param(RNG.integers(0, 256, (1200, 900)).astype(np.uint8), id="noise"),
        pytest.param(text(0.6), id="small text"),
        pytest.param(text(1.0), id="large text"),
        pytest.param(music(20, lines=1), id="staves of one line"),
    ],
)
def test_pages_without_staves(image: Grey) -> None:
    assert measure_staff_space(image) is None
    assert not lies_on_side(image)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("space", [8, 20.7, 33])
def test_a_page_on_its_side(space: float, damage: str) -> None:
    page = DAMAGES[damage](music(space))
    assert not lies_on_side(page)
    assert lies_on_side(np.ascontiguousarray(np.rot90(page)))
    in_colour = cv2.cvtColor(np.rot90(page, 3), cv2.COLOR_GRAY2BGR)
    assert lies_on_side(np.asarray(in_colour, np.uint8))


@pytest.mark.parametrize("space", [8, 20])
def test_pages_without_staves_do_not_lie_on_their_side(space: float) -> None:
    for page in (music(space, lines=0), music(space, staves=0), np.full((9, 9), 255, np.uint8)):
        assert not lies_on_side(page)
        assert not lies_on_side(np.ascontiguousarray(page.T))
