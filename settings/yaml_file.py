"""Settings in YAML files: ``omr train --config FILE`` and the ``omr.yaml`` of a run."""

from pathlib import Path
from typing import Any

import yaml

from class_maps import InputError, with_nearest
from class_maps.yaml_files import read
from settings.setting import Setting, settings_of
from settings.training import TrainingSettings


def read_settings(file: Path) -> dict[str, Any]:
    """Read the settings that a YAML file contains.

    Relative paths are kept unchanged, so they refer to the working directory.

    Args:
        file: YAML file that maps names of settings to values; ``data`` may be a list of data sets.

    Returns:
        Values by the names of :class:`TrainingSettings`. Keywords such as ``auto`` are kept as
        text.

    Raises:
        InputError: The file cannot be read, or contains an unknown setting or an invalid value.
    """
    content = read(file, "configuration file").value
    known = {name: s for name, s in settings_of(TrainingSettings).items() if s.declared.in_file}
    if unknown := content.keys() - known.keys():
        raise InputError(f"unknown settings: {with_nearest(unknown, known)}", path=file)
    values: dict[str, Any] = {}
    problems = []
    for name, value in content.items():
        try:
            values |= _data(value) if name == "data" else {name: known[name].from_yaml(value)}
        except ValueError:
            problems.append(f"{name}: expected {_expected(known[name])}, got {value!r}")
    if problems:
        raise InputError("; ".join(problems), path=file)
    return values


def _data(value: object) -> dict[str, Any]:
    """Convert ``data``, one data set or a list of several, into ``data`` and ``joint``."""
    joint = settings_of(TrainingSettings)["joint"]
    first, *others = joint.from_yaml(value if isinstance(value, list) else [value])
    return {"data": first, "joint": tuple(others)}


def _expected(declared: Setting) -> str:
    return "a path or a list of paths" if declared.name == "data" else declared.expected()


def settings_text(settings: TrainingSettings) -> str:
    """Format settings as the YAML that :func:`read_settings` reads, with absolute paths."""
    content = {
        name: declared.to_yaml(getattr(settings, name))
        for name, declared in settings_of(TrainingSettings).items()
        if declared.declared.in_file
    }
    if settings.joint:
        content["data"] = [content["data"], *(str(path.absolute()) for path in settings.joint)]
    return yaml.safe_dump(content, sort_keys=False)
