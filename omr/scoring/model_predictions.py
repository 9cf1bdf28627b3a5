"""Predictions of a network for the pages or tiles of a split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from class_maps import ConfigError
from converters import image_headers
from converters.files.hashes import sha256, short_hashes
from converters.manifest import Preparation
from converters.page import Page
from converters.page_hashes import page_hashes
from converters.tracking import Track
from omr.scoring.class_matching import check_names, match_classes
from omr.scoring.evaluation_set import EvaluationSet
from omr.scoring.onnx_weights import OnnxWeights, open_onnx, predict_squares
from omr.scoring.page_reading import read_pages
from omr.scoring.protocol import ScoredSource, ScoringSettings, tile_settings
from omr.scoring.result import UNKNOWN_OVERLAP, TrainingOverlap
from omr.scoring.scored_predictions import ScoredPredictions
from reading.max_det import suggested_max_det
from reading.network import Network, TrainingInput, training_input
from reading.page_reader import ReadingOptions
from settings.run_files import WEIGHTS_FOLDER
from settings.training import STRIDE
from training.heads.grouped import GroupedDetect
from training.models.checkpoints import DEFAULT_IMGSZ, Weights, open_weights
from training.predict.detector import predict
from training.predict.tile_network import TorchNetwork

AnyWeights: TypeAlias = Weights | OnnxWeights
UNLIMITED = 10**6
"""Limit on detections per image that no image reaches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOptions:
    """Settings of the predictions of a network."""

    imgsz: int | None
    """Side of the network input in pixels; None for that of the training."""
    batch: int
    device: str
    conf: float
    """Confidence above which predictions are kept."""

    def side(self, weights: AnyWeights) -> int:
        """Return the side of the network input in pixels."""
        return self.imgsz or weights.imgsz or DEFAULT_IMGSZ


def predict_evaluation_set(
    file: Path, evaluation: EvaluationSet, options: ModelOptions, *, trust: bool, track: Track[Page]
) -> ScoredPredictions:
    """Predict all pages or tiles of a split with a network.

    Args:
        file: Weights of a training, or ``.onnx`` file.
        evaluation: Ground truth.
        options: Settings of the predictions.
        trust: Whether loading the weights may execute their code.
        track: Wrapper around the predicted pages that shows progress.

    Raises:
        ConfigError: The weights lack a class that has ground truth, a class name is duplicated,
            the device does not exist, or an ONNX file has another input size.
        InputError: The weights or an image cannot be read.
        MissingExtraError: onnxruntime is needed and not installed.
    """
    weights: AnyWeights
    if file.suffix.lower() == ".onnx":
        weights = open_onnx(file, imgsz=options.imgsz, device=options.device)
    else:
        weights = open_weights(file, trust=trust)
    names, data_names = weights.names, evaluation.dataset.names
    check_names(names, data_names, evaluation.truths, "weights")
    side, trained = options.side(weights), _page_input(weights, evaluation)
    max_det = suggested_max_det(evaluation.most_symbols)
    if trained is None:
        # Classes that do not count must not use up the limit.
        do_all_count = set(names) <= set(data_names) and not any(evaluation.unlabelled.values())
        limit = max_det if do_all_count else UNLIMITED
        pages = _predicted_images(weights, evaluation, options, max_det=limit)
    else:
        pages = _read_pages(weights, evaluation, options, trained)
    n_pages = len(evaluation.truths)
    return ScoredPredictions(
        source=ScoredSource(kind="weights", name=_weights_name(file), sha256=sha256(file)),
        settings=_settings(options, side, max_det, trained),
        matched=match_classes(
            pages,
            n_pages,
            names,
            data_names,
            max_det=max_det,
            track=track,
            unlabelled=evaluation.unlabelled,
        ),
        overlap=_training_overlap(weights, evaluation),
        heads=_heads(weights, data_names),
        differences=_differences(
            weights, side, evaluation.preparation, are_pages_read=trained is not None
        ),
    )


def _weights_name(file: Path) -> str:
    """Return the name of a file of weights; those of a run have the same names, so with its folder.

    Args:
        file: File of weights, such as ``RUN/weights/best.pt``.
    """
    parts = file.absolute().parts
    return "/".join(parts[-3:]) if file.absolute().parent.name == WEIGHTS_FOLDER else file.name


def _page_input(weights: AnyWeights, evaluation: EvaluationSet) -> TrainingInput | None:
    """Return how to read whole pages; None if images are predicted as they are.

    Pages in tiles are always read as pages, and other pages if the weights were trained on tiles.

    Args:
        weights: Weights and their training record.
        evaluation: Ground truth.
    """
    preparations = weights.training.preparations if weights.training else ()
    trained = training_input(preparations)
    if evaluation.is_assembled:
        # Weights without a record are assumed to be trained on such tiles.
        unscaled = TrainingInput(is_tiled=True, staff_space=None)
        return unscaled if isinstance(trained, str) else trained
    if evaluation.is_tiled or isinstance(trained, str) or not trained.is_tiled:
        return None
    return trained


