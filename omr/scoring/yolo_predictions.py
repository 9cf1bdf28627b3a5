"""Reader of predictions in YOLO files.

A file ``labels/NAME.txt`` has a line ``label x_centre y_centre width height confidence`` for every
prediction, with coordinates as fractions of the image, as ``yolo predict save_txt=True
save_conf=True`` writes it. ``omr predict --format yolo`` writes the confidences to
``scores/NAME.txt``, one per line. An image without predictions may have no file.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from class_maps import InputError, shortened
from class_maps.text_files import read_text
from converters.boxes import cxcywh_to_xyxy
from converters.names import LABELS
from omr.prediction_files import CLASSES_FILE, SCORES
from omr.scoring.predicted_images import PredictedImage, PredictionSet, check_boxes
from omr.scoring.protocol import ScoredSource, hash_of_files

EXPECTED = "expected label, x_centre, y_centre, width, height, confidence"
FURTHEST = 1.5
"""Largest coordinate that is taken for a fraction of the image; others are pixels."""


def label_files(folder: Path) -> tuple[Path, list[Path]]:
    """List the label files of a folder of predictions.

    Args:
        folder: Folder of the label files, or the folder that contains it as ``labels``.

    Returns:
        The folder that names are relative to, and its files; none if it contains none.
    """
    root = folder / LABELS if (folder / LABELS).is_dir() else folder
    return root, sorted(file for file in root.rglob("*.txt") if file.name != CLASSES_FILE)


def read_yolo(folder: Path, names: Sequence[str]) -> PredictionSet:
    """Read predictions in YOLO files.

    Args:
        folder: Folder of the label files, or the folder that contains it as ``labels``. If there is
            a ``classes.txt``, it contains the class names of the labels.
        names: Class names of the data set, which the labels refer to otherwise.

    Raises:
        InputError: The folder contains no predictions, or a line is malformed.
    """
    root, files = label_files(folder)
    names = _class_names(folder, root) or names
    images = tuple(_predicted_image(file, root, len(names)) for file in files)
    if not any(len(image.scores) for image in images):
        raise InputError("contains no predictions", path=folder)
    scores = [file for label_file in files if (file := _scores_file(label_file, root)).is_file()]
    digest = hash_of_files([*files, *scores], root.parent if scores else root)
    return PredictionSet(
        path=folder,
        source=ScoredSource(kind="yolo", name=folder.resolve().name, sha256=digest),
        names=tuple(names),
        images=images,
        is_complete=False,
    )


def _class_names(folder: Path, root: Path) -> list[str]:
    """Read the names in ``classes.txt``; empty without such a file.

    Raises:
        InputError: A line before the last name is blank, so that labels have no name.
    """
    for file in (folder / CLASSES_FILE, root / CLASSES_FILE, root.parent / CLASSES_FILE):
        if file.is_file():
            names = [line.strip() for line in read_text(file, "list of classes").splitlines()]
            n_names = max((i + 1 for i, name in enumerate(names) if name), default=0)
            if "" in names[:n_names]:
                where = f"line {names.index('') + 1}"
                raise InputError("missing class name", path=file, where=where)
            return names[:n_names]
    return []


def _predicted_image(file: Path, root: Path, n_names: int) -> PredictedImage:
    """Read the predictions for one image.

    Raises:
        InputError: A line is malformed.
    """
    lines = _lines(file, _scores_file(file, root))
    rows = [(i + 1, _numbers(words, file, i + 1)) for i, words in enumerate(lines) if words]
    table = np.array([row for _, row in rows], np.float64).reshape(-1, 6)
    where = [f"line {i}" for i, _ in rows]
    is_known = (table[:, 0] >= 0) & (table[:, 0] < n_names) & (table[:, 0] % 1 == 0)
    if not is_known.all():
        i = int((~is_known).argmax())
        reason = f"label {table[i, 0]:g} is not one of {n_names} classes"
        raise InputError(reason, path=file, where=where[i])
    boxes_xyxy = cxcywh_to_xyxy(table[:, 1:5])
    check_boxes(boxes_xyxy, table[:, 5], file, where)
    if len(table) and np.abs(table[:, 1:5]).max() > FURTHEST:
        i = int(np.abs(table[:, 1:5]).max(axis=1).argmax())
        raise InputError("expected fractions of the image", path=file, where=where[i])
    return PredictedImage(
        name=file.relative_to(root).with_suffix("").as_posix(),
        boxes_xyxy=boxes_xyxy,
        labels=table[:, 0].astype(np.int64),
        scores=table[:, 5],
        size=(1, 1),
    )


def _scores_file(label_file: Path, root: Path) -> Path:
    return root.parent / SCORES / label_file.relative_to(root)


def _lines(file: Path, scores_file: Path) -> list[list[str]]:
    """Split the lines of a label file, with the scores of their own file if it exists.

    Raises:
        InputError: There are more or fewer scores than labels.
    """
    lines = [line.split() for line in read_text(file, "label file").splitlines()]
    if not scores_file.is_file():
        return lines
    scores = read_text(scores_file, "list of scores").split()
    n_labels = sum(map(bool, lines))
    if len(scores) != n_labels:
        reason = f"{len(scores)} scores for the {n_labels} labels of {file}; predict again"
        raise InputError(reason, path=scores_file)
    rest = iter(scores)
    return [[*fields, next(rest)] if fields else fields for fields in lines]


def _numbers(fields: Sequence[str], file: Path, line: int) -> list[float]:
    remedy = "; predict with save_conf=True" if len(fields) == 5 else ""
    try:
        numbers = [float(text) for text in fields]
    except ValueError:
        numbers = []
    if len(numbers) != 6:
        text = shortened(" ".join(fields))
        raise InputError(f"{EXPECTED}, got: {text}{remedy}", path=file, where=f"line {line}")
    return numbers
