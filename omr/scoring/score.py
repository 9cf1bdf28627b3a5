"""Scoring of a model, or of the predictions of any tool, on a split of a data set."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from class_maps import ConfigError
from converters.files.atomic_files import output_files
from converters.files.overwriting import check_files
from converters.page import Page
from converters.tracking import Track, untracked
from eval.metrics.backends import Backend
from eval.metrics.coco import MAX_CONF
from eval.metrics.evaluation import evaluate_in_depth
from eval.reports.evaluation import few_pages_notes
from omr.scoring.evaluation_set import EvaluationSet, Unit, read_evaluation_set
from omr.scoring.foreign_predictions import match_predictions
from omr.scoring.prediction_formats import read_predictions
from omr.scoring.protocol import protocol_of
from omr.scoring.report_files import FILES, write_files
from omr.scoring.result import ScoringResult
from omr.scoring.scored_predictions import ScoredPredictions

THRESHOLD = 0.25
"""Default of the confidence threshold at which precision, recall and F1 are reported, that of
Ultralytics' predictions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricOptions:
    """Options of the metrics, which do not affect the predictions."""

    threshold: float = THRESHOLD
    """Confidence threshold of the reported precision, recall and F1, 0 to 1."""
    backend: Backend = "hotcoco"
    """Evaluator that computes the AP."""


def score_model(
    weights: Path,
    data: Path,
    *,
    unit: Unit | None = None,
    imgsz: int | None = None,
    batch: int = 16,
    device: str = "",
    split: str = "val",
    conf: float = MAX_CONF,
    metrics: MetricOptions = MetricOptions(),
    out: Path | None = None,
    trust: bool = False,
    force: bool = False,
    track: Track[Page] = untracked,
) -> ScoringResult:
    """Score a model on a split of a data set with the COCO detection metrics.

    Classes are matched by name. Classes that exist only in the weights do not count. The means are
    those of the classes with ground truth, which must exist in the weights.

    Args:
        weights: Checkpoint of a detection model, such as a run's ``weights/best.pt``, or its
            ``.onnx`` file.
        data: YOLO folder as :func:`converters.conversion.convert` writes it.
        unit: Score pages or tiles; None for pages, unless the tiles of the data set cannot be put
            together. Pages in tiles are composed, and read as by :func:`omr.predict`, as are whole
            pages if the weights were trained on tiles.
        imgsz: Longer side to which images are resized, or side of the tiles in which pages are
            read, in pixels; None for the training size, or 640 if it is unknown.
        batch: Images or tiles per batch.
        device: ``cpu``, ``0`` ...; empty for the first CUDA device, or the CPU.
        split: Split to score.
        conf: Confidence above which predictions are kept, from 0 to ``MAX_CONF``.
        metrics: Options of the metrics.
        out: Folder for the files of :mod:`omr.scoring.report_files`; None to write none.
        trust: Load pickled weights even though doing so can run code they contain.
        force: Overwrite a report in ``out``.
        track: Wrapper around the predicted pages that shows progress.

    Raises:
        ConfigError: ``conf`` or ``unit`` is invalid, ``out`` contains a report and ``force`` is not
            set, the weights lack a class that has ground truth, a class name is duplicated, or the
            device is missing.
        InputError: The data set has no such split, or weights, labels or an image cannot be read.
    """
    from omr.scoring.model_predictions import ModelOptions, predict_evaluation_set

    _check_conf(conf)
    options = ModelOptions(imgsz=imgsz, batch=batch, device=device, conf=conf)

    def read_set() -> EvaluationSet:
        return read_evaluation_set(data, split, unit)

    def predicted(evaluation: EvaluationSet) -> ScoredPredictions:
        return predict_evaluation_set(weights, evaluation, options, trust=trust, track=track)

    return _score(predicted, read_set, metrics, out, force=force)


