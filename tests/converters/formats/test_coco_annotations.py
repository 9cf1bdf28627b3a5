"""Values of COCO annotations that rounding, another type or a missing number would change."""

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
        open_files(file)


@pytest.mark.parametrize(
    ("polygons", "boxes_xyxy"),
    [
        ([], []),
        ([[10, 10, 20, 10, 20, 20]], [[10, 10, 20, 20]]),
        ([[10, 10, 20, 10, 20]], []),
        ([[10, 10, 20, 10, 20, 20, 99]], []),
        ([[10, 10, 20, 10, 20, 20], [30]], []),
    ],
)
def test_a_polygon_without_one_of_its_numbers_is_no_box(
    polygons: list[list[float]], boxes_xyxy: list[list[float]], tmp_path: Path
) -> None:
    row = coco_json.annotation(bbox=None, segmentation=polygons)
    files = open_files(coco_json.write(tmp_path / "a.json", annotations=[row]))
    class_map, counts = identity_map("coco", files), Tally()
    [page] = files[0].pages(class_map.source("coco"), class_map.labels, counts)
    np.testing.assert_array_equal(page.boxes_xyxy, np.reshape(boxes_xyxy, (-1, 4)))
    assert counts.by_reason() == ({} if boxes_xyxy else {NO_BOX: 1})
