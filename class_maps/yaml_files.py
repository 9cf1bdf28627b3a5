"""Reader of YAML files written by users, with errors that name the location of the problem."""

from collections.abc import Sequence
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any

import yaml

from class_maps.errors import ConfigError, InputError, with_nearest


def shipped(package: str, folder: str) -> tuple[str, ...]:
    """List the YAML files in a folder of a package, without their suffix."""
    entries = (files(package) / folder).iterdir()
    return tuple(sorted(Path(str(f)).stem for f in entries if f.name.endswith(".yaml")))


def find(name: str, package: str, folder: str, kind: str, *, option: str = "") -> Path:
    """Return the path of a file that comes with a package or was written by the user.

    Args:
        name: Name of a file in the package without its suffix, or path of a YAML file.
        package: Package that contains the files.
        folder: Folder of the files inside the package.
        kind: Kind of file, for the error message: ``class map``.
        option: Prefix of the error message, such as ``--heads:`` and a space.

    Raises:
        ConfigError: The package contains no such file.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    known = shipped(package, folder)
    if name not in known:
        raise ConfigError(
            f"{option}unknown {kind}: {with_nearest([name], known)}; expected one of "
            f"{', '.join(known)}, or the path of a .yaml file"
        )
    return Path(str(files(package) / folder / f"{name}.yaml"))


class Checked:
    """A YAML mapping with its location in the file."""

    def __init__(self, value: Any, path: Path, where: str) -> None:  # noqa: ANN401
        self.path, self.where = path, where
        if not isinstance(value, dict):
            raise self.error(f"expected a mapping, got {_described(value)}", "")
        if invalid := [key for key in value if not isinstance(key, str)]:
            raise self.error(
                f"expected names as keys, got {invalid}; quote names that YAML reads as numbers or "
                "booleans",
                "",
            )
        self.value: dict[str, Any] = value

    def error(self, reason: str, key: str) -> InputError:
        """Create an error at the location of a key."""
        where = ".".join(part for part in (self.where, key) if part)
        return InputError(reason, path=self.path, where=where)

    def only_keys(self, *known: str) -> None:
        """Check that all keys are known.

        Raises:
            InputError: A key is unknown.
        """
        if unknown := set(self.value) - set(known):
            raise self.error(
                f"unknown: {with_nearest(unknown, known)}; expected: {', '.join(known)}", ""
            )

    def _get(self, key: str) -> Any:  # noqa: ANN401
        if key not in self.value:
            raise self.error("missing", key)
        return self.value[key]

    def mapping(self, key: str) -> "Checked":
        """Return the value as a mapping; like the other getters, reject values of other types."""
        return Checked(self._get(key), self.path, ".".join(filter(None, (self.where, key))))

    def string(self, key: str) -> str:
        """Return a string that is not empty."""
        value = self._get(key)
        if not isinstance(value, str) or not value:
            raise self.error(f"expected a name, got {_described(value)}", key)
        return value

    def strings(self, key: str) -> list[str]:
        """Return a list of strings that are not empty."""
        value = self._get(key)
        if not isinstance(value, list):
            raise self.error(f"expected a list of names, got {_described(value)}", key)
        for i, entry in enumerate(value):
            if not isinstance(entry, str) or not entry:
                raise self.error(f"expected a name, got {_described(entry)}", f"{key}[{i}]")
        return value

    def mappings(self, key: str) -> list["Checked"]:
        """Return a list of mappings."""
        value = self._get(key)
        if not isinstance(value, list):
            raise self.error(f"expected a list, got {_described(value)}", key)
        where = ".".join(filter(None, (self.where, key)))
        return [Checked(entry, self.path, f"{where}[{i}]") for i, entry in enumerate(value)]

    def number(self, key: str, default: float) -> float:
        """Return a finite number above 0."""
        value = self.value.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
            raise self.error(f"expected a number above 0, got {_described(value)}", key)
        return value

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        """Return a string that is one of ``known``."""
        value = self.value.get(key, default)
        if value not in known:
            raise self.error(f"expected one of {', '.join(known)}, got {_described(value)}", key)
        return str(value)


class _UniqueKeyLoader(yaml.SafeLoader):
    """A YAML loader that rejects duplicate keys."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        line = node.start_mark.line + 1
        raise yaml.YAMLError(f"duplicate keys in the mapping at line {line}: {', '.join(repeated)}")
    return dict(loader.construct_pairs(node, deep=True))


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read(path: Path, kind: str) -> Checked:
    """Read a YAML file whose root is a mapping.

    Args:
        path: File to read.
        kind: Kind of file, for the error message: ``class map``.

    Raises:
        InputError: The file cannot be read, is not YAML, has a duplicate key, or is not a mapping.
    """
    return Checked(_parse(path, kind), path, "")


def _parse(path: Path, kind: str) -> Any:  # noqa: ANN401
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except FileNotFoundError:
        raise InputError(f"no such {kind}", path=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from error
    except yaml.YAMLError as error:
        raise InputError(" ".join(str(error).split()), path=path) from error


def _described(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"