def score_predictions(
    predictions: Path,
    data: Path,
    *,
    unit: Unit | None = None,
    split: str = "val",
    annotations: Path | None = None,
    metrics: MetricOptions = MetricOptions(),
    out: Path | None = None,
    force: bool = False,
    track: Track[Page] = untracked,
) -> ScoringResult:
    """Score the predictions of any tool as :func:`score_model` scores those of a model.

    Args:
        predictions: Output of ``omr predict``, or a file or folder in one of its formats.
        data: YOLO folder as :func:`converters.conversion.convert` writes it.
        unit: Score pages or tiles; None for pages, unless the tiles of the data set cannot be put
            together. Predictions for tiles are merged if pages are scored.
        split: Split to score.
        annotations: COCO annotation file that image and category ids refer to; None for
            ``annotations/instances_SPLIT.json`` in the data set, if it exists.
        metrics: Options of the metrics.
        out: Folder for the files of :mod:`omr.scoring.report_files`; None to write none.
        force: Overwrite a report in ``out``.
        track: Wrapper around the pages that shows progress.

    Raises:
        ConfigError: ``unit`` is invalid, ``out`` contains a report and ``force`` is not set, or the
            predictions are for other images or classes.
        InputError: The data set has no such split, or labels or predictions cannot be read.
    """

    def read_set() -> EvaluationSet:
        return read_evaluation_set(data, split, unit)

    def read(evaluation: EvaluationSet) -> ScoredPredictions:
        opened = read_predictions(predictions, evaluation, annotations)
        return match_predictions(opened, evaluation, track=track)

    return _score(read, read_set, metrics, out, force=force)


def _score(
    predict: Callable[[EvaluationSet], ScoredPredictions],
    read_set: Callable[[], EvaluationSet],
    metrics: MetricOptions,
    out: Path | None,
    *,
    force: bool,
) -> ScoringResult:
    """Score predictions, and write the files of a report."""
    if out is None:
        return _result(*_predicted(read_set, predict), metrics)
    files = [out / name for name in FILES]
    check_files(*files, force=force)
    with output_files(*files, force=force) as parts:
        evaluation, predicted = _predicted(read_set, predict)
        result = _result(evaluation, predicted, metrics)
        write_files(parts, result, evaluation, predicted.matched.pages)
    return result


def _predicted(
    read_set: Callable[[], EvaluationSet],
    predict: Callable[[EvaluationSet], ScoredPredictions],
) -> tuple[EvaluationSet, ScoredPredictions]:
    """Read the ground truth and its predictions."""
    evaluation = read_set()
    predicted = predict(evaluation)
    return evaluation.with_staff_spaces(predicted.matched.pages), predicted


def _result(
    evaluation: EvaluationSet, predicted: ScoredPredictions, metrics: MetricOptions
) -> ScoringResult:
    """Compute the metrics of predictions."""
    matched = predicted.matched
    n_pages = sum(len(truth.labels) > 0 for truth in evaluation.truths)
    few_pages = few_pages_notes(n_pages, evaluation.unit)
    return ScoringResult(
        split=evaluation.split,
        unit=evaluation.unit,
        n_pages=evaluation.n_pages,
        protocol=protocol_of(evaluation, predicted.source, predicted.settings),
        overlap=predicted.overlap,
        skipped_files=tuple(evaluation.dataset.skipped_files(evaluation.split)),
        remarks=(*evaluation.remarks, *predicted.remarks, *few_pages),
        duplicates=evaluation.n_duplicates,
        differences=predicted.differences,
        images_at_max_det=matched.n_at_max_det,
        ignored_classes=matched.ignored_classes,
        missing_classes=matched.missing_classes,
        ignored_predictions=matched.n_ignored,
        unlabelled_predictions=matched.unlabelled,
        evaluation=evaluate_in_depth(
            evaluation.truths,
            matched.pages,
            evaluation.dataset.names,
            unit=evaluation.unit,
            chosen_threshold=metrics.threshold,
            page_groups=evaluation.groups,
            heads=predicted.heads,
            backend=metrics.backend,
        ),
    )


def _check_conf(conf: float) -> None:
    if not conf >= 0:
        reason = f"expected a number from 0 to {MAX_CONF:g}"
        raise ConfigError(reason, option="--conf", value=f"{conf:g}")
    if conf > MAX_CONF:
        reason = "too high, average precision also needs low-confidence predictions"
        raise ConfigError(f"{reason}; use {MAX_CONF:g} or less", option="--conf", value=f"{conf:g}")
