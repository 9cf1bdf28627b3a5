"""Copies of pages that ``omr split --check`` finds, and different pages that it takes for copies.

    python -m benchmarks.image_copies PAGES

PAGES is a folder of different pages, such as ``omr engrave`` writes. Of some of them, every kind of
copy is made and compared with its page; all pages are compared with each other.
"""

import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from converters import images
from converters.splitting.perceptual_hash import are_copies, perceptual_hashes, similar_pairs

N_COPIED, N_COMPARED = 40, 200
Grey = NDArray[np.uint8]
WHITE = 255


def shifted(x: int, y: int) -> Callable[[Grey], Grey]:
    """Return a function that moves an image on its canvas."""
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float64)
    return lambda page: _warped(page, matrix)


def rotated(degrees: float) -> Callable[[Grey], Grey]:
    """Return a function that rotates an image around its centre."""

    def rotate(page: Grey) -> Grey:
        height, width = page.shape
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
        return _warped(page, np.asarray(matrix, np.float64))

    return rotate


def scaled(factor: float) -> Callable[[Grey], Grey]:
    """Return a function that scales an image."""
    return lambda page: _grey(
        cv2.resize(page, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    )


def cropped(*shares: float) -> Callable[[Grey], Grey]:
    """Return a function that crops the left, top, right and bottom margins, or adds to them."""

    def crop(page: Grey) -> Grey:
        height, width = page.shape
        sides = [
            round(share * side) for share, side in zip(shares, (width, height) * 2, strict=True)
        ]
        left, top, right, bottom = (max(0, side) for side in sides)
        part = page[top : height - bottom, left : width - right]
        left, top, right, bottom = (max(0, -side) for side in sides)
        return np.pad(part, ((top, bottom), (left, right)), constant_values=WHITE)

    return crop


def encoded(quality: int) -> Callable[[Grey], Grey]:
    """Return a function that encodes an image as JPEG."""

    def encode(page: Grey) -> Grey:
        data = cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return _grey(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))

    return encode


def levels(factor: float, offset: float) -> Callable[[Grey], Grey]:
    """Return a function that changes brightness and contrast."""
    return lambda page: _grey(np.clip(page * factor + offset, 0, WHITE))


def noisy(page: Grey) -> Grey:
    """Add noise with a standard deviation of 12 grey levels."""
    noise = np.random.default_rng(0).normal(0, 12, page.shape)
    return _grey(np.clip(page + noise, 0, WHITE))


def binarised(page: Grey) -> Grey:
    """Make all pixels black or white."""
    return _grey(np.where(page > 160, WHITE, 0))


COPIES: dict[str, Callable[[Grey], Grey]] = {
    "JPEG, quality 30": encoded(30),
    "JPEG, quality 10": encoded(10),
    "scaled by 0.5": scaled(0.5),
    "scaled by 0.73": scaled(0.73),
    "scaled by 0.25": scaled(0.25),
    "binarised": binarised,
    "noise": noisy,
    "darker": levels(0.7, 0),
    "brighter, less contrast": levels(0.5, 120),
    "rotated by 0.3 degrees": rotated(0.3),
    "rotated by 1 degree": rotated(1),
    "shifted by 9 px": shifted(9, 9),
    "shifted by 40 px": shifted(40, -25),
    "margins cropped by 2 %": cropped(0.02, 0.02, 0.02, 0.02),
    "left margin cropped by 4 %": cropped(0.04, 0, 0, 0),
    "margins widened by 10 %": cropped(-0.1, -0.1, -0.1, -0.1),
    "bottom margin widened by 20 %": cropped(0, 0, 0, -0.2),
    "shifted by 9 px, scaled by 0.5, JPEG": lambda page: encoded(50)(
        scaled(0.5)(shifted(9, 9)(page))
    ),
}


def _warped(page: Grey, matrix: NDArray[np.float64]) -> Grey:
    size = page.shape[::-1]
    return _grey(cv2.warpAffine(page, matrix, size, borderValue=WHITE))


def _grey(pixels: object) -> Grey:
    return np.asarray(pixels, np.uint8)


def is_found(first: Path, second: Path) -> bool:
    """Check whether two images count as copies."""
    one, two = perceptual_hashes([first]), perceptual_hashes([second])
    return bool([*similar_pairs(one, two)]) and are_copies(first, second)


def main(folder: Path) -> None:
    """Print the shares of copies that are found, and the pairs of different pages."""
    paths = sorted(folder.rglob("*.png"))[:N_COMPARED]
    copied = paths[:: max(1, len(paths) // N_COPIED)][:N_COPIED]
    print(f"| copy | found of {len(copied)} |\n|---|---|")
    with TemporaryDirectory() as temporary:
        file = Path(temporary) / "copy.png"
        for name, change in COPIES.items():
            n_found = 0
            for path in copied:
                page = images.read(path)
                copy = file.with_stem(f"{name.replace(' ', '-')}-{path.stem}")
                images.write(change(page if page.ndim == 2 else _grey(page.mean(axis=2))), copy)
                n_found += is_found(path, copy)
                copy.unlink()
            print(f"| {name} | {n_found} |", flush=True)
    hashes = perceptual_hashes(paths)
    pairs = [(i, j) for i, j in similar_pairs(hashes, hashes) if i < j]
    n_false = sum(are_copies(paths[i], paths[j]) for i, j in pairs)
    n_pairs = len([*combinations(paths, 2)])
    print(f"\n{n_pairs} pairs of different pages, {len(pairs)} of them with similar hashes")
    print(f"{n_false} pairs of different pages taken for copies")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
