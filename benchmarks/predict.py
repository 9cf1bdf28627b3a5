"""Speed and quality of ``omr predict`` on whole pages, compared with its network alone and SAHI.

    omr convert DATA PAGES --classes harmony       # pages in their own size, with ground truth
    pip install --target PEERS --no-deps sahi==0.12.8 shapely fire termcolor tqdm
    python -m benchmarks.predict PAGES --weights run/weights/best.pt --peers PEERS --out FILE.md

Tasks of a table take turns, and times are the minimum over rounds, because the machine may be
shared. Without ``--peers``, the comparison with SAHI is skipped.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.measuring import measure
from benchmarks.sliced_prediction import POSTPROCESSING, SlicedNetwork, as_page
from benchmarks.timing import Cost, Phases, alternate
from converters import images
from converters.formats.datasets import open_dataset
from converters.page import Page
from converters.prepare.staff_lines import measure_staff_space
from converters.prepare.tiles import TileOptions, cut
from eval.metrics.coco import evaluate
from omr import prediction
from omr.cli import wait_without_spinning
from omr.prediction import PredictOptions, predict_pages
from omr.prediction_files import Overlay
from reading import page_reader, page_stream
from reading.merging import merge
from reading.network import Network
from reading.page_reader import OVERLAP, PreparedPage, ReadingOptions, prepare, read_page
from reading.pieces import Pieces
from reading.tiling import TileGrid, tiles_of

A4_WIDTH = 2480
"""Width of an A4 page at 300 dpi in pixels."""
N_PIECES = 3000
"""Number of pieces to merge."""
NOISE_PX = 0.5
"""Standard deviation of the positions of pieces."""
PHASES = ("decode", "staff space", "scale", "tiles", "network", "merge", "write")
BATCH = 16
"""Default of ``omr predict``."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rig:
    """Pages and networks to measure with."""

    files: tuple[Path, ...]
    truths: tuple[Page, ...]
    networks: dict[str, Network]
    """Networks with the same weights, by library."""
    weights: dict[str, Path]
    """Weights file of each network."""
    names: tuple[str, ...]
    reading: ReadingOptions
    options: PredictOptions
    device: str
    repeat: int
    work: Path
    """Folder for temporary files."""

    def prepared(self) -> Iterator[PreparedPage]:
        """Yield the scaled pages."""
        imgsz = self.networks["torch"].imgsz
        for file, truth in zip(self.files, self.truths, strict=True):
            yield prepare(truth.image, images.read(file), imgsz, self.reading)


def main() -> None:
    """Measure, and print and write the tables."""
    wait_without_spinning()
    arguments = options_of()
    with tempfile.TemporaryDirectory() as folder:
        rig = rig_of(arguments, Path(folder))
        sections = []
        for section in measured_sections(arguments, rig):
            print(section, flush=True)
            sections.append(section)
    if arguments.out:
        arguments.out.write_text("\n".join(sections), encoding="utf-8")


def measured_sections(arguments: argparse.Namespace, rig: Rig) -> Iterator[str]:
    """Measure, and yield each section of the results."""
    yield introduction(arguments, rig)
    for measure_section in (throughput, phases, parts, one_page):
        yield measure_section(rig)
    if arguments.peers:
        for conf in arguments.conf:
            yield compared(rig, arguments.peers, conf)


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", type=Path, help="output of omr convert without --tile")
    parser.add_argument("--weights", type=Path, required=True, help="weights of a training")
    parser.add_argument("--peers", type=Path, help="folder in which SAHI is installed")
    parser.add_argument("--n", type=int, default=12, help="number of pages")
    parser.add_argument("--repeat", type=int, default=3, help="number of rounds")
    parser.add_argument("--device", default="cpu", help="cpu, or a GPU index")
    parser.add_argument(
        "--conf", type=float, nargs="+", default=[0.25, 0.1], help="confidences beside SAHI"
    )
    parser.add_argument(
        "--note", default="Speed and quality of `omr predict`.", help="first paragraph"
    )
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    return parser.parse_args(arguments)


