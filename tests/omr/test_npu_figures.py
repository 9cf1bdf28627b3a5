from pathlib import Path

import pytest

from omr.npu_figures import model_names


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a/best.pt", "b/last.pt"], ["best.pt", "last.pt"]),
        (["runs/a/weights/best.pt", "runs/b/weights/best.pt"], ["a", "b"]),
        (["runs/best.pt", "runs/b/best.pt"], ["best.pt", "b/best.pt"]),
        (["runs/a/1/best.pt", "runs/b/2/best.pt", "runs/a/2/best.pt"], ["a/1", "b/2", "a/2"]),
        (["best.pt", "best.pt"], ["best.pt", "best.pt"]),
    ],
)
def test_models_with_the_same_file_name_are_told_apart(
    sources: list[str], names: list[str]
) -> None:
    assert model_names([Path(source) for source in sources]) == names
