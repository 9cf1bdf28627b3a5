"""Reads which classes are taken for one another.

Pairs are two names a line, with a comma or a tab between them (or a blank, where no name has one)::

    accidentalSharp, accidentalNatural     # what follows is a comment

or a YAML list of lists of two names. A confusion matrix is a CSV file whose first line and first
column are the names, or JSON: ``{"names": [...], "matrix": [[...], ...]}``. It may have a row and
column ``background``, which does not count.

Shapes: C classes, K names of a file.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from class_maps import InputError, with_nearest
from training.grouping.statistics import Floats

Conflicts = NDArray[np.bool_]
"""Which classes are taken for one another: symmetric, shape ``(C, C)``."""

BACKGROUND = "background"


def read_pairs(path: Path, names: Sequence[str]) -> Conflicts:
    """Read a list of pairs.

    Args:
        path: A ``.yaml`` or ``.yml`` file, or any other for two names a line.
        names: Class names; a label is a place in this list.

    Raises:
        InputError: The file cannot be read, has no pair, or something that is no pair of classes.
    """
    text = _text(path)
    pairs = _yaml_pairs(text, path) if path.suffix in {".yaml", ".yml"} else _lines(text)
    for where, words in pairs:
        if len(words) != 2:
            found = ", ".join(map(str, words)) or "nothing"
            raise InputError(f"expected two names, got: {found}", path=path, where=where)
        if words[0] == words[1]:
            reason = f"{words[0]} cannot be taken for itself; give two classes"
            raise InputError(reason, path=path, where=where)
    if not pairs:
        raise InputError("no pair of names in it", path=path)
    _check_names([name for _, words in pairs for name in words], names, path)
    label = {name: i for i, name in enumerate(names)}
    conflicts = np.zeros((len(names), len(names)), np.bool_)
    for _, (one, other) in pairs:
        conflicts[label[one], label[other]] = conflicts[label[other], label[one]] = True
    return conflicts


def read_confusion(path: Path, names: Sequence[str], threshold: float = 0.0) -> Conflicts:
    """Read a confusion matrix.

    Args:
        path: A ``.json`` file, or any other for CSV.
        names: Class names; a label is a place in this list. Those that the file leaves out are
            never taken for another.
        threshold: Two classes conflict where the entries of both directions add up to more.

    Raises:
        InputError: The file cannot be read, or is no square matrix of numbers from 0 with names.
    """
    own, matrix = (_json if path.suffix == ".json" else _csv)(_text(path), path)
    if repeated := sorted({name for name in own if own.count(name) > 1}):
        raise InputError(f"twice: {', '.join(repeated)}", path=path, where="names")
    known = [name for name in own if name in names or name != BACKGROUND]
    _check_names(known, names, path)
    places = [own.index(name) for name in known]
    both = (matrix + matrix.T)[np.ix_(places, places)]
    labels = [list(names).index(name) for name in known]
    conflicts = np.zeros((len(names), len(names)), np.bool_)
    conflicts[np.ix_(labels, labels)] = both > threshold
    np.fill_diagonal(conflicts, val=False)
    return conflicts


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # as spreadsheets write it
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from error


def _check_names(found: Sequence[str], names: Sequence[str], path: Path) -> None:
    if unknown := set(found) - set(names):
        raise InputError(f"not among the data's classes: {with_nearest(unknown, names)}", path=path)


def _yaml_pairs(text: str, path: Path) -> list[tuple[str, list[str]]]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(" ".join(str(error).split()), path=path) from error
    if not isinstance(data, list) or not all(isinstance(pair, list) for pair in data):
        raise InputError("expected a list of lists of two names", path=path)
    for i, pair in enumerate(data):
        if not all(isinstance(name, str) for name in pair):
            reason = f"expected names, got {pair}; YAML reads some bare words otherwise: quote them"
            raise InputError(reason, path=path, where=f"[{i}]")
    return [(f"[{i}]", pair) for i, pair in enumerate(data)]


def _lines(text: str) -> list[tuple[str, list[str]]]:
    pairs = []
    for i, whole in enumerate(text.splitlines()):
        line = whole.split("#")[0].strip()
        between = next((mark for mark in ",\t" if mark in line), None)
        if line:
            words = next(csv.reader([line], delimiter=between)) if between else line.split()
            pairs.append((f"line {i + 1}", [word.strip() for word in words]))
    return pairs


def _json(text: str, path: Path) -> tuple[list[str], Floats]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"no JSON: {error}", path=path) from error
    keys = ("names", "matrix")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in keys):
        raise InputError("expected a mapping with names and matrix, two lists", path=path)
    names = data["names"]
    if not all(isinstance(name, str) for name in names):
        raise InputError("expected a list of names", path=path, where="names")
    if not all(isinstance(row, list) for row in data["matrix"]):
        raise InputError("expected a list of lists", path=path, where="matrix")
    return names, _square(data["matrix"], len(names), path)


def _csv(text: str, path: Path) -> tuple[list[str], Floats]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if any(row)]
    if not rows:
        raise InputError("empty; expected a line of names and a line for each", path=path)
    names = rows[0][1:]
    if [row[0] for row in rows[1:]] != names:
        reason = "expected the names of the first line, in the same order, as the first column"
        raise InputError(reason, path=path)
    return names, _square([row[1:] for row in rows[1:]], len(names), path)


def _square(rows: Sequence[Sequence[object]], n_names: int, path: Path) -> Floats:
    if len(rows) != n_names or any(len(row) != n_names for row in rows):
        reason = f"expected {n_names} rows of {n_names} numbers, one for each name"
        raise InputError(reason, path=path, where="matrix")
    try:
        matrix = np.array(rows, dtype=np.float64).reshape(n_names, n_names)
    except (TypeError, ValueError):
        matrix = np.full((1, 1), np.nan)
    if not (np.isfinite(matrix) & (matrix >= 0)).all():
        raise InputError("expected numbers from 0 on", path=path, where="matrix")
    return matrix
