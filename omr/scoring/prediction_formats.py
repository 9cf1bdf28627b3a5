"""Formats of predictions, and how the format of a file or folder is recognised."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from class_maps import InputError, listed
from converters.files.atomic_folder import MANIFEST
from converters.formats.image_folders import files_in
from converters.formats.json_files import HEAD_BYTES, root_keys
from converters.names import LABELS
from omr.prediction_files import CLASSES_FILE, COCO_FILE
from omr.scoring.coco_predictions import read_coco
from omr.scoring.evaluation_set import EvaluationSet
from omr.scoring.labelme_predictions import read_labelme
from omr.scoring.mung_predictions import read_mung
from omr.scoring.parquet_predictions import read_parquet
from omr.scoring.predicted_images import PredictionSet
from omr.scoring.protocol import SourceKind
from omr.scoring.yolo_predictions import read_yolo

SUFFIXES = ".json", ".parquet", ".xml", ".txt"
"""Suffixes of files of predictions."""
LOOKED_FOR = (
    f"{COCO_FILE} or another COCO file, Parquet tables, labelme JSON, labels/*.txt of YOLO, and "
    "MuNG XML"
)


def are_predictions(path: Path) -> bool:
    """Return whether a path is a file or folder of predictions, rather than weights."""
    return path.is_dir() or path.suffix.lower() in SUFFIXES


def read_predictions(
    path: Path, evaluation: EvaluationSet, annotations: Path | None
) -> PredictionSet:
    """Read predictions.

    Args:
        path: File or folder in one of the formats of ``omr predict``, or its output.
        evaluation: Ground truth.
        annotations: COCO annotation file that the ids of the predictions refer to.

    Raises:
        InputError: The path contains no predictions, or a prediction is malformed.
    """
    kind, files = _format_of(path)
    names = evaluation.dataset.names
    if kind == "coco":
        file = _only(files, path)
        return read_coco(file, evaluation.dataset.root, evaluation.split, names, annotations)
    if kind == "yolo":
        return read_yolo(path, names)
    readers = {"parquet": read_parquet, "labelme": read_labelme, "mung": read_mung}
    return readers[kind](path, files, names)


def _format_of(path: Path) -> tuple[SourceKind, list[Path]]:
    """Find the predictions in a file or folder; of several formats, the most exact one is read.

    Returns:
        The format, and its files.

    Raises:
        InputError: The path does not exist, or contains no predictions, or damaged JSON.
    """
    if not path.exists():
        raise InputError("no such file or folder", path=path)
    if path.is_file():
        return _format_of_file(path), [path]
    if (path / COCO_FILE).is_file():
        return "coco", [path / COCO_FILE]
    files: defaultdict[str, list[Path]] = defaultdict(list)
    for file in sorted(files_in(path)):
        if file.name not in (MANIFEST, CLASSES_FILE):
            files[file.suffix.lower()].append(file)
    kinds, damage = _json_kinds(files[".json"])
    candidates: list[tuple[SourceKind, list[Path]]] = [
        ("parquet", files[".parquet"]),
        ("labelme", [file for file in kinds if kinds[file] == "labelme"]),
        ("coco", [file for file in kinds if kinds[file] == "coco"]),
        ("yolo", files[".txt"] if (path / LABELS).is_dir() else []),
        ("mung", files[".xml"]),
        ("yolo", files[".txt"]),
    ]
    chosen = next((candidate for candidate in candidates if candidate[1]), None)
    if chosen and not (damage and chosen[0] in {"labelme", "coco"}):
        return chosen
    raise damage or InputError(f"contains no predictions; looked for {LOOKED_FOR}", path=path)


def _format_of_file(file: Path) -> SourceKind:
    """Return the format of a file.

    Raises:
        InputError: The file is JSON in another format, or a label file of YOLO.
    """
    suffix = file.suffix.lower()
    if suffix == ".txt":
        reason = "label files of YOLO are read together; name the folder that contains them"
        raise InputError(reason, path=file)
    if suffix != ".json":
        return "parquet" if suffix == ".parquet" else "mung"
    if kind := _json_kind(file):
        return kind
    raise InputError(
        "is neither COCO nor labelme; expected results with an image_id or file_name, or the keys "
        "images, annotations and categories, or shapes and imagePath",
        path=file,
    )


def _json_kinds(
    files: Sequence[Path],
) -> tuple[Mapping[Path, SourceKind | None], InputError | None]:
    """Return the format of each JSON file, None for others, and the first error."""
    kinds: dict[Path, SourceKind | None] = {}
    damage: InputError | None = None
    for file in files:
        try:
            kinds[file] = _json_kind(file)
        except InputError as error:
            damage = damage or error
    return kinds, damage


def _json_kind(file: Path) -> SourceKind | None:
    """Recognise a JSON file by its keys.

    Raises:
        InputError: The file cannot be read, or is damaged.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD_BYTES).lstrip()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=file) from error
    if head.startswith(b"["):
        is_coco = b'"image_id"' in head or b'"file_name"' in head or head[1:].strip() == b"]"
        return "coco" if is_coco else None
    keys = root_keys(file).names
    if keys >= {"shapes", "imagePath"}:
        return "labelme"
    return "coco" if keys >= {"images", "annotations", "categories"} else None


def _only(files: Sequence[Path], folder: Path) -> Path:
    """Return the only COCO file.

    Raises:
        InputError: There are several.
    """
    if len(files) > 1:
        names = listed(file.relative_to(folder).as_posix() for file in files)
        raise InputError(f"contains several COCO files: {names}; name one of them", path=folder)
    return files[0]
