"""Training runs in folders: their recipe, data, progress and validation score, without torch."""

import csv
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from class_maps import ConfigError, InputError, with_nearest, yaml_files
from class_maps.text_files import decoded, read_bytes
from converters.files.output_lock import check_unlocked
from converters.names import count_of
from eval.html.number_format import NONE
from settings.run_files import (
    CONFIG_FILE,
    LAST_WEIGHTS,
    MAP,
    MAP50,
    PAGE_MAP,
    RECORD_FILE,
    RESULTS_FILE,
    STATE_FILE,
    WEIGHTS_FOLDER,
)

Status: TypeAlias = Literal["finished", "running", "interrupted", "broken"]
"""``interrupted`` runs can be resumed; ``broken`` ones have missing or damaged files."""
SortKey: TypeAlias = Literal["score", "path", "recipe", "data", "epochs", "seconds"]
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)
NOT_RECIPE = frozenset({"data", "out", "device", "workers", "seed", "trust", "tensorboard"})
"""Settings that do not belong to the recipe: runs of one recipe may differ in them."""
HASH_DIGITS = 8
MAX_BYTES = 64 << 20
"""Maximum size of a file of a run, apart from weights."""
MAX_EPOCHS = 1_000_000
"""Highest number of epochs that is not taken for damage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationScore:
    """Validation metrics of the best epoch."""

    epoch: int
    ap: float
    """Mean AP over IoU .5:.05:.95 of the images as they are, by Ultralytics."""
    ap50: float
    page_ap: float | None
    """Mean AP of the pages that the images are tiles of; None if they are unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEntry:
    """A training run, as far as its files can be read."""

    path: Path
    status: Status
    problems: tuple[str, ...]
    """Files that are missing or damaged; empty unless the run is broken."""
    recipe: str
    """Short hash of the settings that runs of one recipe share; empty if they are unknown."""
    settings: Mapping[str, Any]
    """Resolved settings by name."""
    data: str
    """Short hash of the data sets: classes, images and labels; empty if it is unknown."""
    folders: tuple[str, ...]
    """Folders of the data sets."""
    epochs: int
    """Finished epochs."""
    planned_epochs: int | None
    seconds: float | None
    """Training time."""
    score: ValidationScore | None
    """None without validation."""

    def to_json(self) -> dict[str, Any]:
        """Return nested dicts, lists and numbers."""
        return asdict(self) | {"path": str(self.path)}

    def values(self) -> dict[str, str]:
        """Return the texts that filters compare, by name."""
        texts = {name: setting_text(value) for name, value in self.settings.items()}
        facts = {"status": self.status, "recipe": self.recipe, "data": self.data}
        return texts | {"path": str(self.path), "epochs": str(self.epochs)} | facts


def find_runs(folders: Iterable[Path]) -> list[RunEntry]:
    """Read the training runs in folders and their subfolders.

    Args:
        folders: Folders to search; hidden subfolders are skipped, and links are not followed.

    Returns:
        Runs, each once, sorted by path.

    Raises:
        ConfigError: The folders contain no runs.
    """
    folders = list(folders)
    paths = {path.resolve(): path for folder in folders for path in _run_folders(folder)}
    if not paths:
        raise ConfigError(f"{' '.join(map(str, folders))}: contains no training runs")
    return [read_run(path) for path in sorted(paths.values())]


def _run_folders(folder: Path) -> Iterator[Path]:
    for current, names, files in os.walk(folder):
        markers = {CONFIG_FILE, RECORD_FILE}
        is_run = bool(markers & set(files)) or (RESULTS_FILE in files and WEIGHTS_FOLDER in names)
        names[:] = [] if is_run else [name for name in names if not name.startswith(".")]
        if is_run:
            yield Path(current)


def read_run(path: Path) -> RunEntry:
    """Read what the files of a run folder contain; damaged files are listed as problems."""
    problems: list[str] = []
    settings = _settings(path / CONFIG_FILE, problems)
    record = _record(path / RECORD_FILE, problems)
    rows = epoch_rows(path / RESULTS_FILE, problems)
    weights = path / WEIGHTS_FOLDER
    if rows and not (weights / LAST_WEIGHTS).is_file():
        problems.append(f"{WEIGHTS_FOLDER}/{LAST_WEIGHTS}: missing")
    planned = settings.get("epochs")
    planned_epochs = planned if isinstance(planned, int) else None
    epochs = int(max((row["epoch"] for row in rows), default=0))
    has_state = (weights / STATE_FILE).is_file()
    status: Status = "finished"
    if _is_running(path):
        status, problems = "running", []
    elif has_state and not problems:
        status = "interrupted"
    elif planned_epochs and epochs < planned_epochs:
        problems.append(_unfinished(epochs, planned_epochs))
    return RunEntry(
        path=path,
        status="broken" if problems else status,
        problems=tuple(problems),
        recipe=_hash({k: v for k, v in settings.items() if k not in NOT_RECIPE}),
        settings=settings,
        data=_hash(
            [{k: v for k, v in d.items() if k not in {"folder", "manifest"}} for d in record]
        ),
        folders=tuple(str(data.get("folder", "")) for data in record),
        epochs=epochs,
        planned_epochs=planned_epochs,
        seconds=max((row["time"] for row in rows if "time" in row), default=None),
        score=_score(rows),
    )


def _unfinished(epochs: int, planned: int) -> str:
    """Describe a run with too few epochs, which removed its resume state, or never wrote it."""
    missing = f"{WEIGHTS_FOLDER}/{STATE_FILE}: missing"
    if not epochs:
        return f"{missing}, cannot be resumed"
    return (
        f"{RESULTS_FILE}: {epochs} of {planned} epochs, and {missing}; the run finished and lost "
        "rows, or it cannot be resumed"
    )


