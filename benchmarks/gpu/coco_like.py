"""Images with the density of COCO: 7 objects of 80 classes on average, on a textured background.

They replace photographs where COCO is not available: throughput depends on the size of the JPEG
files and on the number of boxes, not on the content.
"""

from pathlib import Path

import cv2
import numpy as np

from converters.images import Pixels

WIDTH, HEIGHT = 640, 480
"""Most common image size in COCO, in pixels."""
N_CLASSES = 80
MEAN_OBJECTS = 7.3
"""Objects per image in COCO: 860,001 in 118,287 images of train2017."""
MIN_SIDE, MAX_SIDE = 12, 400
"""Sides of an object in pixels."""


def draw_image(folder: Path, split: str, number: int) -> None:
    """Draw one image and write it with its YOLO labels.

    Args:
        folder: YOLO folder with ``images/<split>`` and ``labels/<split>``.
        split: Split that the image belongs to.
        number: Seed and name of the image.
    """
    rng = np.random.default_rng(number)
    image = background(rng)
    rows = []
    for _ in range(max(1, rng.poisson(MEAN_OBJECTS))):
        label = int(rng.integers(N_CLASSES))
        x, y, width, height = draw_object(image, rng, label)
        centre_x, centre_y = (x + width / 2) / WIDTH, (y + height / 2) / HEIGHT
        shares = centre_x, centre_y, width / WIDTH, height / HEIGHT
        rows.append(f"{label} " + " ".join(f"{share:.6f}" for share in shares))
    name = f"{number:012}"
    cv2.imwrite(str(folder / "images" / split / f"{name}.jpg"), image)
    (folder / "labels" / split / f"{name}.txt").write_text("\n".join(rows) + "\n", "ascii")


def background(rng: np.random.Generator) -> Pixels:
    """Draw smooth colours with noise, which compress about as well as a photograph."""
    coarse = rng.integers(40, 216, (6, 8, 3)).astype(np.float32)
    fine = rng.normal(0, 12, (HEIGHT // 2, WIDTH // 2, 3)).astype(np.float32)
    size = WIDTH, HEIGHT
    colours = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))
    noise = np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_LINEAR))
    image: Pixels = np.clip(colours + noise, 0, 255).astype(np.uint8)
    return image


def draw_object(image: Pixels, rng: np.random.Generator, label: int) -> tuple[int, int, int, int]:
    """Draw an ellipse, a rectangle or a triangle, depending on the class.

    Args:
        image: Image to draw on, shape ``(HEIGHT, WIDTH, 3)``.
        rng: Source of size, place and colour.
        label: Class of the object.

    Returns:
        Box as x, y, width and height in pixels.
    """
    width, height = np.exp(rng.uniform(np.log(MIN_SIDE), np.log(MAX_SIDE), 2)).astype(int).tolist()
    x = int(rng.integers(WIDTH - width + 1))
    y = int(rng.integers(HEIGHT - height + 1))
    colour = tuple(rng.integers(0, 256, 3).tolist())
    right, bottom = x + width - 1, y + height - 1
    if label % 3 == 0:
        centre, axes = (x + width // 2, y + height // 2), (width // 2, height // 2)
        cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1)
    elif label % 3 == 1:
        cv2.rectangle(image, (x, y), (right, bottom), colour, -1)
    else:
        corners = np.array([(x + width // 2, y), (right, bottom), (x, bottom)], np.int32)
        cv2.fillPoly(image, [corners], colour)
    return x, y, width, height
