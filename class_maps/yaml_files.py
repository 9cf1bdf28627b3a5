"""Reads YAML files that users write, and names the place of whatever is wrong in them."""

from collections.abc import Sequence
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any

import yaml

from class_maps.errors import ConfigError, InputError, with_nearest


def shipped(package: str, folder: str) -> tuple[str, ...]:
    """List the YAML files in a folder of a package, by their names without the ending."""
    found = (files(package) / folder).iterdir()
    return tuple(sorted(Path(str(f)).stem for f in found if f.name.endswith(".yaml")))


def find(name: str, package: str, folder: str, what: str, *, option: str = "") -> Path:
    """Find a file that comes with a package, or that a user names by its path.

    Args:
        name: Of a shipped one, or the path of a YAML file.
        package: Where the shipped ones are.
        folder: Its folder with them.
        what: What the file is, for the error message: ``class map``.
        option: What the user called it by, if that is not clear.

    Raises:
        ConfigError: There is no shipped one of this name.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    known = shipped(package, folder)
    if name not in known:
        raise ConfigError(
            f"{option}no {what} is called {with_nearest([name], known)}; "
            f"there are: {', '.join(known)}, or give the path of a .yaml file"
        )
    return Path(str(files(package) / folder / f"{name}.yaml"))


class Checked:
    """A YAML mapping that knows where it stands in its file."""

    def __init__(self, value: Any, path: Path, where: str) -> None:  # noqa: ANN401
        self.path, self.where = path, where
        if not isinstance(value, dict):
            raise self.error(f"expected a mapping, got {_shown(value)}", "")
        if strangers := [key for key in value if not isinstance(key, str)]:
            raise self.error(
                f"expected names as keys, got {strangers}; YAML reads some bare words as numbers "
                "or truth values: quote them",
                "",
            )
        self.value: dict[str, Any] = value

    def error(self, reason: str, key: str) -> InputError:
        """Make an error that names the place of a key."""
        where = ".".join(part for part in (self.where, key) if part)
        return InputError(reason, path=self.path, where=where)

    def only_keys(self, *known: str) -> None:
        """Refuse keys that mean nothing.

        Raises:
            InputError: There is one.
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
        """Get a mapping; an InputError if there is none, as with all that follow."""
        return Checked(self._get(key), self.path, ".".join(filter(None, (self.where, key))))

    def string(self, key: str) -> str:
        """Get a word."""
        value = self._get(key)
        if not isinstance(value, str) or not value:
            raise self.error(f"expected a name, got {_shown(value)}", key)
        return value

    def strings(self, key: str) -> list[str]:
        """Get a list of words."""
        value = self._get(key)
        if not isinstance(value, list):
            raise self.error(f"expected a list of names, got {_shown(value)}", key)
        for i, entry in enumerate(value):
            if not isinstance(entry, str) or not entry:
                raise self.error(f"expected a name, got {_shown(entry)}", f"{key}[{i}]")
        return value

    def mappings(self, key: str) -> list["Checked"]:
        """Get a list of mappings."""
        value = self._get(key)
        if not isinstance(value, list):
            raise self.error(f"expected a list, got {_shown(value)}", key)
        place = ".".join(filter(None, (self.where, key)))
        return [Checked(entry, self.path, f"{place}[{i}]") for i, entry in enumerate(value)]

    def number(self, key: str, default: float) -> float:
        """Get a number above 0."""
        value = self.value.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
            raise self.error(f"expected a number above 0, got {_shown(value)}", key)
        return value

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        """Get one of some words."""
        value = self.value.get(key, default)
        if value not in known:
            raise self.error(f"expected one of {', '.join(known)}, got {_shown(value)}", key)
        return str(value)


class _UniqueKeyLoader(yaml.SafeLoader):
    """A YAML loader that does not let the second of two equal keys win in silence."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        line = node.start_mark.line + 1
        raise yaml.YAMLError(f"twice in the mapping at line {line}: {', '.join(repeated)}")
    return dict(loader.construct_pairs(node, deep=True))


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read(path: Path, what: str) -> Checked:
    """Read a file that holds a mapping.

    Args:
        path: The file.
        what: What it is, for the error message: ``class map``.

    Raises:
        InputError: It cannot be read, is no YAML, names a key twice, or is no mapping.
    """
    return Checked(_parse(path, what), path, "")


def _parse(path: Path, what: str) -> Any:  # noqa: ANN401
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except FileNotFoundError:
        raise InputError(f"no such {what}", path=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from error
    except yaml.YAMLError as error:
        raise InputError(" ".join(str(error).split()), path=path) from error


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"
