"""File that describes a session: settings that all runs share, and the runs or a grid of values."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from class_maps import with_nearest
from class_maps.errors import shown
from class_maps.yaml_files import Checked, read
from settings.setting import settings_of
from settings.training import TrainingSettings
from settings.yaml_file import checked_settings, yaml_values

KEYS = "name", "base", "runs", "grid", "eval"
EVAL_KEYS = "data", "split", "unit"
MAX_RUNS = 1000
"""Maximum number of runs; a larger grid is probably a mistake."""
NAME = re.compile(r"\w[\w.+=-]*")
"""Valid names of runs, which are also names of folders."""
MAX_NAME = 100
OF_SESSION = {"out": "the session chooses it", "device": "--devices chooses it"}
"""Settings that a run cannot have, and the reason."""
SEED = "seed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Reason why a session cannot start."""

    run: str
    """Name of the run; empty for the whole session."""
    problem: str

    def __str__(self) -> str:
        return f"{self.run}: {self.problem}" if self.run else self.problem


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """Run of a session."""

    name: str
    group: str
    """Name that it shares with the runs from which only its seed differs."""
    settings: Mapping[str, Any]
    """Chosen settings as in a configuration file, with absolute paths to data sets."""

    def recipe(self) -> dict[str, Any]:
        """Return all settings with their defaults, without the seed."""
        known = settings_of(TrainingSettings).values()
        defaults = {s.name: s.to_yaml(s.default) for s in known if s.name not in {"data", "out"}}
        return {k: v for k, v in (defaults | {**self.settings}).items() if k != SEED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoring:
    """Evaluation that all runs share."""

    data: str
    """Data set to score on."""
    split: str = "val"
    unit: str = ""
    """``page`` or ``tile``; empty for the default of ``omr eval``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionSpec:
    """Session as described by its file."""

    path: Path
    name: str
    scoring: Scoring
    runs: tuple[PlannedRun, ...]
    faults: tuple[Fault, ...]
    """Everything that is wrong with the file."""


def read_spec(path: Path) -> SessionSpec:
    """Read the file of a session; faults of its runs are collected, not raised.

    Args:
        path: YAML file with ``base``, ``runs`` or ``grid``, ``name`` and ``eval``.

    Raises:
        InputError: The file cannot be read, or is not a mapping of these keys.
    """
    content = read(path, "session")
    content.only_keys(*KEYS)
    base = _settings(content, "base")
    faults: list[Fault] = []
    combined = [*_combined(content, base, faults)]
    runs = []
    for name, values in combined:
        run_faults, settings = _checked(name, values)
        faults += run_faults
        if not run_faults:
            runs.append((name, settings))
    counts = Counter(name for name, _ in combined)
    faults += [_repeated(name) for name, n in counts.items() if n > 1]
    planned = _grouped(runs)
    faults += _equal_runs(planned)
    scoring, scoring_faults = _scoring(content, planned)
    return SessionSpec(
        path=path,
        name=content.string("name") if "name" in content.value else path.stem,
        scoring=scoring,
        runs=tuple(planned),
        faults=(*faults, *scoring_faults),
    )


def _settings(content: Checked, key: str) -> dict[str, Any]:
    """Return the settings below a key; empty if the key or its value is missing."""
    if content.value.get(key) is None:
        return {}
    return content.mapping(key).value


def _combined(
    content: Checked, base: Mapping[str, Any], faults: list[Fault]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and settings of every run: each of ``runs`` with each point of ``grid``."""
    named = {name: _settings(content.mapping("runs"), name) for name in _settings(content, "runs")}
    grid = _settings(content, "grid")
    if problem := _missing_runs(content, named, grid):
        faults.append(Fault(run="", problem=problem))
        return
    faults += _grid_faults(grid, named)
    axes = {key: values for key, values in grid.items() if isinstance(values, list) and values}
    if len(axes) < len(grid) and not named:
        return
    if SEED in axes:  # last, so that the runs of a group are next to each other
        axes[SEED] = axes.pop(SEED)
    n_runs = max(len(named), 1) * prod(map(len, axes.values()))
    if n_runs > MAX_RUNS:
        faults.append(Fault(run="", problem=f"{n_runs:,} runs; expected at most {MAX_RUNS:,}"))
        return
    for name, settings in (named or {"": {}}).items():
        for point in product(*axes.values()):
            values = dict(zip(axes, point, strict=True))
            parts = [name, *(_part(key, value) for key, value in values.items())]
            yield "_".join(filter(None, parts)), {**base, **settings, **values}


def _missing_runs(content: Checked, named: Collection[str], grid: Collection[str]) -> str:
    """Return why a file contains no runs; empty if it contains some."""
    if "runs" in content.value and not named:
        return "runs: empty; name at least one run"
    if "grid" in content.value and not grid:
        return "grid: empty; give a list of values per setting"
    return "" if named or grid else "no runs; give runs, grid or both"


def _grid_faults(grid: Mapping[str, Any], named: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    faults = []
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            problem = f"grid.{key}: expected a list of values, got {shown(values)}"
            faults.append(Fault(run="", problem=problem))
        faults += [
            Fault(run=name, problem=f"{key}: set by runs and by grid; drop one of them")
            for name, settings in named.items()
            if key in settings
        ]
    return faults


def _part(key: str, value: object) -> str:
    """Return the part of a run's name for a value of the grid."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return re.sub(r"[^\w.+=-]+", "-", f"{key}-{text}")


def _checked(name: str, values: Mapping[str, Any]) -> tuple[list[Fault], dict[str, Any]]:
    """Check the name and the settings of a run; return its faults and its settings."""
    problems = [f"{key}: {reason}; drop it" for key, reason in OF_SESSION.items() if key in values]
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        problems.append(
            f"not a valid name of a run; expected at most {MAX_NAME} letters, digits or . _ - + =, "
            "beginning with a letter, digit or _"
        )
    own = {key: value for key, value in values.items() if key not in OF_SESSION}
    settings, invalid = checked_settings(own)
    if "data" not in own:
        problems.append("data: missing; give it in base")
    return [Fault(run=name, problem=one) for one in problems + invalid], yaml_values(settings)


def _repeated(name: str) -> Fault:
    return Fault(run=name, problem="several values of the grid give this name; use runs for them")


def _grouped(runs: Sequence[tuple[str, dict[str, Any]]]) -> list[PlannedRun]:
    """Group the runs that differ only in their seed."""
    single = [PlannedRun(name=name, group=name, settings=settings) for name, settings in runs]
    recipes: dict[str, list[PlannedRun]] = {}
    for run in single:
        recipes.setdefault(repr(sorted(run.recipe().items())), []).append(run)
    names = {key: _group_name([run.name for run in group]) for key, group in recipes.items()}
    counts = Counter(names.values())
    return [
        PlannedRun(
            name=run.name,
            group=names[key] if counts[names[key]] == 1 else recipes[key][0].name,
            settings=run.settings,
        )
        for run in single
        for key in [repr(sorted(run.recipe().items()))]
    ]


def _group_name(names: Sequence[str]) -> str:
    """Return what names have in common: ``a`` for ``a_seed-0`` and ``a_seed-1``."""
    if len(names) == 1:
        return names[0]
    common = names[0]
    while not all(name.startswith(common) for name in names):
        common = common[:-1]
    return re.sub(rf"[_.=+-]*({SEED})?[_.=+-]*$", "", common) or f"{SEED}s"


def _equal_runs(runs: Sequence[PlannedRun]) -> list[Fault]:
    """Report runs that would train the same model again."""
    first: dict[str, str] = {}
    faults = []
    default = settings_of(TrainingSettings)[SEED].default
    for run in runs:
        key = repr((sorted(run.recipe().items()), run.settings.get(SEED, default)))
        other = first.setdefault(key, run.name)
        if other != run.name:
            faults.append(Fault(run=run.name, problem=f"has the same settings as {other}"))
    return faults


def _scoring(content: Checked, runs: Sequence[PlannedRun]) -> tuple[Scoring, list[Fault]]:
    """Read how the runs are scored; by default on ``val`` of the first data set they train on."""
    values = _settings(content, "eval")
    faults = []
    if unknown := values.keys() - set(EVAL_KEYS):
        problem = f"eval: unknown: {with_nearest(unknown, EVAL_KEYS)}"
        faults.append(Fault(run="", problem=problem))
    if values.get("unit", "page") not in ("page", "tile"):
        problem = f"eval.unit: expected page or tile, got {shown(values['unit'])}"
        faults.append(Fault(run="", problem=problem))
    if invalid := [key for key in ("data", "split") if not isinstance(values.get(key, ""), str)]:
        problem = f"eval: expected text: {', '.join(invalid)}"
        faults.append(Fault(run="", problem=problem))
    folders = dict.fromkeys(_first_data(run) for run in runs)
    if "data" not in values and len(folders) > 1:
        problem = "the runs train on different data; give eval: {data: ...} to compare them"
        faults.append(Fault(run="", problem=problem))
    own = values.get("data")
    data = str(Path(str(own)).expanduser().absolute()) if own else next(iter(folders), "")
    split, unit = str(values.get("split", "val")), str(values.get("unit", ""))
    return Scoring(data=data, split=split, unit=unit), faults


def _first_data(run: PlannedRun) -> str:
    data = run.settings["data"]
    return str(data[0] if isinstance(data, list) else data)
