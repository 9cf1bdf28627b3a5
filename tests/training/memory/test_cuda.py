import pytest

from training.memory.cuda import MIB, least_reserved, reserved


@pytest.mark.parametrize(
    ("sizes", "events", "expected"),
    [
        ([], [], 0),
        ([0], [1, -1], 0),  # a tensor without numbers takes nothing
        ([512], [1], 2),
        ([MIB, MIB], [1, 2], 2),  # both in one segment
        ([MIB, MIB, 512], [1, 2, 3], 4),
        ([3 * MIB], [1], 20),
        ([3 * MIB] * 6, [1, 2, 3, 4, 5, 6], 20),
        ([3 * MIB] * 7, [1, 2, 3, 4, 5, 6, 7], 40),  # the last 2 MiB hold none
        ([11 * MIB], [1], 12),  # the next even number
        ([12 * MIB, 12 * MIB], [1, -1, 2], 12),  # taken again
        ([12 * MIB, 14 * MIB], [1, -1, 2], 26),  # the free one is too small
        ([40 * MIB, 30 * MIB, 6 * MIB], [1, -1, 2, 3], 40),  # what is left over is used
        ([8 * MIB, 8 * MIB, 16 * MIB], [1, 2, -1, -2, 3], 20),  # neighbours become one
    ],
)
def test_segments_by_hand(sizes: list[int], events: list[int], expected: int) -> None:
    assert reserved(sizes, events) == expected * MIB


def test_free_segments_go_back_when_it_is_short() -> None:
    sizes, events = [12 * MIB, 14 * MIB], [1, -1, 2]

    assert reserved(sizes, events, limit=14 * MIB) == 14 * MIB
    with pytest.raises(MemoryError, match=r"^12582912 bytes are not enough$"):
        reserved(sizes, events, limit=12 * MIB)


def test_the_least_lies_between_the_tensors_and_what_is_held() -> None:
    sizes, events = [12 * MIB, 14 * MIB, 16 * MIB], [1, -1, 2, -2, 3]

    assert reserved(sizes, events) == (12 + 14 + 16) * MIB
    assert 16 * MIB <= least_reserved(sizes, events) <= 16 * MIB * 1.02


def test_a_segment_with_a_tensor_stays() -> None:
    sizes, events = [3 * MIB, 18 * MIB], [1, 2]

    assert least_reserved(sizes, events) == pytest.approx(38 * MIB, rel=0.02)
