from dataclasses import replace
from pathlib import PurePosixPath

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ink_network import InkNetwork
from numpy.typing import NDArray

from class_maps import InputError
from converters.page import Page
from reading.network import TrainingInput
from reading.page_reader import ReadingOptions, prepare, read_page

NATIVE = ReadingOptions(
    training=TrainingInput(is_tiled=True, staff_space=None), score_thresh=0.5, is_scaled=False
)
NAME = PurePosixPath("page.png")

Box = tuple[int, int, int, int]


def drawn(width: int, height: int, boxes: list[Box], level: int = 0) -> NDArray[np.uint8]:
    image = np.full((height, width), 255, np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = level
    return image


def read(
    image: NDArray[np.uint8],
    options: ReadingOptions = NATIVE,
    network: InkNetwork | None = None,
    batch: int = 16,
) -> Page:
    network = network or InkNetwork()
    return read_page(prepare(NAME, image, network.imgsz, options), network, options, batch=batch)


def boxes_of(page: Page) -> list[tuple[float, ...]]:
    return sorted(tuple(box) for box in page.boxes_xyxy.round(6).tolist())


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param([(40, 40, 52, 50)], id="on the corner of four tiles"),
        pytest.param([(0, 70, 300, 78)], id="a staff over seven tiles"),
        pytest.param([(63, 10, 66, 14), (66, 60, 70, 66)], id="at a border"),
        pytest.param([(43, 60, 53, 68), (54, 60, 64, 68)], id="two equal ones a pixel apart"),
        pytest.param([(30, 5, 33, 155)], id="a barline"),
        pytest.param([(2, 3, 3, 4)], id="one pixel"),
        pytest.param([(0, 0, 300, 160)], id="the whole page"),
        pytest.param([], id="nothing"),
    ],
)
def test_symbols_at_seams(boxes: list[Box]) -> None:
    page = read(drawn(300, 160, boxes))
    assert boxes_of(page) == sorted(boxes)
    assert (page.width, page.height, page.image) == (300, 160, NAME)
    assert page.labels.tolist() == [0] * len(boxes)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_no_symbol_is_lost_or_doubled(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 260)), data.draw(st.integers(1, 200))
    image = np.full((height, width), 255, np.uint8)
    truths: list[Box] = []
    for _ in range(data.draw(st.integers(0, 10))):
        x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        long = data.draw(st.integers(1, 250))
        short = data.draw(st.integers(1, 18))  # as long as the overlap at most
        sides = data.draw(st.permutations([long, short]))
        x1, y1 = min(x0 + sides[0], width), min(y0 + sides[1], height)
        if (image[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] == 255).all():
            image[y0:y1, x0:x1] = 0
            truths.append((x0, y0, x1, y1))
    assert boxes_of(read(image)) == sorted(truths)


def test_the_batch_does_not_change_the_symbols() -> None:
    image = drawn(300, 160, [(40, 40, 52, 50), (100, 20, 180, 24)])
    network = InkNetwork()
    pages = [read(image, network=network, batch=batch) for batch in (1, 3, 100)]
    assert boxes_of(pages[0]) == boxes_of(pages[1]) == boxes_of(pages[2]) != []
    assert network.n_tiles[-1] < 18, "blank tiles are skipped"


def staves(space: float, *, n: int = 3, lines: int = 5, width: int = 700) -> NDArray[np.uint8]:
    image = np.full((round(space * (12 * n + 4)), width), 255, np.uint8)
    for staff in range(n):
        for line in range(lines):
            y = round(space * (4 + 12 * staff + line))
            image[y : y + max(1, round(space / 10)), 20 : width - 20] = 0
    return image


SCALED = replace(NATIVE, training=TrainingInput(is_tiled=True, staff_space=12), is_scaled=True)


@pytest.mark.parametrize("space", [8, 12, 20, 33.3])
def test_pages_are_scaled_to_the_staff_space_of_the_training(space: float) -> None:
    image = staves(space)
    prepared = prepare(NAME, image, 64, SCALED)
    assert prepared.staff_space == pytest.approx(space, rel=0.02)
    assert prepared.grid.width == pytest.approx(image.shape[1] * 12 / space, rel=0.02)
    page = read(image, SCALED)
    assert (page.width, page.height) == image.shape[::-1]
    assert page.staff_space == prepared.staff_space
    given_space = prepare(NAME, image, 64, replace(SCALED, staff_space=space))
    assert (given_space.grid.width, given_space.staff_space) == (
        round(image.shape[1] * 12 / space),
        space,
    )


def test_a_blank_page_is_noted() -> None:
    """A page of a PDF file whose content is damaged is drawn blank."""
    prepared = prepare(NAME, np.full((160, 300), 255, np.uint8), 64, SCALED)
    assert prepared.remarks == ("blank: all its pixels have the same colour",)


def test_a_page_without_staves_is_read_in_its_own_size() -> None:
    prepared = prepare(NAME, drawn(300, 160, [(40, 40, 52, 50)]), 64, SCALED)
    assert (prepared.grid.width, prepared.grid.height) == (300, 160)
    assert prepared.remarks == ("no staves found, read in its own size",)
    assert prepared.staff_space is None


