"""Finds symbols in images with a trained model.

Shapes: B images a batch, A anchor points, C classes, N symbols found in an image.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad
from torchvision.ops import batched_nms

from class_maps import ConfigError, InputError
from converters.page import Page
from training.checkpoints import load_weights
from training.devices import check_device

NMS_IOU_THRESH = 0.7
"""Of two boxes of a class that overlap more, the one of lower score goes; as in the validation."""
PADDING = 114 / 255
"""Grey beyond an image's border, as in training."""


def class_names(weights: Path, *, trust: bool = False) -> tuple[str, ...]:
    """Read the names of a model's classes; the position is the label.

    Args:
        weights: A run's ``weights/best.pt``.
        trust: Let a pickle that cannot be read otherwise run its code.

    Raises:
        InputError: The file is missing, or no checkpoint of a detection model.
    """
    model = load_weights(weights, trust=trust)
    return tuple(model.names[label] for label in range(len(model.names)))


def predict(
    weights: Path,
    images: Iterable[tuple[Path, PurePosixPath]],
    *,
    imgsz: int,
    batch: int = 16,
    device: str = "",
    score_thresh: float = 0.001,
    max_det: int = 1000,
    trust: bool = False,
) -> Iterator[Page]:
    """Find the symbols of images; no more than one batch is held at a time.

    Args:
        weights: A run's ``weights/best.pt``.
        images: Files, each with the name that its page shall have.
        imgsz: The longer side of an image is resized to this, in pixels.
        batch: Images at a time.
        device: ``cpu``, ``0`` ...; empty for the first CUDA device, or the CPU.
        score_thresh: Symbols of a lower score are left out, 0 to 1.
        max_det: Most symbols of an image; those of the highest scores.
        trust: Let a pickle that cannot be read otherwise run its code.

    Yields:
        A page for each image, in the same order, with ``scores``, highest first. Boxes are in
        pixels of the image file, clipped to it.

    Raises:
        ConfigError: The device is not there, or a number is not above 0.
        InputError: The weights or an image cannot be read.
    """
    wrong = [
        f"{name} ({number})"
        for name, number in {"imgsz": imgsz, "batch": batch, "max_det": max_det}.items()
        if number <= 0
    ]
    if wrong:
        raise ConfigError(f"must be above 0: {', '.join(wrong)}")
    place = check_device(device)
    model = load_weights(weights, trust=trust)
    # Of a head with two branches, the one that is made for non-maximum suppression.
    model.end2end = False
    model.to(place)
    stride = int(model.stride.max())
    pages = iter(images)
    while chunk := list(itertools.islice(pages, batch)):
        arrays = [_read(path) for path, _ in chunk]
        network_input, factors = _collate(arrays, imgsz, stride)
        with torch.inference_mode():
            output = model(network_input.to(place))[0].cpu()  # (B, 4 + C, A)
        for (_, name), array, factor, found in zip(chunk, arrays, factors, output, strict=True):
            yield _page(name, array.shape[:2], _suppress(found, score_thresh, max_det), factor)


def _read(path: Path) -> NDArray[np.uint8]:
    """Read an image as blue, green, red, shape ``(H, W, 3)``."""
    # From bytes, as the trainer does: from a file OpenCV cannot read a TIFF that is to be turned.
    data = np.fromfile(path, np.uint8) if path.is_file() else np.empty(0, np.uint8)
    array = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if array is None:
        raise InputError("no such image, or not one that OpenCV can read", path=path)
    return np.asarray(array, dtype=np.uint8)


def _collate(
    arrays: Sequence[NDArray[np.uint8]], imgsz: int, stride: int
) -> tuple[Tensor, list[tuple[float, float]]]:
    """Resize images and put them into one tensor, each at the top left.

    Returns:
        Red, green, blue, 0 to 1, shape ``(B, 3, H, W)``, and for each image the factors by which
        its width and its height were resized.
    """
    resized, factors = [], []
    for array in arrays:
        height, width = array.shape[:2]
        factor = imgsz / max(height, width)
        # Rounded up, as Ultralytics does in training.
        size = [min(int(np.ceil(side * factor)), imgsz) for side in (width, height)]
        small = array if factor == 1 else cv2.resize(array, size, interpolation=cv2.INTER_LINEAR)
        factors.append((size[0] / width, size[1] / height))
        tensor = torch.from_numpy(np.ascontiguousarray(small[..., ::-1].transpose(2, 0, 1)))
        resized.append(tensor.float() / 255)
    sides = torch.tensor([tensor.shape[1:] for tensor in resized]).amax(dim=0)
    height, width = ((sides + stride - 1) // stride * stride).tolist()
    padded = [
        pad(tensor, (0, width - tensor.shape[2], 0, height - tensor.shape[1]), value=PADDING)
        for tensor in resized
    ]
    return torch.stack(padded), factors


def _suppress(output: Tensor, score_thresh: float, max_det: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keep of each class the boxes that no better box of the class covers.

    Args:
        output: Centre, width and height in pixels and C scores of every anchor, shape
            ``(4 + C, A)``.
        score_thresh: Lower scores are left out.
        max_det: Most boxes to keep.

    Returns:
        Boxes ``(N, 4)`` in pixels, labels ``(N,)`` and scores ``(N,)``, highest score first.
    """
    output = output.float()
    centre, size, scores = output[:2].T, output[2:4].T, output[4:].T  # (A, 2), (A, 2), (A, C)
    size = size.abs()  # where distances may be below 0, the sides of a thin box can be swapped
    boxes_xyxy = torch.cat([centre - size / 2, centre + size / 2], dim=1)
    anchor, labels = (scores > score_thresh).nonzero(as_tuple=True)
    boxes_xyxy, best = boxes_xyxy[anchor], scores[anchor, labels]
    kept = batched_nms(boxes_xyxy, best, labels, NMS_IOU_THRESH)[:max_det]
    return boxes_xyxy[kept], labels[kept], best[kept]


def _page(
    name: PurePosixPath,
    size: tuple[Any, ...],
    found: tuple[Tensor, Tensor, Tensor],
    factor: tuple[float, float],
) -> Page:
    height, width = size
    boxes_xyxy = found[0].double().numpy() / np.array([*factor, *factor])
    return Page(
        image=name,
        width=width,
        height=height,
        boxes_xyxy=boxes_xyxy.clip(0, [width, height, width, height]),
        labels=found[1].numpy(),
        scores=found[2].double().numpy(),
    )
