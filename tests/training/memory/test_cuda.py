import pytest

from training.memory.cuda import MIB, min_reserved_bytes, peak_reserved_bytes


@pytest.mark.parametrize(
    ("sizes", "events", "expected"),
    [
        ([], [], 0),
        ([0], [1, -1], 0),  # an empty tensor takes nothing
        ([512], [1], 2),
        ([MIB, MIB], [1, 2], 2),  # both in one segment
        ([MIB, MIB, 512], [1, 2, 3], 4),
        ([3 * MIB], [1], 20),
        ([3 * MIB] * 6, [1, 2, 3, 4, 5, 6], 20),
        ([3 * MIB] * 7, [1, 2, 3, 4, 5, 6, 7], 40),  # the last 2 MiB are too small
        ([11 * MIB], [1], 12),  # rounded up to 2 MiB
        ([12 * MIB, 12 * MIB], [1, -1, 2], 12),  # reused
        ([12 * MIB, 14 * MIB], [1, -1, 2], 26),  # the free one is too small
        ([40 * MIB, 30 * MIB, 6 * MIB], [1, -1, 2, 3], 40),  # the remainder is used
        ([8 * MIB, 8 * MIB, 16 * MIB], [1, 2, -1, -2, 3], 20),  # free neighbours are joined
    ],
)
def test_segments_by_hand(sizes: list[int], events: list[int], expected: int) -> None:
    assert peak_reserved_bytes(sizes, events) == expected * MIB


def test_free_segments_are_released_when_memory_runs_out() -> None:
    sizes, events = [12 * MIB, 14 * MIB], [1, -1, 2]

    assert peak_reserved_bytes(sizes, events, limit=14 * MIB) == 14 * MIB
    with pytest.raises(MemoryError, match=r"^12582912 bytes are not enough$"):
        peak_reserved_bytes(sizes, events, limit=12 * MIB)


def test_the_minimum_is_between_allocated_and_reserved_bytes() -> None:
    sizes, events = [12 * MIB, 14 * MIB, 16 * MIB], [1, -1, 2, -2, 3]

    assert peak_reserved_bytes(sizes, events) == (12 + 14 + 16) * MIB
    assert 16 * MIB <= min_reserved_bytes(sizes, events) <= 16 * MIB * 1.02


def test_a_segment_in_use_is_not_released() -> None:
    sizes, events = [3 * MIB, 18 * MIB], [1, 2]

    assert min_reserved_bytes(sizes, events) == pytest.approx(38 * MIB, rel=0.02)
