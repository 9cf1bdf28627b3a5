"""Values of COCO annotations that rounding, another type or a missing number would change."""

import json
from collections.abc import Sequence
from pathlib import Path

import coco_json
import numpy as np
import pytest

from class_maps import InputError
from converters.formats.coco import open_files
from converters.formats.coco_annotations import key_of
from converters.formats.sources import identity_map
from converters.tally import NO_BOX, Tally


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (25, 25),
        ("025", 25),
        (25.0, 25),
        (2.0**53, "9007199254740992.0"),
        (1e300, "1e+300"),
        (10**30, 10**30),
        ("1_0", "1_0"),
        ("\u0661", "\u0661"),
    ],
)
def test_equal_ids_are_equal_keys(value: float | str, key: int | str) -> None:
    assert key_of(value) == key


def test_a_rounded_id_is_no_image(tmp_path: Path) -> None:
    """The float may represent 2 ** 53 or 2 ** 53 + 1."""
    file = coco_json.write(
        tmp_path / "a.json", annotations=[coco_json.annotation(image_id=2.0**53)]
    )
    text = file.read_text().replace('"images": [{"id": 1', f'"images": [{{"id": {2**53}')
    file.write_text(text)
    with pytest.raises(InputError, match="unknown image: 1 annotation"):
        read_file(file)


@pytest.mark.parametrize(
    ("polygons", "boxes_xyxy"),
    [
        ([], []),
        ([[10, 10, 20, 10, 20, 20]], [[10, 10, 20, 20]]),
        ([10, 10, 20, 10, 20, 20], [[10, 10, 20, 20]]),
        ([10, 10, 20, 10, 20], []),
        ([10, 10, 20, 20], []),
        ([[10, 10, 20, 10, 20]], []),
        ([[10, 10, 20, 10, 20, 20, 99]], []),
        ([[10, 10, 20, 10, 20, 20], [30]], []),
    ],
)
def test_a_polygon_without_one_of_its_numbers_is_no_box(
    polygons: list[float] | list[list[float]], boxes_xyxy: list[list[float]], tmp_path: Path
) -> None:
    row = coco_json.annotation(bbox=None, segmentation=polygons)
    files = open_files(coco_json.write(tmp_path / "a.json", annotations=[row]))
    class_map, counts = identity_map("coco", files), Tally()
    [page] = files[0].pages(class_map.source("coco"), class_map.labels, counts)
    np.testing.assert_array_equal(page.boxes_xyxy, np.reshape(boxes_xyxy, (-1, 4)))
    assert counts.by_reason() == ({} if boxes_xyxy else {NO_BOX: 1})


def test_a_box_of_zeros_does_not_replace_a_polygon(tmp_path: Path) -> None:
    polygon = [[10, 10, 20, 10, 20, 20]]
    rows = [coco_json.annotation(bbox=[0, 0, 0, 0], segmentation=polygon)]
    files = open_files(coco_json.write(tmp_path / "a.json", annotations=rows))
    class_map = identity_map("coco", files)
    [page] = files[0].pages(class_map.source("coco"), class_map.labels, Tally())
    assert page.boxes_xyxy.tolist() == [[10, 10, 20, 20]]


CORNERS = [10, 20, 30, 50]
POLYGON = [[10, 20, 30, 20, 30, 50, 10, 50]]


@pytest.mark.parametrize(
    ("rows", "n_corners"),
    [
        ([], 0),
        ([(CORNERS, POLYGON)], 1),
        ([(CORNERS, POLYGON[0])], 1),
        ([([10, 20, 30.9, 50.9], POLYGON), (CORNERS, None)], 1),
        ([(CORNERS, POLYGON)] * 2, 2),
        ([(CORNERS, [])], 0),
        ([(CORNERS, {"size": [100, 100], "counts": "a"})], 0),
        ([(CORNERS, [[10, 20, 40, 20, 40, 70, 10, 70]])], 0),
        ([(CORNERS, POLYGON), ([10, 20, 20, 30], POLYGON)], 0),
        ([([0, 0, 30, 50], [[0, 0, 30, 0, 30, 50]])], 0),
        ([(CORNERS, POLYGON), (None, POLYGON)], 1),
    ],
)
def test_corners_of_polygons_are_no_boxes(
    rows: list[tuple[object, object]], n_corners: int, tmp_path: Path
) -> None:
    annotations = [
        coco_json.annotation(id=i + 1, bbox=bbox, segmentation=segmentation)
        for i, (bbox, segmentation) in enumerate(rows)
    ]
    file = coco_json.write(tmp_path / "a.json", annotations=annotations)
    if not n_corners:
        read_file(file)
        return
    ids = ", ".join(str(i + 1) for i in range(n_corners))
    with pytest.raises(InputError) as raised:
        read_file(file)
    plural = "s" if n_corners > 1 else ""
    assert str(raised.value) == (
        f"{file}: annotations.bbox: is x1, y1, x2, y2 of its polygon: {n_corners} "
        f"annotation{plural} ({ids}); write it as x, y, width, height"
    )


