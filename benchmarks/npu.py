"""Detections and AP in int8 compared with torch's, and the speed of models on NPUs.

    omr convert DATA TILES --classes harmony --tile 320 --scale staff-space:12 --val 0.5
    python -m benchmarks.npu TILES harmony-tiny run/weights/best.pt ... --out FILE.md

Every model is exported with the decoding outside of the file and inside it, with the training
images of TILES for calibration. The detections in some validation images are compared, and the AP
of all of them.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from converters.formats.datasets import open_dataset
from converters.images import Pixels
from omr.exporting import Int8Options, export_model
from omr.npu_figures import model_figures
from omr.scoring.score import score_model
from reading.exported_network import open_exported
from reading.network import Network, TileSymbols
from reading.options import DEFAULT_CONF
from reading.suppression import ious
from settings.published import weights_path
from training.export.tflite import Decode
from training.export.vela import DEFAULT_TARGETS, parse_targets
from training.predict.image_batches import read_resized, squares
from training.predict.tile_network import TorchNetwork

SAME_IOU = 0.5
"""IoU from which two detections of a class are the same."""
DETECTION_HEADER = (
    "| model | file | same | lost | new | AP, macro | AP50, macro | AP, instance-weighted "
    "| AP50, instance-weighted | MB |"
)
SPEED_HEADER = "| model | NPU | ms | MMAC | SRAM KiB | DRAM KiB | flash KiB | on NPU | on CPU |"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Detections of a network compared with those of torch."""

    same: int
    lost: int
    """Detections of torch alone."""
    new: int
    """Detections of the other network alone."""


def compared(expected: Sequence[TileSymbols], actual: Sequence[TileSymbols]) -> Comparison:
    """Match the detections of two networks, best first.

    Args:
        expected: Symbols that torch finds in each tile.
        actual: Symbols of the other network.
    """
    same = sum(_n_same(*tiles) for tiles in zip(expected, actual, strict=True))
    n_expected, n_actual = (sum(len(t.labels) for t in tiles) for tiles in (expected, actual))
    return Comparison(same=same, lost=n_expected - same, new=n_actual - same)


def _n_same(expected: TileSymbols, actual: TileSymbols) -> int:
    is_free = np.ones(len(actual.labels), np.bool_)
    for box, label in zip(expected.boxes_xyxy, expected.labels, strict=True):
        candidates = np.flatnonzero(is_free & (actual.labels == label))
        overlaps = ious(np.tile(box, (len(candidates), 1)), actual.boxes_xyxy[candidates])
        if (overlaps > SAME_IOU).any():
            is_free[candidates[overlaps.argmax()]] = False
    return int((~is_free).sum())


def tiles_of_split(data: Path, split: str, n_tiles: int, side: int) -> Pixels:
    """Read random images of a split, always the same ones, in BGR order, shape ``(B, S, S, 3)``.

    Args:
        data: YOLO folder.
        split: Split to read.
        n_tiles: Maximum number of images.
        side: Side S of the network's input in pixels.
    """
    paths = open_dataset(data).image_paths(split)
    chosen = np.random.default_rng(0).permutation(len(paths))[:n_tiles]
    images = [read_resized(paths[i], PurePosixPath(paths[i].name), side) for i in chosen]
    return squares(images, side)


def _detection_rows(source: Path, exported: Path, options: argparse.Namespace) -> Iterator[str]:
    """Export a model in each form, and yield the rows about its detections.

    Args:
        source: Weights.
        exported: File to write, which is the int8 form decoded outside at the end.
        options: Arguments of the command.
    """
    expected = TorchNetwork(source, device="cpu")
    tiles = tiles_of_split(options.data, "val", options.tiles, expected.imgsz)
    conf = DEFAULT_CONF if expected.conf is None else expected.conf
    symbols = expected.find(tiles, score_thresh=conf)
    yield f"| {source.stem} | torch | | | | {_scores(source, options.data)} | |"
    int8 = Int8Options(data=options.data, n_images=options.calibrate)
    forms: list[tuple[str, Decode, Int8Options | None]] = [
        ("int8, decoded inside", "inside", int8),
        ("float32, decoded outside", "outside", None),
        ("int8, decoded outside", "outside", int8),
    ]
    for title, decode, quantisation in forms:
        export_model(source, exported, "tflite", int8=quantisation, decode=decode, force=True)
        network: Network = open_exported(exported)
        result = compared(symbols, network.find(tiles, score_thresh=conf))
        yield (
            f"| {source.stem} | {title} | {result.same:,} | {result.lost:,} | {result.new:,} | "
            f"{_scores(exported, options.data)} | {exported.stat().st_size / 1e6:.2f} |"
        )


def _scores(weights: Path, data: Path) -> str:
    """Return AP and AP50 in per cent on all validation images, both means of the classes."""
    report = score_model(weights, data, unit="tile", device="cpu").report
    values = [
        ap for mean in (report.macro, report.instance_weighted) for ap in (mean.ap, mean.ap50)
    ]
    return " | ".join("none" if ap is None else f"{100 * ap:.2f}" for ap in values)


def _speed_rows(source: Path, exported: Path) -> Iterator[str]:
    """Yield the rows about the speed of an exported model on each NPU."""
    (model,) = model_figures([exported], parse_targets(list(DEFAULT_TARGETS)))
    for figures in model.targets:
        left = ", ".join(f"{n} {name}" for name, n in figures.cpu_operators.items()) or "none"
        yield (
            f"| {source.stem} | {figures.target.accelerator} | {figures.ms:.2f} "
            f"| {figures.macs / 1e6:.0f} | {figures.sram_kib:.0f} | {figures.dram_kib:.0f} "
            f"| {figures.flash_kib:.0f} | {sum(figures.npu_operators.values())} | {left} |"
        )


def _lines(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of both tables; conversions take minutes."""
    with tempfile.TemporaryDirectory() as temporary:
        files = [Path(temporary, f"{i}.tflite") for i in range(len(options.weights))]
        pairs = list(zip(options.weights, files, strict=True))
        yield from (DETECTION_HEADER, _rule(DETECTION_HEADER))
        for source, exported in pairs:
            yield from _detection_rows(source, exported, options)
        yield from ("", SPEED_HEADER, _rule(SPEED_HEADER))
        for source, exported in pairs:
            yield from _speed_rows(source, exported)


def _rule(header: str) -> str:
    return f"|{'---|' * (header.count('|') - 1)}"


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=weights_path, nargs="+")
    parser.add_argument("--tiles", type=int, default=50)
    parser.add_argument("--calibrate", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with options.out.open("w", encoding="utf-8") as out:
        for line in _lines(options):
            print(line, file=out, flush=True)


if __name__ == "__main__":
    main()
