"""Reader of predictions in MuNG, as ``omr predict --format mung`` writes them.

The score of a node is its data item ``score``. MuNG has no sizes of images, and boxes in whole
pixels, see :mod:`converters.formats.mung`.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from class_maps import InputError, shortened
from converters.formats.xml_files import elements
from omr.scoring.named_predictions import NamedSymbols, class_names, labelled_images
from omr.scoring.predicted_images import PredictionSet
from omr.scoring.protocol import ScoredSource, hash_of_files

ROOT, NODE = "Nodes", "Node"
SCORE = "Data/DataItem[@key='score']"
SIDES = "Left", "Top", "Width", "Height"
HINT = "MuNG has no sizes of images: predict the images of the data set, or use --format coco"
ROUNDED = (
    "boxes in MuNG are in whole pixels, which lowers the AP of small and thin symbols; for the "
    "exact AP, predict with --format coco"
)


def read_mung(path: Path, files: Sequence[Path], data_names: Sequence[str]) -> PredictionSet:
    """Read predictions in MuNG files, one per image.

    Args:
        path: Folder of the files, or the only file.
        files: Files to read.
        data_names: Class names of the data set.

    Raises:
        InputError: A file is not MuNG, a node has no score, or a value is invalid.
    """
    root = path if path.is_dir() else path.parent
    images = [_read(file) for file in files]
    names = class_names(path, images, data_names)
    digest = hash_of_files(files, root)
    return PredictionSet(
        path=path,
        source=ScoredSource(kind="mung", name=path.resolve().name, sha256=digest),
        names=names,
        images=labelled_images(images, path, names),
        is_complete=path.is_dir(),
        hint=HINT,
        remarks=(ROUNDED,),
    )


def _read(file: Path) -> NamedSymbols:
    document = ""
    rows: list[tuple[str, list[float], str]] = []
    for element in _elements(file):
        if element.tag == ROOT:
            document = element.get("document", "")
        else:
            rows.append(_row(element, file, f"node {element.findtext('Id', str(len(rows)))}"))
    table = np.array([numbers for _, numbers, _ in rows], np.float64).reshape(-1, 5)
    x0y0, sides = table[:, :2], table[:, 2:4]
    return NamedSymbols(
        name=document or file.stem,
        file=file,
        boxes_xyxy=np.concatenate([x0y0, x0y0 + sides], axis=1),
        classes=[name for name, _, _ in rows],
        scores=table[:, 4],
        where=[where for _, _, where in rows],
        size=None,
    )


def _elements(file: Path) -> Iterator[ElementTree.Element]:
    """Yield the root, which has its attributes only, and then every node.

    Raises:
        InputError: The file is not XML, or has another root.
    """
    deque(elements(file, (), ()), maxlen=0)  # refuses entities, and documents that exhaust memory
    try:
        events = ElementTree.iterparse(file, events=("start", "end"))
        root = next(events)[1]
        if root.tag != ROOT:
            raise InputError(
                f"the root is {shortened(root.tag)}; expected {ROOT} of MuNG 2.0", path=file
            )
        yield root
        for event, element in events:
            if event == "end" and element.tag == NODE:
                yield element
                element.clear()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=file) from error


def _row(node: ElementTree.Element, file: Path, where: str) -> tuple[str, list[float], str]:
    """Return the class of a node, its left and top edge, width, height and score, and its place.

    Raises:
        InputError: A value is missing or not a number.
    """
    texts = {side: node.findtext(side, "") for side in SIDES}
    texts["score"] = node.findtext(SCORE, "")
    name = node.findtext("ClassName", "")
    if missing := [key for key, text in {"ClassName": name, **texts}.items() if not text.strip()]:
        reason = f"missing {missing[0]}"
        if missing == ["score"]:
            reason += "; expected predictions"
        raise InputError(reason, path=file, where=where)
    try:
        return name, [float(text) for text in texts.values()], where
    except ValueError:
        text = ", ".join(f"{key} {shortened(text.strip())}" for key, text in texts.items())
        raise InputError(f"expected numbers, got {text}", path=file, where=where) from None