def _settings(file: Path, problems: list[str]) -> dict[str, Any]:
    """Read the configuration; settings of other versions are kept."""
    content = _content(file, yaml_files.parse, problems)
    if isinstance(content, dict):
        return {str(name): value for name, value in content.items()}
    if content is not None:
        problems.append(f"{file.name}: damaged")
    return {}


def _record(file: Path, problems: list[str]) -> list[dict[str, Any]]:
    """Read the hashes of the data sets."""
    content = _content(file, _json, problems)
    data = content.get("data") if isinstance(content, dict) else None
    if isinstance(data, list) and all(isinstance(entry, dict) for entry in data):
        return data
    if content is not None:
        problems.append(f"{file.name}: damaged")
    return []


def epoch_rows(file: Path, problems: list[str]) -> list[dict[str, float]]:
    """Read the values of each epoch by their names in ``results.csv``.

    Args:
        file: ``results.csv`` of a run, which is missing before the first epoch has ended.
        problems: Extended by a description of what is damaged.
    """
    if not file.exists():
        return []
    lines = _content(file, _lines, problems)
    try:
        rows = [
            {name.strip(): float(value) for name, value in line.items()} for line in lines or []
        ]
        epochs = {int(row["epoch"]) for row in rows}
        if not all(0 <= epoch <= MAX_EPOCHS for epoch in epochs):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        problems.append(f"{file.name}: damaged")
        return []
    if lost := sorted({*range(1, max(epochs, default=0))} - epochs):
        problems.append(f"{file.name}: no rows of {count_of(lost, 'epoch')}")
    return rows


def _content(file: Path, parse: Any, problems: list[str]) -> Any:  # noqa: ANN401
    """Parse a file; None, with a problem, if that is impossible."""
    if not file.exists():
        problems.append(f"{file.name}: missing")
        return None
    try:
        content = read_bytes(file, "file of omr train", max_bytes=MAX_BYTES)
    except InputError as error:
        problems.append(f"{file.name}: {error.reason}")
        return None
    try:
        return parse(content, path=file)
    except (InputError, ValueError, RecursionError, csv.Error):
        problems.append(f"{file.name}: damaged")
        return None


def _json(content: bytes, path: Path) -> Any:  # noqa: ANN401
    return json.loads(decoded(content, path))


def _lines(content: bytes, path: Path) -> list[dict[str, str]]:
    return [*csv.DictReader(decoded(content, path).splitlines())]


def _is_running(path: Path) -> bool:
    try:
        check_unlocked(path)
    except ConfigError:
        return True
    return False


def _score(rows: Iterable[Mapping[str, float]]) -> ValidationScore | None:
    """Return the metrics of the best epoch; None without validation."""
    scored = [row for row in rows if math.isfinite(row.get(MAP, math.nan)) and MAP50 in row]
    if not scored:
        return None
    best = max(scored, key=lambda row: row.get(PAGE_MAP, row[MAP]))  # as a run selects it
    return ValidationScore(
        epoch=int(best["epoch"]), ap=best[MAP], ap50=best[MAP50], page_ap=best.get(PAGE_MAP)
    )


def _hash(content: Any) -> str:  # noqa: ANN401
    if not content:
        return ""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def filtered(runs: Iterable[RunEntry], conditions: Iterable[str]) -> list[RunEntry]:
    """Return the runs that meet all conditions.

    Args:
        runs: Runs to filter.
        conditions: Texts such as ``model=yolo11n``: a setting, ``status``, ``recipe``, ``data``,
            ``epochs`` or ``path``, and its value.

    Raises:
        ConfigError: A condition is malformed, or no run has such a setting.
    """
    kept = list(runs)
    known = {name for run in kept for name in run.values()}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise ConfigError("expected NAME=VALUE", option="--where", value=condition)
        if name not in known:
            reason = f"unknown name: {with_nearest([name], known)}"
            raise ConfigError(reason, option="--where", value=condition)
        kept = [run for run in kept if run.values().get(name) == value]
    return kept


def in_order(runs: Iterable[RunEntry], key: SortKey) -> list[RunEntry]:
    """Sort runs: by score the best first, by other keys ascending; unknown values last.

    The score is that of pages if it is known for all runs with a score.
    """
    runs = list(runs)
    are_pages_scored = all(run.score.page_ap is not None for run in runs if run.score)

    def value(run: RunEntry) -> tuple[bool, Any]:
        if key == "score":
            score = run.score and (run.score.page_ap if are_pages_scored else run.score.ap)
            return run.score is None, -(score or 0.0)
        sorted_by = getattr(run, key)
        is_number = key in {"epochs", "seconds"}
        return sorted_by in (None, ""), sorted_by or 0 if is_number else str(sorted_by)

    return sorted(runs, key=value)


def differing_settings(runs: Iterable[RunEntry]) -> dict[str, dict[str, str]]:
    """Return the settings of each recipe in which recipes differ, by the recipe's hash.

    Settings that a recipe does not have, or that are empty, are a dash.
    """
    recipes = {run.recipe: run.settings for run in runs if run.recipe}
    names = dict.fromkeys(name for settings in recipes.values() for name in settings)
    texts = {
        recipe: {
            name: setting_text(settings.get(name, "")) or NONE
            for name in names
            if name not in NOT_RECIPE
        }
        for recipe, settings in recipes.items()
    }
    differing = [
        name
        for name in names
        if name not in NOT_RECIPE and len({values[name] for values in texts.values()}) > 1
    ]
    return {recipe: {name: values[name] for name in differing} for recipe, values in texts.items()}


def setting_text(value: object) -> str:
    """Return a setting as on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(setting_text, value)) if isinstance(value, list) else str(value)
