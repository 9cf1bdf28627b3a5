"""Readers of pairs of classes that are confused with each other.

A list of pairs has two names per line, separated by a comma or tab, or by a blank if no name
contains one::

    accidentalSharp, accidentalNatural     # a comment

or is a YAML list of lists of two names. A confusion matrix is a CSV file whose first line and first
column contain the names, or JSON: ``{"names": [...], "matrix": [[...], ...]}``. A row and column
``background`` are ignored.

Shapes: C classes, K names of a file.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError, listed, shown, with_nearest, yaml_files
from class_maps.text_files import read_text
from converters.json_text import decode_unique
from training.grouping.statistics import Floats

Conflicts = NDArray[np.bool_]
"""Pairs of classes that are confused with each other: symmetric, shape ``(C, C)``."""

BACKGROUND = "background"
_COMMENT = re.compile(r"(?:^|\s)#.*")
"""A comment; within a name, as in C#, the sign belongs to the name."""


def read_pairs(path: Path, names: Sequence[str]) -> Conflicts:
    """Read a list of pairs.

    Args:
        path: YAML file ending in ``.yaml`` or ``.yml``, or text file with two names per line.
        names: Class names, indexed by label.

    Raises:
        InputError: The file cannot be read, contains no pairs, or contains an invalid pair.
    """
    is_yaml = path.suffix in {".yaml", ".yml"}
    pairs = _yaml_pairs(path) if is_yaml else _lines(_text(path), path)
    for where, pair in pairs:
        if len(pair) != 2:
            content = listed(pair) or "nothing"
            raise InputError(f"expected two names, got: {content}", path=path, where=where)
        if pair[0] == pair[1]:
            reason = f"{pair[0]} is paired with itself; give two classes"
            raise InputError(reason, path=path, where=where)
    if not pairs:
        raise InputError("contains no pairs of names", path=path)
    _check_names([name for _, pair in pairs for name in pair], names, path)
    label = {name: i for i, name in enumerate(names)}
    conflicts = np.zeros((len(names), len(names)), np.bool_)
    for _, (one, other) in pairs:
        conflicts[label[one], label[other]] = conflicts[label[other], label[one]] = True
    return conflicts


def read_confusion(path: Path, names: Sequence[str], threshold: float = 0.0) -> Conflicts:
    """Read a confusion matrix.

    Args:
        path: JSON file ending in ``.json``, or CSV file.
        names: Class names, indexed by label; classes missing from the file have no conflicts.
        threshold: Two classes conflict if the sum of their two entries exceeds it.

    Raises:
        InputError: The file cannot be read, or does not contain names and a square matrix of
            non-negative numbers.
    """
    file_names, matrix = (_json if path.suffix == ".json" else _csv)(_text(path), path)
    if repeated := sorted(name for name, n in Counter(file_names).items() if n > 1):
        raise InputError(f"duplicate: {listed(repeated)}", path=path, where="names")
    known = [name for name in file_names if name in names or name != BACKGROUND]
    _check_names(known, names, path)
    indices = [file_names.index(name) for name in known]
    both = (matrix + matrix.T)[np.ix_(indices, indices)]
    labels = [list(names).index(name) for name in known]
    conflicts = np.zeros((len(names), len(names)), np.bool_)
    conflicts[np.ix_(labels, labels)] = both > threshold
    np.fill_diagonal(conflicts, val=False)
    return conflicts


def _text(path: Path) -> str:
    return read_text(path, "file of class pairs", max_bytes=yaml_files.MAX_BYTES)


def _check_names(file_names: Sequence[str], names: Sequence[str], path: Path) -> None:
    if unknown := set(file_names) - set(names):
        raise InputError(f"not a class of the data: {with_nearest(unknown, names)}", path=path)


def _yaml_pairs(path: Path) -> list[tuple[str, list[str]]]:
    data = yaml_files.read_any(path, "file of class pairs", as_written="")
    if not isinstance(data, list) or not all(isinstance(pair, list) for pair in data):
        raise InputError("expected a list of lists of two names", path=path)
    for i, pair in enumerate(data):
        if not all(isinstance(name, str) for name in pair):
            reason = f"expected names, got {shown(pair)}"
            raise InputError(reason, path=path, where=f"[{i}]")
    return [(f"[{i}]", pair) for i, pair in enumerate(data)]


def _lines(text: str, path: Path) -> list[tuple[str, list[str]]]:
    pairs = []
    for i, raw in enumerate(text.splitlines()):
        line = _COMMENT.sub("", raw).strip()
        delimiter = next((mark for mark in ",\t" if mark in line), None)
        if line:
            pair = _rows([line], delimiter, path)[0] if delimiter else line.split()
            pairs.append((f"line {i + 1}", pair))
    return pairs


def _rows(lines: Sequence[str], delimiter: str, path: Path) -> list[list[str]]:
    """Split lines into cells, which may be quoted; empty lines are skipped."""
    try:
        rows = [*csv.reader(lines, delimiter=delimiter)]
    except csv.Error as error:
        raise InputError(f"malformed: {error}", path=path) from error
    return [[cell.strip() for cell in row] for row in rows if any(row)]


class _Matrix(msgspec.Struct):
    names: list[str]
    matrix: list[list[float]]


def _json(text: str, path: Path) -> tuple[list[str], Floats]:
    expected = "an object with the lists names and matrix"
    content = decode_unique(text.encode(), _Matrix, path, expected=expected)
    return content.names, _square(content.matrix, len(content.names), path)


def _csv(text: str, path: Path) -> tuple[list[str], Floats]:
    rows = _rows(text.splitlines(), ",", path)
    if not rows:
        raise InputError("empty; expected a line of names and one line per name", path=path)
    names = rows[0][1:]
    if [row[0] for row in rows[1:]] != names:
        reason = "expected the names of the first line, in the same order, as the first column"
        raise InputError(reason, path=path)
    return names, _square([row[1:] for row in rows[1:]], len(names), path)


def _square(rows: Sequence[Sequence[object]], n_names: int, path: Path) -> Floats:
    if len(rows) != n_names or any(len(row) != n_names for row in rows):
        reason = f"expected {n_names} rows of {n_names} numbers, one per name"
        raise InputError(reason, path=path, where="matrix")
    try:
        matrix = np.array(rows, dtype=np.float64).reshape(n_names, n_names)
    except (TypeError, ValueError):
        matrix = np.full((1, 1), np.nan)
    if not (np.isfinite(matrix) & (matrix >= 0)).all():
        raise InputError("expected non-negative numbers", path=path, where="matrix")
    return matrix
