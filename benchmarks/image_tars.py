"""Reading of training images out of tar files, against files, with a cold cache.

    python -m benchmarks.image_tars

Both contain the same tiles. In each round, the kernel first forgets the bytes of all images; the
entries of folders and the positions of files stay known, which are too many with millions of files.
Then one process reads the images of an epoch in the order of a training.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from converters import image_tars, images
from converters.image_tars import ReadAhead, chunk_numbers, open_image
from settings.training import SHUFFLE_BUFFER
from training.data.weighted_sampler import Shuffle

SIDE, INK = 640, 0.04
"""Side of a tile in pixels, and fraction of its pixels that are ink."""
DISTINCT = 40
"""Number of different tiles, of which the others are copies."""
TILES_PER_PAGE = 30
BUFFER = SHUFFLE_BUFFER
"""Images that are shuffled together, as by default."""
TURN = 100
"""Images of a source that are read before the other one takes its turn."""
DECODED = 300
"""Images that are decoded, for comparison."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Images to read, and their order in an epoch."""

    name: str
    paths: Sequence[Path]


def draw_tiles(seed: int = 0) -> list[bytes]:
    """Return tiles of short strokes on white as PNG files, of about 25 KB like tiles of music."""
    rng = np.random.default_rng(seed)
    tiles = []
    for _ in range(DISTINCT):
        tile = np.full((SIDE, SIDE), 255, np.uint8)
        for y, x in rng.integers(0, SIDE - 8, (int(SIDE * SIDE * INK / 16), 2)):
            tile[y : y + 2, x : x + 8] = rng.integers(0, 120, (2, 8))
        tiles.append(images.png(tile))
    return tiles


def write_images(work: Path, n: int) -> tuple[Path, Path]:
    """Write the same images into files and into tar files; return both folders."""
    tiles = draw_tiles()
    loose, sharded = work / "files", work / "tar files"
    loose.mkdir()
    sharded.mkdir()
    tars = []
    for page in range(n // TILES_PER_PAGE):
        numbers = range(page * TILES_PER_PAGE, (page + 1) * TILES_PER_PAGE)
        contents = [(PurePosixPath(f"{i:07d}.png"), tiles[i % DISTINCT]) for i in numbers]
        for name, content in contents:
            (loose / name).write_bytes(content)
        tars.append(sharded / f"{page}.page")
        image_tars.write_tar(tars[-1], contents)
    image_tars.write_index(sharded, [image_tars.join_tars(tars, sharded, 0)])
    os.sync()  # only bytes that are on the disk can be forgotten
    return loose, sharded


def sources(loose: Path, sharded: Path) -> list[Source]:
    """Return the draws of an epoch of files and of tar files, as a training makes them."""
    names = sorted(path.name for path in loose.iterdir())
    chunks = chunk_numbers([str(sharded / name) for name in names], sharded)
    shuffles = {loose: Shuffle(), sharded: Shuffle(chunks=chunks, buffer=BUFFER)}
    draws = {
        folder: shuffle(np.arange(len(names)), np.random.default_rng(0)).tolist()
        for folder, shuffle in shuffles.items()
    }
    return [
        Source(name=folder.name, paths=[folder / names[i] for i in images_of])
        for folder, images_of in draws.items()
    ]


def forget(folder: Path) -> None:
    """Let the kernel forget the bytes of all files in a folder."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_epoch(compared: Sequence[Source]) -> list[tuple[float, float]]:
    """Read all images, with a cold cache, and by turns, because the load of a machine changes.

    Returns:
        Seconds, and seconds of CPU time, of each source.
    """
    totals = [[0.0, 0.0] for _ in compared]
    read_aheads = [ReadAhead() for _ in compared]
    for source in compared:
        forget(source.paths[0].parent)
    for start in range(0, len(compared[0].paths), TURN):
        for source, total, read_ahead in zip(compared, totals, read_aheads, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            for path in source.paths[start : start + TURN]:
                read_ahead(path)
                with open_image(path) as file:
                    file.read()
            total[0] += time.perf_counter() - wall
            total[1] += time.process_time() - cpu
    return [(wall, cpu) for wall, cpu in totals]


def decoding_rate(source: Source) -> float:
    """Return how many images are read and decoded per second once they are in the cache."""
    paths = source.paths[:DECODED]
    for path in paths:
        images.file_bytes(path)
    started = time.perf_counter()
    for path in paths:
        images.read_bgr(path)
    return len(paths) / (time.perf_counter() - started)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="Folder on the disk to measure.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        loose, sharded = write_images(Path(folder), options.images)
        compared = sources(loose, sharded)
        rounds = [read_epoch(compared) for _ in range(options.rounds)]
        decoded = [decoding_rate(source) for source in compared]
    n = len(compared[0].paths)
    print("| images | read/s, cold | against files | CPU us per image | decoded/s, warm |")
    print("|---|---|---|---|---|")
    for source, costs, warm in zip(compared, zip(*rounds, strict=True), decoded, strict=True):
        walls, cpus = zip(*costs, strict=True)
        ratios = [of_round[0][0] / wall for wall, of_round in zip(walls, rounds, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rate, cpu_us = n / statistics.median(walls), statistics.median(cpus) / n * 1e6
        print(f"| {source.name} | {rate:,.0f} | {spread} | {cpu_us:.0f} | {warm:,.0f} |")


if __name__ == "__main__":
    main()
