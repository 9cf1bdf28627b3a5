"""Reader of YAML files written by users, with errors that name the location of the problem."""

import re
from collections.abc import Hashable, Sequence
from hashlib import sha256
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any
from unicodedata import category

import yaml

from class_maps.errors import ConfigError, InputError, listed, shortened, shown, with_nearest
from class_maps.text_files import decoded, read_bytes

MAX_BYTES = 1 << 20
"""Maximum size of a file to read; a larger file is not for omr, and would take long to parse."""
MAX_DEPTH = 50
"""Maximum nesting depth of brackets."""
MAX_VALUES = MAX_BYTES
"""Maximum number of values, each counted wherever an alias repeats it: more than a file of this
size contains without aliases."""
MOST_PROBLEM = 160
"""Maximum length of the YAML parser's description of a problem in a message."""


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
    """A YAML mapping with its location in the file, and at the root the hash of the file."""

    def __init__(self, value: Any, path: Path, where: str, sha256: str = "") -> None:  # noqa: ANN401
        self.path, self.where, self.sha256 = path, where, sha256
        if not isinstance(value, dict):
            raise self.error(f"expected a mapping, got {_described(value)}", "")
        if invalid := [key for key in value if not isinstance(key, str)]:
            raise self.error(
                f"expected names as keys, got {shown(invalid)}; write names instead of ids, and "
                "quote names that YAML reads as numbers or booleans",
                "",
            )
        if invalid := [key for key in value if not _is_name(key)]:
            raise self.error(f"expected printable names as keys, got {shown(invalid)}", "")
        self.value: dict[str, Any] = value

    def error(self, reason: str, key: str) -> InputError:
        """Create an error at the location of a key."""
        return InputError(reason, path=self.path, where=self._location(key))

    def _location(self, key: str) -> str:
        return ".".join(part for part in (self.where, shortened(key)) if part)

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
        return Checked(self._get(key), self.path, self._location(key))

    def string(self, key: str) -> str:
        """Return a printable string that is not blank."""
        return self._name(self._get(key), key)

    def _name(self, value: Any, key: str) -> str:  # noqa: ANN401
        if isinstance(value, str) and _is_name(value):
            return value
        is_number = isinstance(value, int | float)
        remedy = "; write a name instead of an id, or quote it" if is_number else ""
        raise self.error(f"expected a name, got {_described(value)}{remedy}", key)

    def strings(self, key: str) -> list[str]:
        """Return a list of printable strings that are not blank."""
        value = self._get(key)
        if not isinstance(value, list):
            raise self.error(f"expected a list of names, got {_described(value)}", key)
        return [self._name(entry, f"{key}[{i}]") for i, entry in enumerate(value)]

    def mappings(self, key: str) -> list["Checked"]:
        """Return a list of mappings."""
        value = self._get(key)
        if not isinstance(value, list):
            raise self.error(f"expected a list, got {_described(value)}", key)
        where = self._location(key)
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


def _is_name(text: str) -> bool:
    """Check that a text is not blank, and contains no control character and no lone surrogate."""
    return bool(text.strip()) and not any(category(c) in {"Cc", "Cs"} for c in text)


_BOOL = "tag:yaml.org,2002:bool"
_TEXT = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"


class _Loader(yaml.SafeLoader):
    """A YAML loader that rejects duplicate keys, and names the line of an invalid value.

    Only ``true`` and ``false`` are booleans, following YAML 1.2; words such as ``on`` and ``no``
    are text.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401
        """Construct a value, such as a date or number from a text that looks like one."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise yaml.constructor.ConstructorError(
                None, None, f"invalid value: {shown(node.value)}", node.start_mark
            ) from error


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    mapping: dict[Any, Any] = {}
    repeated = set()
    for key, value in loader.construct_pairs(node, deep=True):
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(
                None, None, "a list or a mapping cannot be a key", node.start_mark
            )
        if key in mapping:
            repeated.add(str(key))
        mapping[key] = value
    if repeated:
        raise yaml.YAMLError(
            f"duplicate keys in the mapping at line {node.start_mark.line + 1}: "
            f"{listed(sorted(repeated))}"
        )
    return mapping


