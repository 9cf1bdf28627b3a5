"""Settings in YAML files: ``omr train --config FILE`` and the ``omr.yaml`` of a run."""

from collections.abc import Mapping
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
    values, problems = checked_settings(read(file, "configuration file").value)
    if problems:
        raise InputError("; ".join(problems), path=file)
    return values


def checked_settings(content: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Convert the settings of a YAML mapping, and list its problems.

    Args:
        content: Values by the names of settings, as in a configuration file.

    Returns:
        Valid values, see :func:`read_settings`, and a description of each problem.
    """
    known = {name: s for name, s in settings_of(TrainingSettings).items() if s.declared.in_file}
    values: dict[str, Any] = {}
    unknown = content.keys() - known.keys()
    problems = [f"unknown settings: {with_nearest(unknown, known)}"] if unknown else []
    for name, value in content.items():
        if name in unknown:
            continue
        try:
            values |= _data(value) if name == "data" else {name: known[name].from_yaml(value)}
        except ValueError:
            problems.append(f"{name}: expected {_expected(known[name])}, got {value!r}")
    return values, problems


def _data(value: object) -> dict[str, Any]:
    """Convert ``data``, one data set or a list of several, into ``data`` and ``joint``."""
    joint = settings_of(TrainingSettings)["joint"]
    first, *others = joint.from_yaml(value if isinstance(value, list) else [value])
    return {"data": first, "joint": tuple(others)}


def _expected(declared: Setting) -> str:
    return "a path or a list of paths" if declared.name == "data" else declared.expected()


def settings_text(settings: TrainingSettings) -> str:
    """Format settings as the YAML that :func:`read_settings` reads, with absolute paths."""
    values = {name: getattr(settings, name) for name in settings_of(TrainingSettings)}
    return yaml.safe_dump(yaml_values(values), sort_keys=False)


def yaml_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert settings to the values of a configuration file, in the order of their declaration.

    Args:
        values: Settings by name, or some of them.
    """
    content = {
        name: declared.to_yaml(values[name])
        for name, declared in settings_of(TrainingSettings).items()
        if declared.declared.in_file and name in values
    }
    if joint := values.get("joint"):
        content["data"] = [content["data"], *(str(path.absolute()) for path in joint)]
    return content
