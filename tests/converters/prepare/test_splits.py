from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from class_maps import ConfigError
from converters.names import count_of
from converters.prepare.splits import described_twice, group_of, held_out, shared_works


def pages_of(*sizes: int) -> list[PurePosixPath]:
    return [
        PurePosixPath(f"lg-{work}-aug-gonville--page-{page}.png")
        for work, n in enumerate(sizes)
        for page in range(n)
    ]


@pytest.mark.parametrize("images", [[], pages_of(5)])
def test_fewer_than_two_works_cannot_be_split(images: list[PurePosixPath]) -> None:
    with pytest.raises(ConfigError, match=r"^--val: needs at least two works to hold one out, but"):
        held_out(images, 0.1, "work", 0)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=40),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_laws(sizes: list[int], fraction: float, seed: int) -> None:
    images = pages_of(*sizes)
    chosen = held_out(images, fraction, "work", seed)
    assert chosen == held_out(images[::-1], fraction, "work", seed)
    assert 0 < len(chosen) < len(sizes)
    taken = sum(group_of(image, "work") in chosen for image in images)
    assert abs(taken - fraction * len(images)) <= max(sizes)


def test_another_seed_gives_another_choice() -> None:
    images = pages_of(*[1] * 40)
    assert held_out(images, 0.5, "work", 0) != held_out(images, 0.5, "work", 1)


def test_a_name_without_a_work() -> None:
    page = PurePosixPath("scan-7.png")
    with pytest.raises(ConfigError, match=r"^scan-7.png: the work is not in the name"):
        group_of(page, "work")
    assert group_of(page, "page") == "scan-7.png"


@pytest.mark.parametrize(
    ("image", "page"),
    [
        ("x.png", "x.png"),
        ("x.jpg.png", "x.jpg.png"),
        ("x_png.rf.0123456789abcdef0123456789abcdef.jpg", "x_png.jpg"),
        ("a/x_png.rf.0123456789abcdef0123456789abcdef.jpg", "a/x_png.jpg"),
        ("x__x00000_y00512.png", "x.png"),
        ("x_png.rf.0123456789abcdef0123__x00512_y00000.png", "x_png.png"),
        ("x.rf.png", "x.rf.png"),
        ("x__x1_y2.png", "x__x1_y2.png"),
        (".rf.0123456789abcdef0123456789abcdef.jpg", ".rf.0123456789abcdef0123456789abcdef.jpg"),
    ],
)
def test_copies_and_tiles_of_a_page_are_held_out_together(image: str, page: str) -> None:
    assert group_of(PurePosixPath(image), "page") == page


def test_the_work_of_a_tile_is_that_of_its_page() -> None:
    tile = PurePosixPath("lg-12-aug-gonville--page-3__x00512_y00000.png")
    assert group_of(tile, "work") == "12"


def test_works_in_several_splits_are_a_warning() -> None:
    assert shared_works({"train": {"1", "2"}, "val": {"3"}}) is None
    assert shared_works({"train": {"1", "2"}, "test": {"2"}}) == (
        "in more than one split: 1 work (2); scores will be too optimistic"
    )


def test_images_that_two_files_describe_are_a_warning() -> None:
    train, val = Path("a/train.json"), Path("a/val.json")
    images = [(train, Path("i/2.png")), (train, Path("i/1.png")), (train, Path("i/3.png"))]
    assert [*described_twice([])] == []
    assert [*described_twice([*images, (train, Path("i/2.png")), (val, Path("j/2.png"))])] == []
    assert [*described_twice([*images, (val, Path("i/2.png")), (val, Path("i/1.png"))])] == [
        "described in both train.json and val.json: 2 images (1.png, 2.png); if they mean different "
        "images of one name, labels are wrong: export each split with its own images"
    ]


def test_count_of() -> None:
    assert count_of([], "page") == "0 pages ()"
    assert count_of([1], "category") == "1 category (1)"
    assert count_of([1, 2, 3, 4], "category") == "4 categories (1, 2, 3, ...)"
