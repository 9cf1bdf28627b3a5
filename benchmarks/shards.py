"""Reading of training images out of shards, against files, with a cold cache.

    python -m benchmarks.shards

Both contain the same tiles. In each round, the kernel first forgets the bytes of all images; the
entries of folders and the positions of files stay known, which are too many with millions of files.
Then the first draws of an epoch are read by one process, and in another pass also decoded.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from converters import images, shards
from converters.shards import ReadAhead, chunk_numbers, open_image
from training.data.weighted_sampler import Shuffle

SIDE, INK = 640, 0.04
"""Side of a tile in pixels, and fraction of its pixels that are ink."""
DISTINCT = 40
"""Number of different tiles, of which the others are copies."""
TILES_PER_PAGE = 30
BUFFER = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Images to read, and their order in an epoch."""

    name: str
    paths: Sequence[Path]
    reads_ahead: bool = False


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
    """Write the same images into files and into shards; return both folders."""
    tiles = draw_tiles()
    loose, sharded = work / "loose", work / "sharded"
    loose.mkdir()
    sharded.mkdir()
    tars = []
    for page in range(n // TILES_PER_PAGE):
        numbers = range(page * TILES_PER_PAGE, (page + 1) * TILES_PER_PAGE)
        contents = [(PurePosixPath(f"{i:07d}.png"), tiles[i % DISTINCT]) for i in numbers]
        for name, content in contents:
            (loose / name).write_bytes(content)
        tars.append(sharded / f"{page}.page")
        shards.write_tar(tars[-1], contents)
    shards.write_index(sharded, [shards.join_tars(tars, sharded, 0)])
    os.sync()  # only bytes that are on the disk can be forgotten
    return loose, sharded


def sources(loose: Path, sharded: Path, draws: int) -> list[Source]:
    """Return the first draws of an epoch of files and of shards, in both orders."""
    names = sorted(path.name for path in loose.iterdir())
    chunks = chunk_numbers([str(sharded / name) for name in names], sharded)
    complete, buffered = (
        shuffle(np.arange(len(names)), np.random.default_rng(0))[:draws].tolist()
        for shuffle in (Shuffle(), Shuffle(chunks=chunks, buffer=BUFFER))
    )
    return [
        Source(name="files", paths=[loose / names[i] for i in complete]),
        Source(name="shards, complete shuffle", paths=[sharded / names[i] for i in complete]),
        Source(
            name="shards, shuffled in a buffer",
            paths=[sharded / names[i] for i in buffered],
            reads_ahead=True,
        ),
    ]


def forget(folder: Path) -> None:
    """Let the kernel forget the bytes of all files in a folder."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rate(source: Source, read: Callable[[Path], object]) -> float:
    """Return how many images of a source are read per second."""
    forget(source.paths[0].parent)
    read_ahead = ReadAhead()
    started = time.perf_counter()
    for path in source.paths:
        if source.reads_ahead:
            read_ahead(path)
        read(path)
    return len(source.paths) / (time.perf_counter() - started)


def read_bytes(path: Path) -> bytes:
    """Read an image without decoding it."""
    with open_image(path) as file:
        return file.read()


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--draws", type=int, default=12_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="Folder on the disk to measure.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        loose, sharded = write_images(Path(folder), options.images)
        compared = sources(loose, sharded, options.draws)
        print("| images | read/s | against files | read and decoded/s | against files |")
        print("|---|---|---|---|---|")
        columns = []
        for read in (read_bytes, images.read_bgr):
            rounds = [[rate(source, read) for source in compared] for _ in range(options.rounds)]
            columns.append(list(zip(*rounds, strict=True)))
        for i, source in enumerate(compared):
            cells = []
            for rates in columns:
                ratios = [one / files for one, files in zip(rates[i], rates[0], strict=True)]
                cells += [f"{statistics.median(rates[i]):,.0f}"]
                cells += [f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"]
            print(f"| {source.name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
