"""Predictions of any tool, brought to the pages or tiles that are scored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from class_maps import ConfigError, short_list
from converters.page import Page
from converters.tracking import Track
from eval.metrics.coco import MAX_CONF
from omr.scoring.class_matching import check_names, match_classes
from omr.scoring.evaluation_set import EvaluationSet
from omr.scoring.predicted_images import ImageNames, PredictedImage, PredictionSet
from omr.scoring.protocol import LOWEST_SCORE, ScoringSettings
from omr.scoring.scored_predictions import ScoredPredictions
from reading.max_det import suggested_max_det
from reading.page_tiles import merge_tiles

MOST_IMAGES = 3
"""Maximum number of images in a message."""
TRUNCATED = (
    f"no prediction has a score of {LOWEST_SCORE:g} or less, so a confidence threshold has cut off "
    "the rest: this AP cannot be compared with others; predict with a threshold of "
    f"{MAX_CONF:g}"
)
"""Remark on predictions whose AP is not comparable."""
EQUAL = (
    "all predictions have the score {score:g}: the AP depends on how equal scores are ordered, so "
    "it cannot be compared with others; predict with confidences"
)
"""Remark on predictions without a ranking."""


def match_predictions(
    predictions: PredictionSet, evaluation: EvaluationSet, *, track: Track[Page]
) -> ScoredPredictions:
    """Bring predictions to the pages or tiles, and to the classes, of the ground truth.

    Args:
        predictions: Predictions of any tool.
        evaluation: Ground truth.
        track: Wrapper around the pages that shows progress.

    Raises:
        ConfigError: The predictions are for other images or classes.
    """
    names, data_names = predictions.names, evaluation.dataset.names
    check_names(names, data_names, evaluation.truths, "predictions")
    pages = predicted_pages(predictions, evaluation)
    remarks = [] if predictions.is_complete else _without_predictions(pages, evaluation)
    max_det = suggested_max_det(evaluation.most_symbols)
    scores = np.concatenate([image.scores for image in predictions.images])
    settings = ScoringSettings(max_det=max_det, lowest_score=float(scores.min()))
    if len(scores) > 1 and scores.min() == scores.max():
        remarks.append(EQUAL.format(score=scores[0]))
    elif settings.is_truncated:
        remarks.append(TRUNCATED)
    return ScoredPredictions(
        source=predictions.source,
        settings=settings,
        matched=match_classes(
            pages,
            len(pages),
            names,
            data_names,
            max_det=max_det,
            track=track,
            unlabelled=evaluation.unlabelled,
        ),
        remarks=(*predictions.remarks, *remarks),
    )


def predicted_pages(predictions: PredictionSet, evaluation: EvaluationSet) -> list[Page]:
    """Bring predictions to the pages or tiles of the ground truth.

    Predictions for tiles are merged into their pages if pages are scored.

    Returns:
        A page for each truth, in the same order, highest score first.

    Raises:
        ConfigError: Predictions are for other images, for images of another split, in images of
            another size, or there are several sets for one image.
    """
    by_image = _by_image(predictions, evaluation)
    targets = evaluation.truths.images
    if evaluation.is_assembled and not by_image.keys() <= set(targets):
        return _merged(by_image, predictions, evaluation)
    _check_complete(targets, by_image, predictions)
    scales = _page_scales(evaluation)
    return [
        _page(by_image.get(image), truth, predictions, scales.get(image))
        for image, truth in zip(targets, evaluation.truths, strict=True)
    ]


def _by_image(
    predictions: PredictionSet, evaluation: EvaluationSet
) -> dict[PurePosixPath, PredictedImage]:
    """Find the image of each set of predictions.

    Raises:
        ConfigError: An image is unknown, of another split, or has several sets.
    """
    known = {*evaluation.truths.images, *evaluation.image_files}
    names, split_folder = ImageNames(known), evaluation.dataset.folder_name(evaluation.split)
    others = {evaluation.dataset.folder_name(s) for s in evaluation.dataset.splits} - {split_folder}
    by_image: dict[PurePosixPath, PredictedImage] = {}
    unknown: list[str] = []
    for predicted in predictions.images:
        folders = set(PurePosixPath(predicted.name).parts[:-1])
        is_elsewhere = bool(folders & others) and split_folder not in folders
        image = None if is_elsewhere else names.find(predicted.name)
        if image is None:
            unknown.append(predicted.name)
        elif image in by_image:
            raise ConfigError(
                f"{predictions.path}: several sets of predictions for {image}: "
                f"{by_image[image].label} and {predicted.label}; keep one"
            )
        else:
            by_image[image] = predicted
    if unknown:
        raise _unknown_images(unknown, predictions, evaluation)
    return by_image


def _unknown_images(
    unknown: Sequence[str], predictions: PredictionSet, evaluation: EvaluationSet
) -> ConfigError:
    """Explain why images are not found."""
    split, dataset = evaluation.split, evaluation.dataset
    listed = f"{predictions.path}: not in the split {split}: {short_list(unknown, MOST_IMAGES)}"
    for other in dataset.splits:
        if other == split or dataset.share_images(other, split):
            continue
        files = dataset.image_paths(other)
        names = ImageNames(PurePosixPath(file.relative_to(dataset.splits[other])) for file in files)
        if all(names.find(name) for name in unknown):
            return ConfigError(f"{listed}; these are images of {other}, use --split {other}")
    if evaluation.unit == "tile":
        pages = ImageNames(page.page for page in evaluation.tiled_pages)
        if all(pages.find(name) for name in unknown):
            return ConfigError(f"{listed}; these are pages, use --unit page")
    remedy = predictions.hint or f"predict the images of {split} only"
    return ConfigError(f"{listed}; {remedy}")


def _merged(
    by_image: Mapping[PurePosixPath, PredictedImage],
    predictions: PredictionSet,
    evaluation: EvaluationSet,
) -> list[Page]:
    """Merge the predictions for tiles into those for pages.

    Raises:
        ConfigError: Some predictions are for whole pages, or tiles are missing.
    """
    pages = set(evaluation.truths.images)
    if whole := sorted(map(str, by_image.keys() & pages)):
        raise ConfigError(
            f"{predictions.path}: predictions for tiles and for whole pages, such as {whole[0]}; "
            "keep one of the two"
        )
    tiles = {}
    for page in evaluation.tiled_pages:
        for name, (width, height) in zip(page.tiles, page.sizes.tolist(), strict=True):
            empty = _empty_page(name, width, height)
            tiles[name] = _page(by_image.get(name), empty, predictions, None)
    _check_complete(tiles, by_image, predictions)
    return [*merge_tiles(evaluation.tiled_pages, [*tiles.values()])]


def _empty_page(name: PurePosixPath, width: int, height: int) -> Page:
    return Page(
        image=name,
        width=width,
        height=height,
        boxes_xyxy=np.empty((0, 4)),
        labels=np.empty(0, np.int64),
    )


def _check_complete(
    targets: Iterable[PurePosixPath],
    by_image: Mapping[PurePosixPath, PredictedImage],
    predictions: PredictionSet,
) -> None:
    """Check that a file that lists the predicted images lists all of them.

    Raises:
        ConfigError: Images are missing.
    """
    names = [str(image) for image in targets]
    missing = [name for name in names if PurePosixPath(name) not in by_image]
    if missing and predictions.is_complete:
        listed = f"{len(missing)} of {len(names)} images: {short_list(missing, MOST_IMAGES)}"
        raise ConfigError(f"{predictions.path}: does not contain {listed}; predict all of them")


def _without_predictions(pages: Sequence[Page], evaluation: EvaluationSet) -> list[str]:
    """Report pages or tiles with symbols for which the files contain no predictions."""
    pairs = zip(pages, evaluation.truths, strict=True)
    missed = [str(t.image) for page, t in pairs if len(t.labels) and not len(page.labels)]
    if not missed:
        return []
    listed = f"{len(missed)} of {len(pages)} {evaluation.unit}s: {short_list(missed, MOST_IMAGES)}"
    return [f"no predictions for {listed}; all of their symbols count as missed"]


def _page_scales(evaluation: EvaluationSet) -> dict[PurePosixPath, tuple[float, float]]:
    """Return the scale of each page that is put together from tiles."""
    if not evaluation.is_assembled:
        return {}
    return {page.page: page.scale_xy for page in evaluation.tiled_pages}


def _page(
    predicted: PredictedImage | None,
    truth: Page,
    predictions: PredictionSet,
    scale_xy: tuple[float, float] | None,
) -> Page:
    """Return the predictions for a page or tile, in its pixels.

    Args:
        predicted: Predictions; None for an image without any.
        truth: Page or tile that they are for.
        predictions: All predictions, for messages.
        scale_xy: Scale of a page that is put together from tiles; None for other images.

    Raises:
        ConfigError: The size of the image differs.
    """
    if predicted is None:
        empty = _empty_page(truth.image, truth.width, truth.height)
        return replace(empty, scores=np.empty(0))
    factors = _factors(predicted, truth, predictions, scale_xy or (1.0, 1.0))
    boxes_xyxy = predicted.boxes_xyxy * np.tile(factors, 2)
    if (boxes_xyxy[:, :2] > [truth.width + 1, truth.height + 1]).any():
        raise ConfigError(
            f"{predictions.path}: {predicted.name}: predictions beyond the image, which has "
            f"{truth.width} x {truth.height} px; predict it in its own size"
        )
    order = np.argsort(-predicted.scores, kind="stable")
    return Page(
        image=truth.image,
        width=truth.width,
        height=truth.height,
        boxes_xyxy=boxes_xyxy[order],
        labels=predicted.labels[order],
        scores=predicted.scores[order],
    )


def _factors(
    predicted: PredictedImage,
    truth: Page,
    predictions: PredictionSet,
    scale_xy: tuple[float, float],
) -> tuple[float, float]:
    """Return the factors that bring boxes to the pixels of the ground truth.

    Predictions may be for a page before it was scaled and cut.
    """
    size = truth.width, truth.height
    if predicted.size == (1, 1):
        return size
    if predicted.size is None:
        if scale_xy == (1.0, 1.0):
            return 1.0, 1.0
        raise ConfigError(
            f"{predictions.path}: contains no sizes, and {truth.image} was scaled; "
            f"{predictions.hint}"
        )
    if predicted.size == size:
        return 1.0, 1.0
    scaled = [side * scale for side, scale in zip(predicted.size, scale_xy, strict=True)]
    if scale_xy != (1.0, 1.0) and np.abs(np.subtract(scaled, size)).max() <= 1:
        return size[0] / predicted.size[0], size[1] / predicted.size[1]
    raise ConfigError(
        f"{predictions.path}: {predicted.name}: is {predicted.size[0]} x {predicted.size[1]} px in "
        f"the predictions, but {size[0]} x {size[1]} px in the data set; predict the same images"
    )
