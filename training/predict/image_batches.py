"""Image files as batches for a network.

Shapes: B images of a batch, H and W the height and width of the network's input in pixels.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.images import read_bgr, resize_longer_side
from reading.tiling import PADDING


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ResizedImage:
    """An image in the size in which the network receives it."""

    name: PurePosixPath
    width: int
    """Width of the image file in pixels."""
    height: int
    """Height of the image file in pixels."""
    pixels: NDArray[np.uint8]
    """Pixels in BGR order, shape ``(height, width, 3)`` of the resized image."""

    @property
    def factors(self) -> tuple[float, float]:
        """Factors by which width and height were resized."""
        height, width = self.pixels.shape[:2]
        return width / self.width, height / self.height


def read_resized(path: Path, name: PurePosixPath, imgsz: int) -> ResizedImage:
    """Read an image and resize its longer side.

    Args:
        path: Image file.
        name: Name of the page.
        imgsz: Longer side of the result in pixels.

    Raises:
        InputError: The image is missing, damaged or truncated.
    """
    image = read_bgr(path)
    height, width = image.shape[:2]
    pixels = resize_longer_side(image, imgsz)
    return ResizedImage(name=name, width=width, height=height, pixels=pixels)


def padded_size(image: ResizedImage, stride: int) -> tuple[int, int]:
    """Return height and width of an image, rounded up to multiples of a stride."""
    height, width = (-(-side // stride) * stride for side in image.pixels.shape[:2])
    return height, width


def equal_sizes(images: Sequence[ResizedImage], stride: int) -> list[list[int]]:
    """Group images that are padded to the same size, so that no image depends on another one.

    Padding affects predictions, so an image must not be padded to the size of a larger one in its
    batch. A square for all images would be independent of the batch too, but a page of A4 would
    take 1.4 times as long, and Ultralytics validates on rectangles: with batches of one image it
    pads each image to the same size as here, apart from a border of half a stride.

    Args:
        images: Images to group.
        stride: Divisor of height and width of the network's input.

    Returns:
        Indices of the images of each group.
    """
    groups = defaultdict[tuple[int, int], list[int]](list)
    for i, image in enumerate(images):
        groups[padded_size(image, stride)].append(i)
    return [*groups.values()]


def squares(images: Sequence[ResizedImage], side: int) -> NDArray[np.uint8]:
    """Put images into squares, each at the top left, padded with grey.

    Args:
        images: Images whose longer side has ``side`` pixels.
        side: Side S of the result in pixels.

    Returns:
        Pixels in BGR order, shape ``(B, S, S, 3)``.
    """
    result = np.full((len(images), side, side, 3), PADDING, np.uint8)
    for square, image in zip(result, images, strict=True):
        height, width = image.pixels.shape[:2]
        square[:height, :width] = image.pixels
    return result


def collate(images: Sequence[ResizedImage], stride: int, *, pinned: bool = False) -> Tensor:
    """Put images into one tensor, each at the top left, padded with grey.

    Args:
        images: One image or more, all of one padded size, see :func:`equal_sizes`.
        stride: Divisor of height and width of the result.
        pinned: Whether the result is in pinned memory, from which CUDA copies without waiting.

    Returns:
        Pixels in BGR order, uint8, shape ``(B, H, W, 3)``.
    """
    height, width = padded_size(images[0], stride)
    batch = torch.empty((len(images), height, width, 3), dtype=torch.uint8, pin_memory=pinned)
    for padded, image in zip(batch.numpy(), images, strict=True):
        own_height, own_width = image.pixels.shape[:2]
        padded[:own_height, :own_width] = image.pixels
        padded[:own_height, own_width:] = PADDING
        padded[own_height:] = PADDING
    return batch


def network_input(
    batch: Tensor, device: torch.device, memory_format: torch.memory_format
) -> Tensor:
    """Copy a batch to a device as bytes, a quarter of its size in fp32, and convert it there.

    Args:
        batch: Batch returned by :func:`collate`.
        device: Device of the network.
        memory_format: Memory format of the result.

    Returns:
        Values in RGB order, 0 to 1, shape ``(B, 3, H, W)``.
    """
    moved = batch.to(device, non_blocking=True).permute(0, 3, 1, 2).flip(1)
    return moved.contiguous(memory_format=memory_format).float().div_(255)