def rig_of(arguments: argparse.Namespace, work: Path) -> Rig:
    """Read the ground truth, load the weights, and export them to ONNX for the CPU."""
    from omr.exporting import export_model

    data = open_dataset(arguments.pages)
    split = next(iter(data.splits))
    truths = tuple(data.pages(split))[: arguments.n]
    weights = {"torch": arguments.weights}
    if arguments.device == "cpu":
        weights["ONNX"] = work / "model.onnx"
        export_model(arguments.weights, weights["ONNX"], "onnx")
    options = PredictOptions(weights=arguments.weights)
    networks = {
        name: prediction.open_network(file, device=arguments.device)
        for name, file in weights.items()
    }
    if networks["torch"].names != tuple(data.names):
        sys.exit(f"{arguments.pages}: its classes are not those of {arguments.weights}")
    return Rig(
        files=tuple(data.splits[split] / truth.image for truth in truths),
        truths=truths,
        networks=networks,
        weights=weights,
        names=tuple(data.names),
        reading=prediction.reading_options(networks["torch"], options),
        options=options,
        device=arguments.device,
        repeat=arguments.repeat,
        work=work,
    )


def introduction(arguments: argparse.Namespace, rig: Rig) -> str:
    """Describe the command, the machine and the pages."""
    import torch

    from benchmarks.assigner import machine

    n_symbols = sum(len(truth.labels) for truth in rig.truths) / len(rig.truths)
    n_tiles = sum(len(page.grid) for page in rig.prepared()) / len(rig.truths)
    described = machine(torch.get_num_threads(), rig.device, "predict")
    return (
        f"# Prediction\n\n{arguments.note}\n\n{described}\n\n"
        f"{len(rig.truths)} pages of {rig.truths[0].width} x {rig.truths[0].height} px with a mean "
        f"of {n_symbols:.0f} symbols of {len(rig.names)} classes, in {n_tiles:.0f} tiles of "
        f"{rig.networks['torch'].imgsz} px. Minimum of {rig.repeat} rounds, in which the tasks of "
        "a table take turns.\n"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@contextmanager
def loaded(network: Network) -> Iterator[None]:
    """Let predictions use a network that is in memory, so that loading is not measured."""
    with mock.patch.object(prediction, "open_network", return_value=network):
        yield


def command(rig: Rig, network: Network, overlay: Overlay) -> None:
    """Run the whole command with loaded weights."""
    options = dataclasses.replace(rig.options, overlay=overlay)
    with loaded(network):
        predict_pages(rig.files, rig.work / "out", options, batch=BATCH, force=True)


def throughput(rig: Rig) -> str:
    """Measure the pages per second of the command and of its network alone."""
    tiles = [
        pixels for page in rig.prepared() for _, pixels in tiles_of(page.pixels, page.grid, BATCH)
    ]
    thresh = page_reader.PIECE_SCORE

    def alone(network: Network) -> None:
        for pixels in tiles:
            network.find(pixels, score_thresh=thresh)

    tasks: dict[tuple[str, str], Callable[[], None]] = {}
    for name, network in rig.networks.items():
        tasks[name, "network alone"] = partial(alone, network)
        tasks[name, "predict, COCO"] = partial(command, rig, network, "none")
        tasks[name, "predict, COCO and HTML"] = partial(command, rig, network, "html")
    costs = alternate({" ".join(key): task for key, task in tasks.items()}, rig.repeat)
    rows = []
    for name, task in tasks:
        cost, peer = costs[f"{name} {task}"], costs[f"{name} network alone"]
        rows.append([name, task, *_throughput_row(cost, peer, len(rig.files))])
    header = ("network", "task", "pages/s", "s/page", "overhead", "CPU s/page", "CPU overhead")
    return (
        "## Pages per second\n\nWithout loading the weights. Goal: an overhead of at most 25%.\n\n"
        f"{table(header, rows)}"
    )


def _throughput_row(cost: Cost, alone: Cost, n_pages: int) -> list[str]:
    return [
        f"{n_pages / cost.wall_s:.2f}",
        f"{cost.wall_s / n_pages:.2f}",
        f"{cost.wall_s / alone.wall_s - 1:.0%}",
        f"{cost.cpu_s / n_pages:.2f}",
        f"{cost.cpu_s / alone.cpu_s - 1:.0%}",
    ]


def phases(rig: Rig) -> str:
    """Measure the CPU time of each phase, one page after the other."""
    networks = {
        name: [_phases(rig, network) for _ in range(rig.repeat)]
        for name, network in rig.networks.items()
    }
    rows = []
    for phase in PHASES:
        row = [phase]
        for rounds in networks.values():
            seconds = min(seconds[phase] for seconds in rounds) / len(rig.files)
            network = min(seconds["network"] for seconds in rounds) / len(rig.files)
            row += [f"{1000 * seconds:.0f}", f"{seconds / network:.1%}"]
        rows.append(row)
    header = [
        "phase",
        *(f"{name}: {text}" for name in networks for text in ("CPU ms/page", "share")),
    ]
    return (
        "## Phases\n\nWith COCO and HTML, one page after the other; shares are fractions of the "
        f"network's time.\n\n{table(header, rows)}"
    )


def _phases(rig: Rig, network: Network) -> dict[str, float]:
    """Run the command in one thread, and return the CPU seconds of each phase."""

    def one_by_one(items: Iterable[Any], read: Callable[[Any], Any], _n: int) -> Iterator[Any]:
        return ([read(item)] for item in items)

    functions = {
        "decode": (page_stream, "read_image"),
        "scale": (page_stream, "prepare"),
        "staff space": (page_reader, "measure_staff_space"),
        "tiles": (page_stream, "read_page"),
        "network": (network, "find"),
        "merge": (page_reader, "merge_by_score"),
    }
    watch = Phases(outermost="write")
    with mock.patch.object(page_stream, "read_ahead", one_by_one), watch.watching(functions):
        command(rig, network, "html")
    return watch.seconds


def parts(rig: Rig) -> str:
    """Measure merging and the staff space on inputs of fixed size."""
    pieces, grid = pieces_of(next(rig.prepared()), rig.truths[0], N_PIECES)
    page = a4_page(rig.files[0])
    tasks = {
        f"merging {len(pieces.labels):,} pieces": lambda: merge(pieces, grid),
        f"staff space of {page.shape[1]} x {page.shape[0]} px": lambda: measure_staff_space(page),
    }
    costs = alternate(tasks, 5 * rig.repeat)
    goals = ("100", "50")
    rows = [
        [name, f"{1000 * cost.wall_s:.0f}", f"{1000 * cost.cpu_s:.0f}", goal]
        for (name, cost), goal in zip(costs.items(), goals, strict=True)
    ]
    return f"## Parts\n\n{table(('task', 'ms', 'CPU ms', 'goal'), rows)}"


def pieces_of(page: PreparedPage, truth: Page, n: int) -> tuple[Pieces, TileGrid]:
    """Cut the true symbols of a page into pieces, with noise; repeated downwards until ``n``.

    Args:
        page: Scaled page.
        truth: Its true symbols.
        n: Number of pieces.
    """
    factors = np.tile(page.factors, 2)  # benchmark pages are upright
    once, size, n_rows = truth.boxes_xyxy * factors, (page.grid.width, page.grid.height), 1
    options = TileOptions(size=page.grid.size, overlap=round(OVERLAP * page.grid.size))
    while True:
        offsets = np.repeat(np.arange(n_rows) * size[1], len(once))[:, None] * [0, 1, 0, 1]
        scaled = dataclasses.replace(
            truth.only(np.tile(np.arange(len(once)), n_rows)),
            width=size[0],
            height=size[1] * n_rows,
            boxes_xyxy=np.tile(once, (n_rows, 1)) + offsets,
        )
        grid = TileGrid.of(np.ones((scaled.height, scaled.width), np.bool_), options)
        tiles = [tile.page for tile in cut(scaled, options)]
        counts = [len(tile.labels) for tile in tiles]
        if sum(counts) >= n or not sum(counts):
            break
        n_rows += 1
    rng = np.random.default_rng(0)
    in_tile = np.concatenate([tile.boxes_xyxy for tile in tiles])
    in_tile += np.tile(rng.normal(0, NOISE_PX, (len(in_tile), 2)), 2)
    numbers = np.repeat(np.arange(len(tiles)), counts)
    pieces = Pieces(
        boxes_xyxy=in_tile.clip(0, grid.size) + np.tile(grid.corners_xy[numbers], 2),
        labels=np.concatenate([tile.labels for tile in tiles]),
        scores=rng.uniform(0.1, 1, sum(counts)),
        tiles=numbers,
    )
    has_area = (pieces.boxes_xyxy[:, 2:] > pieces.boxes_xyxy[:, :2]).all(axis=1)
    return pieces.only(np.flatnonzero(has_area)[:n]), grid


def a4_page(file: Path) -> images.Pixels:
    """Read a page in grey, with the width of A4 at 300 dpi."""
    page = images.read(file)
    return images.scaled(page, A4_WIDTH, round(page.shape[0] * A4_WIDTH / page.shape[1]))


def one_page(rig: Rig) -> str:
    """Measure one page at 300 dpi, in a running process and as a command."""
    file = rig.work / "page.png"
    images.write(a4_page(rig.files[0]), file)

    def warm(network: Network) -> None:
        pixels = images.read(file)
        page = prepare(PurePosixPath(file.name), pixels, network.imgsz, rig.reading)
        read_page(page, network, rig.reading)

    tasks = {name: partial(warm, network) for name, network in rig.networks.items()}
    costs = alternate(tasks, rig.repeat)
    goals = {"torch": "1.5", "ONNX": "1"}
    rows = []
    for name, cost in costs.items():
        line = [sys.executable, "-m", "omr", "predict", str(file), str(rig.work / "cold")]
        line += ["--weights", str(rig.weights[name]), "--device", rig.device, "--force"]
        cold, peak = min(measure(line) for _ in range(rig.repeat))
        figures = (f"{cost.wall_s:.2f}", f"{cost.cpu_s:.2f}", goals[name], f"{cold:.1f}")
        rows.append([name, *figures, f"{peak:.0f}"])
    header = ("network", "s", "CPU s", "goal", "command: s", "command: peak MB")
    return (
        "## One page at 300 dpi\n\nFrom the file to the symbols, in a process that has loaded the "
        f"weights; and as a command, which starts and loads them.\n\n{table(header, rows)}"
    )


def compared(rig: Rig, peers: Path, conf: float) -> str:
    """Compare reading with SAHI on the same scaled pages."""
    from omr.exporting import export_model

    network, reading = rig.networks["torch"], dataclasses.replace(rig.reading, score_thresh=conf)
    exported = rig.work / "model.pt"
    export_model(rig.weights["torch"], exported, "ultralytics", force=True)
    sliced = SlicedNetwork(exported, network.imgsz, rig.device, peers, BATCH)
    pages = list(rig.prepared())
    sliced.find(pages[0], next(iter(POSTPROCESSING)), conf)  # sets torch's number of threads
    readings: dict[str, dict[int, Page]] = {name: {} for name in ("omr", *POSTPROCESSING)}

    def omr() -> None:
        for i, page in enumerate(pages):
            readings["omr"][i] = read_page(page, network, reading, batch=BATCH)

    def sahi(name: str) -> None:
        for i, page in enumerate(pages):
            readings[name][i] = as_page(sliced.find(page, name, conf), page)

    tasks: dict[str, Callable[[], None]] = {
        "omr": omr,
        **{name: partial(sahi, name) for name in POSTPROCESSING},
    }
    costs = alternate(tasks, rig.repeat)
    rows = [
        [name, *_compared_row(rig, costs[name], costs["omr"], list(readings[name].values()))]
        for name in tasks
    ]
    columns = ("AP50, instance weighted", "AP50, classes with 30 truths")
    header = ("", "s/page", "this / omr", "CPU s/page", "CPU / omr", "symbols/page", *columns)
    return (
        f"## Compared with SAHI, confidence {conf:g}\n\nTiles, network and merging, on the same "
        "scaled pages, with the same weights, size and overlap of tiles. GREEDYNMM is the default. "
        "All use as many threads as Ultralytics chooses, on a CPU one less than there are cores. "
        f"Only symbols above {conf:g} count for AP50.\n\n"
        f"{table(header, rows)}"
    )


def _compared_row(rig: Rig, cost: Cost, omr: Cost, predictions: Sequence[Page]) -> list[str]:
    n = len(predictions)
    report = evaluate(rig.truths, predictions, rig.names)
    means = (report.instance_weighted.ap50, report.frequent_macro.ap50)
    return [
        f"{cost.wall_s / n:.2f}",
        f"{cost.wall_s / omr.wall_s:.2f}",
        f"{cost.cpu_s / n:.2f}",
        f"{cost.cpu_s / omr.cpu_s:.2f}",
        f"{report.n_predictions / n:.0f}",
        *("-" if mean is None else f"{mean:.3f}" for mean in means),
    ]


if __name__ == "__main__":
    main()
