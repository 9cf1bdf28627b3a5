"""Pages per second of ``omr predict`` on a GPU, and its symbols compared with those of a CPU.

    python -m benchmarks.gpu.prediction --work WORK --out FILE.json [--small] [--device cpu]

Reads the sheets of ``benchmarks.gpu.data`` with ``harmony-tiny``. Loading the weights is not timed.
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.gpu.results import Results, data_step_parser, wait_for_data
from benchmarks.predict import loaded
from benchmarks.timing import alternate
from converters.stored_pages import StoredPages
from eval.metrics.f1 import match
from omr.prediction import PredictOptions, open_network, predict_pages, reading_options
from omr.prediction_files import Overlay
from omr.scoring.evaluation_set import EvaluationSet, read_evaluation_set
from omr.scoring.page_reading import read_pages
from reading.network import Network
from reading.options import PAGES_AHEAD
from reading.page_reader import PIECE_SCORE, prepare
from reading.tiling import tiles_of
from settings.published import weights_path

WEIGHTS = "harmony-tiny"
SETTINGS = (16, PAGES_AHEAD), (64, PAGES_AHEAD), (64, 8)
"""Tiles per batch, and pages decoded at the same time; the first are those of ``omr predict``."""
SMALL_SETTINGS = SETTINGS[:1]
ROUNDS, SMALL_ROUNDS = 3, 1
COMPARED, SMALL_COMPARED = 4, 1
"""Number of pages that a CPU reads as well."""
AGREEMENT_GOAL = 0.999
ROUND_S = 4.0
"""Remaining seconds below which no setting is measured."""


def main() -> None:
    """Measure the speed, and compare the symbols."""
    options = data_step_parser(__doc__.splitlines()[0], "one round", 25.0).parse_args()
    end, sheets = time.monotonic() + options.limit, options.work / "sheets"
    wait_for_data(options.work, ("sheets",), options.limit - ROUND_S)
    results, weights = Results(options.out), weights_path(WEIGHTS)
    network = open_network(weights, device="0" if options.device == "cuda" else options.device)
    data = read_evaluation_set(sheets, "train", "page")
    n_pages = SMALL_COMPARED if options.small else COMPARED
    compare(data, n_pages, network, weights, results)
    settings = SMALL_SETTINGS if options.small else SETTINGS
    rounds = SMALL_ROUNDS if options.small else ROUNDS
    measure(data, network, PredictOptions(weights=weights), settings, rounds, results, end)


def compare(
    data: EvaluationSet, n_pages: int, network: Network, weights: Path, results: Results
) -> None:
    """Compare the symbols of some pages with those that a CPU finds, and with the ground truth."""
    some = dataclasses.replace(data, truths=StoredPages(data.truths[:n_pages]))
    options, n_classes = PredictOptions(weights=weights), len(network.names)
    networks = {"this device": network, "CPU": open_network(weights, device="cpu")}
    found = {
        name: list(read_pages(some, one, reading_options(one, options)))
        for name, one in networks.items()
    }
    columns = "read by", "symbols", "F1 with the ground truth"
    results.table(f"Symbols of {len(some.truths)} pages", columns)
    for name, pages in found.items():
        f1 = match(some.truths, pages, n_classes).score(0.0).f1
        results.row(name, sum(len(page.labels) for page in pages), round(f1, 4))
    same = match(found["CPU"], found["this device"], n_classes).score(0.0).f1
    goal = f"symbols of this device compared with a CPU's: F1 at least {AGREEMENT_GOAL:g}"
    results.goal(goal, f"{same:.4f}", same >= AGREEMENT_GOAL)


def measure(
    data: EvaluationSet,
    network: Network,
    options: PredictOptions,
    settings: Sequence[tuple[int, int]],
    rounds: int,
    results: Results,
    end: float,
) -> None:
    """Measure the pages per second of the network alone and of the command.

    Args:
        data: Pages with their files.
        network: Loaded network.
        options: Options of the command.
        settings: Tiles per batch, and pages decoded at the same time.
        rounds: Number of rounds, of which the fastest counts.
        results: Tables of the step.
        end: Time of ``time.monotonic`` at which everything must have ended.
    """
    reading, files = reading_options(network, options), [data.folder / p for p in data.image_files]
    pages = [
        prepare(truth.image, data.pixels(truth.image), network.imgsz, reading)
        for truth in data.truths
    ]
    n_tiles = sum(len(page.grid) for page in pages) / len(pages)
    title = (
        f"Pages per second: {len(pages)} pages of {pages[0].width} x {pages[0].height} px in "
        f"{n_tiles:.0f} tiles of {network.imgsz} px"
    )
    columns = "batch", "decoded ahead", "network alone", "predict, COCO", "predict, COCO and HTML"
    results.table(title, columns)

    def alone(batch: int) -> None:
        for page in pages:
            for _, pixels in tiles_of(page.pixels, page.grid, batch):
                network.find(pixels, score_thresh=PIECE_SCORE)

    def command(overlay: Overlay, batch: int, threads: int) -> None:
        chosen = dataclasses.replace(options, overlay=overlay)
        with loaded(network), tempfile.TemporaryDirectory() as folder:
            predict_pages(files, Path(folder) / "out", chosen, batch=batch, threads=threads)

    for batch, threads in settings:
        if time.monotonic() + ROUND_S > end:
            results.note(f"Not measured for want of time: batch {batch}, {threads} pages ahead.")
            continue
        tasks: dict[str, Callable[[], None]] = {
            "alone": partial(alone, batch),
            "COCO": partial(command, "none", batch, threads),
            "HTML": partial(command, "html", batch, threads),
        }
        tasks["alone"]()  # the first call with a batch size chooses algorithms
        costs = alternate(tasks, rounds)
        speeds = [round(len(pages) / cost.wall_s, 2) for cost in costs.values()]
        results.row(batch, threads, *speeds)


if __name__ == "__main__":
    main()