@pytest.mark.parametrize("clip", [False, True])
def test_fractions_of_the_image_are_refused(clip: bool, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"annotations.bbox: no box extends beyond the first pix"):
        read([[0.2, 0.3, 0.1, 0.1], [0.5, 0.5, 0.1, 0.2]], tmp_path, clip=clip)
    assert not read([[0, 0, 1, 1]], tmp_path, clip=clip)


WHOLE = [[20, 20, 60, 60], [30, 40, 90, 80], [60, 70, 70, 75], [70, 60, 90, 90]]
"""Boxes as x1, y1, x2, y2 on an image of 100 x 100 px; as x, y, width, height, 3 exceed it."""
BEYOND = [[90, 10, 20, 5], [95, 10, 20, 5], [10, 10, 5, 5]]
REWRITE = "if they are x1, y1, x2, y2, write them as x, y, width, height"


def read(
    boxes: Sequence[Sequence[float]], folder: Path, *, clip: bool, ignore: Sequence[object] = ()
) -> list[str]:
    """Read a file with these boxes, the first of which have ``ignore``; return the warnings."""
    rows = [coco_json.annotation(id=i + 1, bbox=box) for i, box in enumerate(boxes)]
    for row, value in zip(rows, ignore, strict=False):
        row["ignore"] = value
    file = coco_json.write(folder / "a.json", annotations=rows)
    content = json.loads(file.read_text())
    content["images"][0] |= {"width": 100, "height": 100}
    file.write_text(json.dumps(content))
    return read_file(file, clip=clip).warnings


def read_file(file: Path, *, clip: bool = False) -> Tally:
    """Read a file, and return its counts."""
    files = open_files(file)
    class_map, counts = identity_map("coco", files), Tally()
    list(files[0].pages(class_map.source("coco"), class_map.labels, counts, clip=clip))
    return counts


@pytest.mark.parametrize(
    ("boxes", "clip", "problem"),
    [
        (WHOLE, False, f"60 px: 3 annotations (2, 3, 4); {REWRITE}; otherwise, use --clip"),
        (WHOLE * 3, False, f"60 px: 9 annotations (2, 3, 4, ...); {REWRITE}"),
        (WHOLE * 3, True, f"60 px: 9 annotations (2, 3, 4, ...); {REWRITE}"),
        (BEYOND, False, "15 px: 2 annotations (1, 2); use --clip to clip boxes to the image"),
    ],
)
def test_corners_instead_of_sizes_are_an_error(
    boxes: list[list[float]], clip: bool, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as raised:
        read(boxes, tmp_path, clip=clip)
    assert str(raised.value) == (
        f"{tmp_path}/a.json: annotations.bbox: extends beyond the image by up to {problem}"
    )


@pytest.mark.parametrize(
    ("boxes", "n_clipped"),
    [([], 0), (BEYOND[1:], 0), (BEYOND, 2), (WHOLE, 3), (BEYOND * 5, 10)],
)
def test_clipping_most_boxes_is_reported(
    boxes: list[list[float]], n_clipped: int, tmp_path: Path
) -> None:
    note = (
        f"a.json: {n_clipped} of {len(boxes)} boxes extend beyond the image and are clipped; "
        f"{REWRITE}"
    )
    assert read(boxes, tmp_path, clip=True) == ([note] if n_clipped else [])


@pytest.mark.parametrize(
    ("ignore", "n"),
    [((), ""), ((0, False, None), ""), ((0, 1), "1 annotation"), ((1, True), "2 annotations")],
)
def test_annotations_to_ignore_are_reported(
    ignore: Sequence[object], n: str, tmp_path: Path
) -> None:
    note = f"a.json: {n} with ignore: read like the others"
    assert read(BEYOND[2:] * 3, tmp_path, clip=False, ignore=ignore) == ([note] if n else [])


@pytest.mark.parametrize(
    ("fields", "is_read"),
    [
        ({}, True),
        ({"bbox": [9, 10, 11, 10]}, True),  # a thin box was widened
        ({"bbox": [5, 10, 15, 10]}, False),  # moved in another program
        ({"segmentation": []}, False),
        ({"segmentation": [[10, 10, 20, 10, 20, 20]]}, False),
        ({"symbol_id": "a"}, False),
        ({"symbol_id": None}, False),
    ],
)
def test_corners_that_omr_wrote(fields: dict[str, object], is_read: bool, tmp_path: Path) -> None:
    polygon = [10, 12, 18, 10, 20, 18, 12, 20]
    rows = [
        coco_json.annotation(**{"id": i, "segmentation": [polygon], "symbol_id": i} | changed)
        for i, changed in enumerate(({}, fields), 1)
    ]
    files = open_files(coco_json.write(tmp_path / "a.json", annotations=rows))
    class_map = identity_map("coco", files)
    [page] = files[0].pages(class_map.source("coco"), class_map.labels, Tally())
    expected = [np.reshape(polygon, (4, 2)).tolist()] * 2 if is_read else None
    assert (None if page.corners is None else page.corners.tolist()) == expected
