from pathlib import Path

import pytest

from omr.lr_plot import write_lr_plot
from training.lr_finder import RangeTest


@pytest.mark.parametrize(
    ("losses", "n_marks"), [((3.0, 2.0, 1.0), 2), ((1.0, 2.0, 3.0), 0), ((1.0,), 0)]
)
def test_a_plot_has_both_marks_or_none(
    losses: tuple[float, ...], n_marks: int, tmp_path: Path
) -> None:
    rates = (0.1, 0.2, 0.4)[: len(losses)]
    write_lr_plot(RangeTest(rates=rates, losses=losses), tmp_path / "lr.html")
    page = (tmp_path / "lr.html").read_text()
    assert page.count('class="dashed"') == n_marks
    assert page.count('class="s0 hollow"') == len(losses) - 1
    assert ("steepest descent: " in page) is bool(n_marks)
    assert "<h1>Learning-rate range test</h1>" in page
    assert "://" not in page
