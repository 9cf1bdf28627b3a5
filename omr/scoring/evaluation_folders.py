"""Evaluations that ``omr eval --out`` wrote: single ones, and groups of runs with one recipe."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from class_maps import InputError
from converters.json_text import check_unique_keys
from omr.scoring.symbols_file import REMEDY, SYMBOLS_FILE, EvaluatedSymbols, read_symbols
from omr.scoring.truths_hash import hash_of_pages

REPORT_FILE = "report.json"


class SourceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Weights or predictions that were scored."""

    kind: str
    name: str
    sha256: str


class DataEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Data set that was scored."""

    name: str
    labels: str
    """Hash of the label files."""
    truths: str
    """Hash of the ground truth as it was scored."""
    unlabelled: str = ""
    """Hash of the classes that do not count on each page; empty if all of them count."""


class ClassesEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Classes of the data set."""

    name: str = ""
    classes: str
    """Hash of the class names."""


class SettingsEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that determine which predictions are scored."""

    max_det: int
    is_truncated: bool
    conf: float | None = None
    lowest_score: float | None = None
    imgsz: int | None = None
    staff_space: float | None = None
    tiles: dict[str, float] | None = None


class ProtocolEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Protocol of an evaluation, as in its report."""

    hash: str
    """Hash of everything that must agree for two scores to be comparable."""
    weights: SourceEntry
    data: DataEntry
    class_map: ClassesEntry
    split: str
    unit: str
    settings: SettingsEntry
    metrics: str
    """Definition of the metrics."""
    versions: dict[str, Any] = {}


class _Report(msgspec.Struct):
    protocol: ProtocolEntry


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evaluation:
    """Protocol, ground truth and predictions of one evaluation."""

    folder: Path
    protocol: ProtocolEntry
    symbols: EvaluatedSymbols


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvaluationGroup:
    """Evaluations of one model, or of several runs of one recipe."""

    folder: Path
    """Folder that the user named."""
    evaluations: tuple[Evaluation, ...]
    """At least one, sorted by folder."""
    skipped: tuple[str, ...] = ()
    """Names of subfolders without an evaluation."""


def read_group(folder: Path) -> EvaluationGroup:
    """Read an evaluation, or all evaluations in the subfolders of a folder.

    Args:
        folder: Folder that ``omr eval --out`` wrote, or a folder of such folders, one per seed of a
            recipe.

    Raises:
        InputError: There is no evaluation, a file is missing or damaged, or two evaluations of the
            group are of the same weights.
    """
    if _has_files(folder):
        return EvaluationGroup(folder=folder, evaluations=(_read(folder),))
    inner = [one for one in sorted(folder.iterdir()) if one.is_dir() and one.name[0] != "."]
    folders = [one for one in inner if _has_files(one)]
    if not folders:
        raise InputError(
            f"contains no evaluation; expected {REPORT_FILE} and {SYMBOLS_FILE} of "
            "`omr eval --out`, or folders that contain them",
            path=folder,
        )
    group = group_of(folder, folders)
    return replace(group, skipped=tuple(one.name for one in inner if one not in folders))


def group_of(name: Path, folders: Iterable[Path]) -> EvaluationGroup:
    """Read evaluations as one group.

    Args:
        name: Name of the group in reports, such as the folder that contains the evaluations.
        folders: Folders that ``omr eval --out`` wrote, one per run.

    Raises:
        InputError: A file is missing or damaged, or two evaluations are of the same weights.
    """
    evaluations = tuple(map(_read, folders))
    _check_different_weights(evaluations)
    return EvaluationGroup(folder=name, evaluations=evaluations)


def _has_files(folder: Path) -> bool:
    return any((folder / name).exists() for name in (REPORT_FILE, SYMBOLS_FILE))


def _read(folder: Path) -> Evaluation:
    protocol = _read_protocol(folder / REPORT_FILE)
    symbols = read_symbols(folder / SYMBOLS_FILE)
    if hash_of_pages(symbols.truths) != protocol.data.truths:
        reason = f"is not from the same evaluation as {REPORT_FILE}; {REMEDY}"
        raise InputError(reason, path=folder / SYMBOLS_FILE)
    return Evaluation(folder=folder, protocol=protocol, symbols=symbols)


def _read_protocol(file: Path) -> ProtocolEntry:
    if not file.is_file():
        raise InputError(f"missing; {REMEDY}", path=file)
    try:
        content = file.read_bytes()
        report = msgspec.json.decode(content, type=_Report)
    except msgspec.ValidationError as error:
        reason = f"not a report of this version of omr eval ({error}); {REMEDY}"
        raise InputError(reason, path=file) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"damaged, or not a report of omr eval; {REMEDY}", path=file) from error
    check_unique_keys(content, file)
    return report.protocol


def _check_different_weights(evaluations: tuple[Evaluation, ...]) -> None:
    """Check that all runs differ, since duplicates would make the spread of a group too small.

    Raises:
        InputError: Two evaluations are of the same weights or predictions.
    """
    first_of: dict[str, Evaluation] = {}
    for one in evaluations:
        other = first_of.setdefault(one.protocol.weights.sha256, one)
        if other is not one:
            raise InputError(
                f"evaluates the same weights as {other.folder.name}; keep one evaluation per run",
                path=one.folder,
            )
