"""Prediction of the symbols on images with a trained model.

Image files are read in threads while the device computes, and are copied to it as bytes. Only the
final detections are copied back.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError
from converters.page import Page
from reading.read_ahead import read_ahead
from training.models.checkpoints import load_weights
from training.predict.detections import Detections, detections
from training.predict.image_batches import (
    ResizedImage,
    collate,
    equal_sizes,
    network_input,
    read_resized,
)
from training.runtime.devices import check_device, exact_fp32, memory_format_of


def predict(
    weights: Path | DetectionModel,
    images: Iterable[tuple[Path, PurePosixPath]],
    *,
    imgsz: int,
    batch: int = 16,
    device: str = "",
    score_thresh: float = 0.001,
    max_det: int = 1000,
    trust: bool = False,
    memory_format: torch.memory_format | None = None,
) -> Iterator[Page]:
    """Find the symbols of images, in exact fp32.

    The symbols of an image do not depend on the other images: a batch contains images of one size.
    At most ``batch`` images are held on the device, and as many are read ahead.

    Args:
        weights: A run's ``weights/best.pt``, or the model from it, which is moved to the device.
        images: Image files, each with the name of its page.
        imgsz: Longer side to which an image is resized, in pixels.
        batch: Maximum number of images per batch.
        device: ``cpu``, ``0`` ...; empty for the first CUDA device, or the CPU.
        score_thresh: Lower limit of scores (exclusive), 0 to 1.
        max_det: Maximum number of symbols per image; those with the highest scores are kept.
        trust: Whether loading the weights may execute their code.
        memory_format: Memory format of weights and images; None for the device's default.

    Yields:
        A page for each image, in the same order, with ``scores``, highest first. Boxes are in
        pixels of the image file, clipped to it.

    Raises:
        ConfigError: The device does not exist, or a number is not above 0.
        InputError: The weights or an image cannot be read.
    """
    _check_above_zero(imgsz=imgsz, batch=batch, max_det=max_det)
    target = torch.device(check_device(device))
    order = memory_format or memory_format_of(target, training=False)
    model = load_weights(weights, trust=trust) if isinstance(weights, Path) else weights
    move_for_prediction(model, target, order)
    stride = int(model.stride.max())

    def read(image: tuple[Path, PurePosixPath]) -> ResizedImage:
        return read_resized(*image, imgsz)

    for resized in read_ahead(images, read, batch):
        detected: dict[int, Detections] = {}
        for indices in equal_sizes(resized, stride):
            pixels = collate([resized[i] for i in indices], stride, pinned=target.type == "cuda")
            inputs = network_input(pixels, target, order)
            of_batch = detect(model, inputs, score_thresh=score_thresh, max_det=max_det)
            detected.update(zip(indices, of_batch, strict=True))
        for i, image in enumerate(resized):
            yield _page(image, detected[i])


def _check_above_zero(**numbers: int) -> None:
    if invalid := [f"{name} ({number})" for name, number in numbers.items() if number <= 0]:
        raise ConfigError(f"must be above 0: {', '.join(invalid)}")


def move_for_prediction(
    model: DetectionModel, device: torch.device, memory_format: torch.memory_format
) -> None:
    """Move a model to a device, and select the branch of its head that needs suppression.

    Args:
        model: Model to change; a head with two branches has one that needs no suppression.
        device: Device of the network.
        memory_format: Memory format of its weights.
    """
    model.end2end = False
    model.to(device, memory_format=memory_format)


@torch.inference_mode()
def detect(
    model: DetectionModel, images: torch.Tensor, *, score_thresh: float, max_det: int
) -> list[Detections]:
    """Find the symbols of a batch in exact fp32.

    Args:
        model: Model in evaluation mode, see :func:`move_for_prediction`.
        images: Input of the network on its device, shape ``(B, 3, H, W)``.
        score_thresh: Lower limit of scores (exclusive), 0 to 1.
        max_det: Maximum number of detections per image.
    """
    with exact_fp32():
        output = model(images)[0]  # (B, 4 + C, A)
    return detections(output, score_thresh=score_thresh, max_det=max_det)


def _page(image: ResizedImage, detected: Detections) -> Page:
    boxes_xyxy = detected.boxes_xyxy.double().numpy() / np.array([*image.factors, *image.factors])
    return Page(
        image=image.name,
        width=image.width,
        height=image.height,
        boxes_xyxy=boxes_xyxy.clip(0, [image.width, image.height, image.width, image.height]),
        labels=detected.labels.numpy(),
        scores=detected.scores.double().numpy(),
    )