def test_the_most_frequent_staff_space_counts() -> None:
    image = np.concatenate([staves(20), staves(20), staves(12)])
    prepared = prepare(NAME, image, 64, SCALED)
    assert prepared.staff_space == pytest.approx(20, rel=0.02)
    assert prepared.remarks == ("staves of 20.0 px a space, and others of 12.0 px",)


@pytest.mark.parametrize(
    ("space", "remark"),
    [
        (
            1.9,
            "only 9 staff spaces wide at the measured 22.8 px; if it shows longer staves, their "
            "lines have merged: use a scan of a higher resolution, or a higher --dpi for a PDF",
        ),
        (
            3.7,
            "staff lines only 3.8 px apart, too close to be read reliably; use a scan of a higher "
            "resolution, or a higher --dpi for a PDF",
        ),
    ],
)
def test_a_page_of_too_low_a_resolution_is_reported(space: float, remark: str) -> None:
    image = staves(20, n=5, width=2200)
    assert prepare(NAME, image, 64, SCALED).remarks == ()
    factor = space / 20
    reduced = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    assert prepare(NAME, np.asarray(reduced, np.uint8), 64, SCALED).remarks == (remark,)


def test_a_network_for_whole_pages_sees_the_page_at_once() -> None:
    whole = replace(SCALED, training=TrainingInput(is_tiled=False, staff_space=None))
    network = InkNetwork(imgsz=320)
    page = read(drawn(640, 480, [(40, 40, 80, 60)]), whole, network)
    assert network.n_tiles == [1]
    assert boxes_of(page) == [(40, 40, 80, 60)]


def test_a_page_that_would_be_too_large_is_refused() -> None:
    tiny = replace(SCALED, staff_space=0.1)
    with pytest.raises(InputError) as raised:
        prepare(NAME, drawn(300, 160, []), 64, tiny)
    assert str(raised.value) == (
        "page.png: scaling its staff space from 0.1 to 12 px would make an image of 36000 x 19200 "
        "px; give the staff space of the page with --staff-space"
    )


def test_symbols_below_the_threshold_are_left_out() -> None:
    high = replace(NATIVE, score_thresh=0.95)
    assert len(read(drawn(300, 160, [(40, 40, 52, 50)]), high).labels) == 0


def test_each_class_can_have_a_threshold_of_its_own() -> None:
    black, grey = (10, 10, 30, 20), (60, 10, 80, 20)
    image = np.minimum(drawn(100, 100, [black]), drawn(100, 100, [grey], level=50))
    scores = read(image).scores
    assert scores is not None
    assert len(scores) == 2
    for limits, expected in (((0.95, 0.2), [1]), ((0.2, 0.95), [0]), ((0.2, 0.2), [0, 1])):
        options = replace(NATIVE, class_thresholds=limits)
        assert sorted(read(image, options).labels.tolist()) == expected


@pytest.mark.parametrize("degrees", [-2.0, 0.0, 3.0])
def test_a_skewed_page_is_read_upright(degrees: float) -> None:
    upright = staves(12, n=6)
    upright[:, 630:] = 255
    upright[260:460, 648:656] = 0  # a line beside the staves
    height, width = upright.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    image = cv2.warpAffine(upright, turn, (width, height), borderValue=255)
    prepared = prepare(NAME, np.asarray(image, np.uint8), 64, SCALED)
    assert prepared.angle_degrees == pytest.approx(degrees, abs=0.06)
    ends = np.array([[652, 260], [652, 460]]) @ turn[:, :2].T + turn[:, 2]
    middle, (dx, dy) = ends.mean(axis=0), np.abs(ends[1] - ends[0])
    half = np.array([dx / 2 + 4, dy / 2])
    expected = np.concatenate([middle - half, middle + half])
    page = read(np.asarray(image, np.uint8), SCALED)
    distances = np.abs(page.boxes_xyxy - expected).max(axis=1)
    assert distances.min() < 3, page.boxes_xyxy[distances.argmin()]


def test_a_page_that_is_read_in_its_own_size_is_not_turned() -> None:
    image = staves(12)
    turn = cv2.getRotationMatrix2D((200, 200), 3, 1.0)
    turned = cv2.warpAffine(image, turn, image.shape[::-1], borderValue=255)
    assert prepare(NAME, np.asarray(turned, np.uint8), 64, NATIVE).dewarping is None


@pytest.mark.parametrize(("degrees", "n_remarks"), [(4, 0), (8, 1)])
def test_a_page_that_is_turned_too_far_is_reported(degrees: int, n_remarks: int) -> None:
    image = staves(12, n=4, width=900)
    height, width = image.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    turned = np.asarray(cv2.warpAffine(image, turn, (width, height), borderValue=(255,)), np.uint8)
    remarks = prepare(NAME, turned, 64, replace(SCALED, staff_space=12.0)).remarks
    expected = (
        "turned by more than 5 degrees, up to which pages are straightened, so symbols are "
        "missed; turn it upright"
    )
    assert remarks == (expected,) * n_remarks


@pytest.mark.parametrize("options", [SCALED, NATIVE, replace(SCALED, staff_space=20.0)])
def test_a_page_on_its_side_is_reported(options: ReadingOptions) -> None:
    image = staves(20, n=5, width=2200)
    assert prepare(NAME, image, 64, options).remarks == ()
    on_side = np.ascontiguousarray(np.rot90(image))
    assert prepare(NAME, on_side, 64, options).remarks == (
        "its staff lines are vertical, and symbols on their side are not found; turn it upright",
    )