_Loader.yaml_implicit_resolvers = {
    first: [entry for entry in entries if first in "tTfF" or entry[0] != _BOOL]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read(path: Path, kind: str) -> Checked:
    """Read a YAML file whose root is a mapping.

    Args:
        path: File to read.
        kind: Kind of file, for the error message: ``class map``.

    Raises:
        InputError: The file cannot be read, is not YAML, has a duplicate key, or is not a mapping.
    """
    content = read_bytes(path, kind, max_bytes=MAX_BYTES)
    return Checked(parse(content, path), path, "", sha256(content).hexdigest())


def read_any(path: Path, kind: str, *, as_written: str | None = None) -> Any:  # noqa: ANN401
    """Read a YAML file with any root; otherwise like :func:`read`.

    Args:
        path: File to read.
        kind: Kind of file, for the error message: ``data.yaml``.
        as_written: Key of the root whose list or mapping contains text: ``3:4``, ``1_0`` and
            ``true`` are not converted; empty for the whole file.
    """
    return parse(read_bytes(path, kind, max_bytes=MAX_BYTES), path, as_written)


def parse(content: bytes, path: Path, as_written: str | None = None) -> Any:  # noqa: ANN401
    """Parse the content of a YAML file, see :func:`read_any`."""
    text = decoded(content, path)
    try:
        _check_depth(text)
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _count_values(root, {})
        for node in _nodes_as_written(root, as_written):
            _keep_as_written(node)
        return loader.construct_document(root)
    except RecursionError:
        raise InputError("lists or mappings are nested too deeply", path=path) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}" if mark else ""
        raise InputError(_problem(error.context, error.problem), path=path, where=where) from error
    except yaml.YAMLError as error:
        raise InputError(_problem(str(error)), path=path) from error


def _count_values(node: yaml.Node, counts: dict[int, int]) -> int:
    """Count the values below a node, as often as aliases repeat them.

    Args:
        node: Node to count.
        counts: Counts of the nodes below by their ids; 0 while a node is being counted.

    Raises:
        YAMLError: There are more than ``MAX_VALUES``, or a value contains itself.
    """
    if id(node) in counts:
        n_values = counts[id(node)] or MAX_VALUES + 1
    else:
        counts[id(node)] = 0
        n_values = counts[id(node)] = 1 + sum(_count_values(c, counts) for c in _children(node))
    if n_values > MAX_VALUES:
        raise yaml.YAMLError(f"aliases expand the file to more than {MAX_VALUES:,} values")
    return n_values


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return []


def _nodes_as_written(root: yaml.Node, as_written: str | None) -> list[yaml.Node]:
    """Return the nodes whose values are kept as text, see :func:`read_any`."""
    if as_written == "":
        return [root]
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return [value for key, value in pairs if key.value == as_written]


def _keep_as_written(node: yaml.Node) -> None:
    """Make the values in lists and mappings text, except for missing ones; keys are kept."""
    values = []
    if isinstance(node, yaml.ScalarNode) and node.tag != _NULL:
        node.tag = _TEXT
    elif isinstance(node, yaml.SequenceNode):
        values = node.value
    elif isinstance(node, yaml.MappingNode):
        values = [value for _, value in node.value]
    for value in values:
        _keep_as_written(value)


def _check_depth(text: str) -> None:
    """Reject deeply nested brackets, which the parser would read in quadratic time."""
    depth = 0
    for bracket in re.findall(r"[][{}]", text):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise RecursionError


def _problem(*parts: str | None) -> str:
    text = " ".join(" ".join(filter(None, parts)).split())
    return text if len(text) <= MOST_PROBLEM else f"{text[:MOST_PROBLEM]}..."


def _described(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {shown(value)}"
