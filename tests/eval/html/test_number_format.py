import pytest

from eval.html.number_format import amount, counted, memory, pixels, share

GIB, MIB = 2**30, 2**20


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (None, "-"),
        (0, "0 MiB"),
        (1, "under 1 MiB"),
        (312 * MIB, "312 MiB"),
        (GIB, "1.0 GiB"),
        (19.3 * GIB, "19.3 GiB"),
        (1500 * GIB, "1,500.0 GiB"),
    ],
)
def test_memory(n_bytes: float | None, words: str) -> None:
    assert memory(n_bytes).replace("\u00a0", " ") == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "-"),
        (0, "0%"),
        (0.0001, "< 0.1%"),
        (0.5, "50%"),
        (0.964, "96.4%"),
        (0.9999, "> 99.9%"),
        (1.0, "100%"),
        (2.473, "247.3%"),
    ],
)
def test_share(value: float | None, words: str) -> None:
    assert share(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "-"), (0, "0"), (1234, "1,234"), (12.54, "12.5"), (640.9, "641")],
)
def test_amount(value: float | None, words: str) -> None:
    assert amount(value) == words


@pytest.mark.parametrize(("n", "words"), [(0, "0 images"), (1, "1 image"), (1714, "1,714 images")])
def test_counted(n: int, words: str) -> None:
    assert counted(n, "image", "images") == words


@pytest.mark.parametrize(
    ("value", "words"), [(None, "-"), (0.64, "0.6"), (99.94, "99.9"), (154.3, "154")]
)
def test_pixels(value: float | None, words: str) -> None:
    assert pixels(value) == words
