"""Predictions that are continued after a failure, with a network that finds patches of ink."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ink_network import InkNetwork
from PIL import Image
from stopped_runs import contents, stop_after

from class_maps import OmrError
from omr import prediction
from omr.prediction import PredictOptions, predict_pages
from omr.prediction_files import Overlay

NAMES = ("a.png", "b.png", "s/1.png", "s/2.png", "t/score.pdf")


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[InkNetwork]:
    ink = InkNetwork()
    monkeypatch.setattr(prediction, "open_network", lambda *_, **__: ink)
    return ink


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write pages with a patch each, one that is damaged, and weights."""
    source = tmp_path / "in"
    for i, name in enumerate(NAMES):
        write_page(source / name, 20 * i)
    (source / "c.png").write_bytes(b"damaged")
    (tmp_path / "w.onnx").touch()
    return source


def write_page(path: Path, x: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((80, 150), 255, np.uint8)
    pixels[30:40, x : x + 12] = 0
    Image.fromarray(pixels).save(path)


def options(source: Path, **more: Any) -> PredictOptions:  # noqa: ANN401
    weights = source.parent / "w.onnx"
    return PredictOptions(weights=weights, staff_space="none", formats=("coco", "yolo"), **more)


def stopped(source: Path, n: int, chosen: PredictOptions) -> None:
    """Start a prediction that ends after some pages."""
    out = source.parent / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_pages([source], out, chosen, track=stop_after(n, KeyboardInterrupt()))


def continued(source: Path, chosen: PredictOptions, **more: Any) -> list[str]:  # noqa: ANN401
    """Repeat a prediction, and return what it says; its output is that of an undisturbed one."""
    said: list[str] = []
    done = predict_pages([source], source.parent / "out", chosen, say=said.append, **more)
    fresh = predict_pages([source], source.parent / "fresh", chosen, **more)
    assert contents(source.parent / "out") == contents(source.parent / "fresh")
    assert replace(done, pages=(), seconds=0) == replace(fresh, pages=(), seconds=0)
    left = {path.name for path in source.parent.iterdir()}
    assert left == {"in", "w.onnx", "out", "fresh"}
    return said


@pytest.mark.parametrize("overlay", ["none", "png", "html"])
@pytest.mark.parametrize("n", [1, 3, 5])
def test_pages_that_were_read_are_not_read_again(
    overlay: Overlay,
    n: int,
    source: Path,
    network: InkNetwork,
) -> None:
    chosen = options(source, overlay=overlay)
    stopped(source, n, chosen)
    n_before = n + (n < 2)  # with the page at which it ended; the third one is damaged
    n_read = len(network.n_tiles)
    said = continued(source, chosen)
    assert said == [f"continuing: pages made before: {n_before}"]
    assert len(network.n_tiles) - n_read == 2 * len(NAMES) - n_before


def test_other_formats_use_the_same_symbols(source: Path, network: InkNetwork) -> None:
    stopped(source, 3, options(source))
    chosen = PredictOptions(
        weights=source.parent / "w.onnx", staff_space="none", formats=("mung",), overlay="none"
    )
    assert continued(source, chosen) == ["continuing: pages made before: 3"]


@pytest.mark.parametrize("change", ["conf", "batch", "weights", "code"])
def test_other_symbols_are_read_anew(
    change: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(source, 5, options(source))
    chosen, more = options(source), {}
    if change == "conf":
        chosen = replace(chosen, conf=0.95)
    if change == "batch":
        more = {"batch": 3}
    if change == "weights":
        chosen.weights.write_text("others")
    if change == "code":
        monkeypatch.setattr(prediction, "code_hash", lambda *_: "changed")
    said = continued(source, chosen, **more)
    assert said == ["starting anew: the pages made before have other options or inputs"]


def test_a_changed_page_is_read_again(source: Path, network: InkNetwork) -> None:
    stopped(source, 5, options(source, overlay="none"))
    write_page(source / "a.png", 100)
    (source / "b.png").unlink()
    write_page(source / "d.png", 60)
    n_read = len(network.n_tiles)
    assert continued(source, options(source, overlay="none")) == [
        "continuing: pages made before: 5"
    ]
    assert len(network.n_tiles) - n_read == 2 + len(NAMES)


def test_a_damaged_page_is_tried_again(source: Path) -> None:
    chosen = options(source)
    stopped(source, 5, chosen)
    write_page(source / "c.png", 40)
    continued(source, chosen)
    assert "c.png" in (source.parent / "out" / "predictions.json").read_text()


def test_an_error_at_the_end_keeps_the_pages(
    source: Path, monkeypatch: pytest.MonkeyPatch, network: InkNetwork
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(prediction, "_write_manifest", full)
        with pytest.raises(OmrError, match="full; nothing was written"):
            predict_pages([source], source.parent / "out", options(source))
    n_read = len(network.n_tiles)
    continued(source, options(source))
    assert len(network.n_tiles) - n_read == len(NAMES)


def full(*_: object) -> None:
    raise OSError(28, "full")