def _predicted_images(
    weights: AnyWeights, evaluation: EvaluationSet, options: ModelOptions, *, max_det: int
) -> Iterator[Page]:
    """Predict pages or tiles, each resized as a whole.

    Args:
        weights: Weights of the network.
        evaluation: Ground truth.
        options: Settings of the predictions.
        max_det: Maximum number of symbols per image.

    Yields:
        Predictions in the order of the ground truth, highest score first.

    Raises:
        ConfigError: The device does not exist.
        InputError: An image cannot be read, or was replaced since its labels were read.
    """
    files = [(evaluation.folder / truth.image, truth.image) for truth in evaluation.truths]
    if isinstance(weights, OnnxWeights):
        pages = predict_squares(
            weights.network,
            files,
            batch=options.batch,
            score_thresh=options.conf,
            max_det=max_det,
        )
    else:
        pages = predict(
            weights.model,
            files,
            imgsz=options.side(weights),
            batch=options.batch,
            device=options.device,
            score_thresh=options.conf,
            max_det=max_det,
        )
    for page, truth in zip(pages, evaluation.truths, strict=True):
        size, expected = (page.width, page.height), (truth.width, truth.height)
        image_headers.check_unchanged(evaluation.folder / truth.image, size, expected)
        yield page


def _read_pages(
    weights: AnyWeights, evaluation: EvaluationSet, options: ModelOptions, trained: TrainingInput
) -> Iterator[Page]:
    """Read pages with the settings of an evaluation.

    Args:
        weights: Weights of the network.
        evaluation: Ground truth of pages.
        options: Settings of the predictions.
        trained: How pages reached the network in training.

    Returns:
        Predictions in the order of the ground truth, highest score first.

    Raises:
        ConfigError: The device does not exist, or the input size is not a multiple of the stride.
        InputError: An image cannot be read, or was replaced since its labels were read.
    """
    network = tile_network(weights, options)
    # The staff space is measured if it is unknown.
    staff_space = evaluation.preparation.staff_space if evaluation.preparation else None
    reading = ReadingOptions(training=trained, score_thresh=options.conf, staff_space=staff_space)
    return read_pages(evaluation, network, reading, batch=options.batch)


def tile_network(weights: AnyWeights, options: ModelOptions) -> Network:
    """Return the network that reads the tiles of pages.

    Raises:
        ConfigError: The device does not exist, or the input size is not a multiple of the stride.
    """
    if isinstance(weights, OnnxWeights):
        return weights.network
    side = options.side(weights)
    if side % STRIDE:
        raise ConfigError(f"expected a multiple of {STRIDE}", option="--imgsz", value=side)
    return TorchNetwork(weights, imgsz=side, device=options.device)


def _settings(
    options: ModelOptions, side: int, max_det: int, trained: TrainingInput | None
) -> ScoringSettings:
    """Return the settings that a protocol records."""
    return ScoringSettings(
        max_det=max_det,
        conf=options.conf,
        imgsz=side,
        staff_space=trained.staff_space if trained else None,
        tiles=tile_settings(side) if trained and trained.is_tiled else None,
    )


def _differences(
    weights: AnyWeights, side: int, preparation: Preparation | None, *, are_pages_read: bool
) -> tuple[str, ...]:
    """List the settings and data preparation that differ from those in training.

    Args:
        weights: Weights and their training record.
        side: Side of the network input in pixels.
        preparation: How the images were prepared.
        are_pages_read: Whether pages are scaled and tiled as in training.
    """
    size = [f"imgsz {side} px ({weights.imgsz} px in training)"]
    listed = size if weights.imgsz not in (None, side) else []
    if weights.training is None or preparation is None:
        return tuple(listed)
    known = next((known for known in weights.training.preparations if known), None)
    if are_pages_read and known:
        preparation = replace(preparation, tile=known.tile, staff_space=known.staff_space)
    return (*listed, *weights.training.differences(preparation))


def _heads(weights: AnyWeights, data_names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the classes of each head that the data set has; empty for one head, or with ONNX."""
    if isinstance(weights, OnnxWeights):
        return {}
    head = next(iter(weights.model.model[-1:]), None) if hasattr(weights.model, "model") else None
    if not isinstance(head, GroupedDetect):
        return {}
    return {
        group.name: tuple(name for i in labels if (name := weights.names[i]) in data_names)
        for group, labels in zip(head.config.groups, head.labels, strict=True)
    }


def _training_overlap(weights: AnyWeights, evaluation: EvaluationSet) -> TrainingOverlap:
    """Compare the pages or tiles of a split with those that a model was trained on."""
    if weights.training is None:
        return UNKNOWN_OVERLAP
    files = [str(name) for name in evaluation.image_files]
    hashes = short_hashes([evaluation.folder / name for name in files])
    pages = page_hashes(evaluation.dataset, evaluation.split, files, hashes)
    are_seen = weights.training.contains_pages(hashes, pages)
    are_same = are_seen & weights.training.contains(hashes)
    unit_of = dict(zip(files, files, strict=True))
    if evaluation.is_assembled:
        unit_of = {str(t): str(page.page) for page in evaluation.tiled_pages for t in page.tiles}
    seen = {unit_of[files[i]]: None for i in are_seen.nonzero()[0]}
    same = {unit_of[files[i]] for i in are_same.nonzero()[0]}
    return TrainingOverlap(
        trained_on=tuple(seen),
        n_same_images=len(same),
        training_is_known=weights.training.is_complete,
        pages_are_known=weights.training.knows_pages and pages.are_known,
    )
