from types import SimpleNamespace

import pytest

from training.profiling.kernels import covered, kernel_intervals


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([], 0),
        ([(1, 4)], 3),
        ([(5, 7), (1, 4)], 5),
        ([(1, 10), (2, 3), (4, 5)], 9),
        ([(1, 4), (3, 6), (6, 8)], 7),
    ],
    ids=["none", "one", "unordered", "inside", "overlapping"],
)
def test_kernels_that_overlap_count_once(
    intervals: list[tuple[float, float]], expected: float
) -> None:
    assert covered(intervals) == expected


def event(name: str, device: str, annotation: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        name=name,
        device_type=SimpleNamespace(name=device),
        time_range=SimpleNamespace(start=1, end=3),
        is_user_annotation=annotation,
    )


def test_only_kernels_are_selected() -> None:
    assert kernel_intervals([]) == []
    others = [
        event("aten::add", "CPU"),
        event("Memcpy HtoD", "CUDA"),
        event("Memset", "CUDA"),
        event("Optimizer.step#AdamW.step", "CUDA"),
        event("my block", "CUDA", annotation=True),
    ]
    assert kernel_intervals([*others, event("sm90_gemm", "CUDA")]) == [(1, 3)]
