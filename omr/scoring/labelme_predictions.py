"""Reader of predictions in labelme files, as ``omr predict --format labelme`` writes them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from class_maps import CategoryMapping, InputError
from converters.formats.labelme import LABELME_FOLDER, LabelmeFile
from converters.tally import Tally
from omr.prediction_files import SPLIT
from omr.scoring.named_predictions import NamedSymbols, class_names, labelled_images
from omr.scoring.predicted_images import PredictionSet
from omr.scoring.protocol import ScoredSource, hash_of_files


def read_labelme(path: Path, files: Sequence[Path], data_names: Sequence[str]) -> PredictionSet:
    """Read predictions in labelme files, one per image.

    Args:
        path: Folder of the files, or the only file.
        files: Files to read.
        data_names: Class names of the data set.

    Raises:
        InputError: A file is malformed, a shape has no score, or a value is invalid.
    """
    root = path if path.is_dir() else path.parent
    of_omr = root / LABELME_FOLDER / SPLIT
    opened = [LabelmeFile(file, of_omr if of_omr in file.parents else root) for file in files]
    images = [_symbols(file) for file in opened]
    names = class_names(path, images, data_names)
    digest = hash_of_files(files, root)
    return PredictionSet(
        path=path,
        source=ScoredSource(kind="labelme", name=path.resolve().name, sha256=digest),
        names=names,
        images=labelled_images(images, path, names),
        is_complete=path.is_dir(),
    )


def _symbols(file: LabelmeFile) -> NamedSymbols:
    nothing = CategoryMapping(name="labelme", annotation_set=None, class_of={})
    names = file.categories(nothing)
    mapping = replace(nothing, class_of={name: name for name in names})
    labels = {name: label for label, name in enumerate(names)}
    [page] = file.pages(mapping, labels, Tally(), clip=True)
    where = [f"shapes[{number}]" for number in file.numbers]
    scores = file.scores()
    for i, score in enumerate(scores):
        if score is None:
            raise InputError(
                "missing score; expected predictions",
                path=file.path,
                where=f"{where[i]}.description",
            )
    return NamedSymbols(
        name=page.image.as_posix(),
        file=file.path,
        boxes_xyxy=page.boxes_xyxy,
        classes=[names[label] for label in page.labels.tolist()],
        scores=np.array(scores, np.float64),
        where=where,
        size=(page.width, page.height),
    )
