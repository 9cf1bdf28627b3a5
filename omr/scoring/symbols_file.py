"""File ``symbols.npz``: ground truth and predictions of an evaluation, for later comparisons.

Boxes and scores keep their full precision, because the AP at a high IoU depends on it. Equal
symbols give equal bytes.

Shapes: P images, C classes, N symbols of all images.
"""

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from converters.page import Page

SYMBOLS_FILE = "symbols.npz"
FORMAT = 1
"""Version of the file format."""
MAX_BYTES = 1 << 29
"""Maximum size of all arrays of a file, which suffices for 7 million symbols."""
REMEDY = "run omr eval --out again"
_DTYPES = {
    "format": "<i8",
    "names": "<U",
    "images": "<U",
    "sizes": "<i8",
    "staff_spaces": "<f8",
    "truth_counts": "<i8",
    "truth_boxes_xyxy": "<f8",
    "truth_labels": "<i4",
    "prediction_counts": "<i8",
    "prediction_boxes_xyxy": "<f8",
    "prediction_labels": "<i4",
    "prediction_scores": "<f8",
}
"""Arrays of a file, and their types."""
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, TypeError, SyntaxError, KeyError,
    NotImplementedError, RuntimeError, MemoryError, AttributeError,
)  # fmt: skip
"""Exceptions of NumPy and zipfile for damaged files and those of other programs."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvaluatedSymbols:
    """Ground truth and predictions of the same images."""

    names: tuple[str, ...]
    """Class names by label."""
    truths: tuple[Page, ...]
    """Ground truth, sorted by image name."""
    predictions: tuple[Page, ...]
    """Predictions with scores, in the same order."""


def write_symbols(
    path: Path, truths: Sequence[Page], predictions: Sequence[Page], names: Sequence[str]
) -> None:
    """Write ground truth and predictions to a file, whatever its suffix.

    Args:
        path: File to write.
        truths: Pages or tiles with ground truth, one per image.
        predictions: Pages or tiles with scores, one per image of ``truths``.
        names: Class names by label.

    Raises:
        OSError: The file cannot be written.
        ValueError: Predictions have no scores, are not for the same images in the same sizes, or an
            image occurs more than once.
    """
    frames, spaces, counts = _frames(truths)
    predicted_frames, _, predicted_counts = _frames(predictions, need_scores=True)
    order, predicted_order = (
        sorted(range(len(unsorted)), key=unsorted.__getitem__)
        for unsorted in (frames, predicted_frames)
    )
    frames = [frames[i] for i in order]
    if frames != [predicted_frames[i] for i in predicted_order] or len(set(frames)) < len(frames):
        raise ValueError("expected one page of truths and one of predictions per image")
    arrays = {
        "format": [FORMAT],
        "names": list(names),
        "images": [str(image) for image, *_ in frames],
        "sizes": np.reshape([(height, width) for _, width, height in frames], (-1, 2)),
        "staff_spaces": [spaces[i] for i in order],
        "truth_counts": [counts[i] for i in order],
        "prediction_counts": [predicted_counts[i] for i in predicted_order],
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, dtype in _DTYPES.items():
            if name in arrays:
                array = np.asarray(arrays[name], dtype)
                _write_array(archive, name, array.dtype, array.shape, [array])
                continue
            kind, _, column = name.partition("_")
            pages, rows = (truths, order) if kind == "truth" else (predictions, predicted_order)
            n = sum(counts if kind == "truth" else predicted_counts)
            parts = (np.asarray(_column(pages[i], column), dtype) for i in rows)
            shape = (n, 4) if column == "boxes_xyxy" else (n,)
            _write_array(archive, name, np.dtype(dtype), shape, parts)


def _frames(
    pages: Sequence[Page], *, need_scores: bool = False
) -> tuple[list[tuple[PurePosixPath, int, int]], list[float], list[int]]:
    """Return image, width and height, staff space and number of symbols of each page.

    Raises:
        ValueError: A page has no scores, although it needs them.
    """
    frames, spaces, counts = [], [], []
    for page in pages:
        if need_scores and page.scores is None:
            raise ValueError("expected predictions with scores")
        frames.append((page.image, page.width, page.height))
        spaces.append(np.nan if page.staff_space is None else page.staff_space)
        counts.append(len(page.labels))
    return frames, spaces, counts


def _column(page: Page, name: str) -> NDArray[Any]:
    column: NDArray[Any] = getattr(page, name)
    return column


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    parts: Iterable[NDArray[Any]],
) -> None:
    """Write an array that is never in memory as a whole, as NumPy's ``savez_compressed`` does."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array_header_1_0(entry, header)
        for part in parts:
            entry.write(part.tobytes())


def read_symbols(path: Path) -> EvaluatedSymbols:
    """Read a file that :func:`write_symbols` wrote.

    Raises:
        InputError: The file is missing, damaged, from another program, or of another version.
    """
    arrays = _read_arrays(path)
    problem = _problem(arrays)
    if problem:
        raise InputError(f"{problem}; {REMEDY}", path=path)
    return EvaluatedSymbols(
        names=tuple(arrays["names"].tolist()),
        truths=tuple(_pages("truth", arrays)),
        predictions=tuple(_pages("prediction", arrays)),
    )


def _read_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    """Read all arrays, without executing pickles.

    Raises:
        InputError: The file is missing, is not a ZIP archive of arrays, or is damaged.
    """
    if not path.is_file():
        raise InputError(f"missing; {REMEDY}", path=path)
    content = path.read_bytes()
    try:
        _check_size(content, path)
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            if set(file.files) != set(_DTYPES):
                raise InputError(f"not a file of omr eval; {REMEDY}", path=path)
            return {name: file[name] for name in _DTYPES}
    except _DAMAGE as error:
        raise InputError(f"damaged, or not a file of omr eval; {REMEDY}", path=path) from error


def _check_size(content: bytes, path: Path) -> None:
    """Check that the arrays fit into memory: an archive of 1 MB can unpack to 1 GB."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        n_bytes = sum(entry.file_size for entry in archive.infolist())
    if n_bytes > MAX_BYTES:
        reason = f"unpacks to {n_bytes:,} bytes; expected at most {MAX_BYTES:,}"
        raise InputError(reason, path=path)


def _problem(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return what is wrong with the arrays of a file; empty if nothing is."""
    if any(arrays[name].dtype.kind != np.dtype(dtype).kind for name, dtype in _DTYPES.items()):
        return "contains an array of another type"
    if arrays["format"].tolist() != [FORMAT]:
        return f"has file format {arrays['format'].tolist()}, expected [{FORMAT}]"
    for name, shape in _shapes(arrays).items():
        if arrays[name].shape != shape:
            return f"{name}: expected shape {shape}, got {arrays[name].shape}"
    if len(np.unique(arrays["images"])) < len(arrays["images"]):
        return "images: contains duplicates"
    if not np.isfinite(arrays["prediction_scores"]).all():
        return "prediction_scores: contains a non-finite score"
    return _symbol_problem("truth", arrays) or _symbol_problem("prediction", arrays)


def _symbol_problem(kind: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    boxes, labels = arrays[f"{kind}_boxes_xyxy"], arrays[f"{kind}_labels"]
    n_classes = len(arrays["names"])
    if (arrays[f"{kind}_counts"] < 0).any():
        return f"{kind}_counts: contains a negative number"
    if ((labels < 0) | (labels >= n_classes)).any():
        return f"{kind}_labels: contains a label that is not one of {n_classes} classes"
    if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
        return f"{kind}_boxes_xyxy: contains an invalid box"
    return ""


def _shapes(arrays: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes that follow from the numbers of images, classes and symbols."""
    n_images = arrays["images"].size
    n_truths, n_predictions = (
        int(arrays[f"{kind}_counts"].sum()) for kind in ("truth", "prediction")
    )
    return {
        "names": (arrays["names"].size,),
        "images": (n_images,),
        "sizes": (n_images, 2),
        "staff_spaces": (n_images,),
        "truth_counts": (n_images,),
        "truth_boxes_xyxy": (n_truths, 4),
        "truth_labels": (n_truths,),
        "prediction_counts": (n_images,),
        "prediction_boxes_xyxy": (n_predictions, 4),
        "prediction_labels": (n_predictions,),
        "prediction_scores": (n_predictions,),
    }


def _pages(kind: str, arrays: Mapping[str, NDArray[Any]]) -> Iterator[Page]:
    """Yield the pages of a file, with scores if they are predictions."""
    ends = arrays[f"{kind}_counts"].cumsum()
    boxes = arrays[f"{kind}_boxes_xyxy"]
    labels = arrays[f"{kind}_labels"].astype(np.int64)
    scores = arrays["prediction_scores"] if kind == "prediction" else None
    for i, image in enumerate(arrays["images"].tolist()):
        rows = slice(int(ends[i - 1]) if i else 0, int(ends[i]))
        height, width = arrays["sizes"][i].tolist()
        space = float(arrays["staff_spaces"][i])
        yield Page(
            image=PurePosixPath(image),
            width=width,
            height=height,
            boxes_xyxy=boxes[rows],
            labels=labels[rows],
            scores=None if scores is None else scores[rows],
            staff_space=None if np.isnan(space) else space,
        )
