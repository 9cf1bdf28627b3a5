"""Reads class maps from YAML and checks every word of them.

A class map is a file like this::

    name: harmony
    classes: [noteheadBlack, barlineSingle]   # their order gives the labels, from 0 on
    sources:                                  # the data sets that can fill them
      deepscoresv2:
        annotation_set: deepscores            # where everything is labelled in several sets
        map:                                  # category: class; others are dropped and counted
          noteheadBlackOnLine: noteheadBlack
          noteheadBlackInSpace: noteheadBlack
        unlabelled: [barlineSingle]           # drawn in this data set, but never annotated
      engraved:
        annotation_set: engraved
        like: deepscoresv2                    # takes its map; the map here, if any, is added
        map: {barlineSingle: barlineSingle}

``map: same names`` stands for a map of every class to itself, but the unlabelled ones.
"""

from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from class_maps.catalogues import SOURCES, catalogue
from class_maps.class_map import ClassMap, Source, check_categories
from class_maps.errors import ConfigError, InputError, with_nearest

SAME_NAMES = "same names"
"""What ``map`` says when every class is called what the data set calls it."""


def shipped() -> tuple[str, ...]:
    """Names of the class maps that come with the package."""
    maps = files("class_maps") / "maps"
    return tuple(sorted(Path(str(f)).stem for f in maps.iterdir() if f.name.endswith(".yaml")))


def load(name: str) -> ClassMap:
    """Read a class map.

    Args:
        name: Of a shipped one, or the path of a YAML file.

    Raises:
        ConfigError: There is no shipped map of this name.
        InputError: The file cannot be read, or says something it must not.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return from_yaml(Path(name))
    if name not in shipped():
        raise ConfigError(
            f"no class map is called {with_nearest([name], shipped())}; "
            f"there are: {', '.join(shipped())}, or give the path of a .yaml file"
        )
    return from_yaml(Path(str(files("class_maps") / "maps" / f"{name}.yaml")))


def from_yaml(path: Path) -> ClassMap:
    """Read the class map in the file ``path``.

    Raises:
        InputError: Naming the place in the file and, for a misspelt word, the nearest known one.
    """
    data = _Checked(_parse(path), path, "")
    data.only_keys("name", "classes", "sources")
    names = tuple(data.strings("classes"))
    if not names:
        raise data.error("expected at least one class", "classes")
    if repeated := sorted(name for name, n in Counter(names).items() if n > 1):
        raise data.error(f"twice: {', '.join(repeated)}", "classes")
    sources = data.mapping("sources")
    sources.only_keys(*SOURCES)
    read = {name: _source(sources, name, names) for name in sources.value}
    spoken_of = {c for s in read.values() for c in (*s.class_of.values(), *s.unlabelled)}
    if orphans := [name for name in names if name not in spoken_of]:
        raise data.error(
            f"no source can fill: {', '.join(orphans)}; map a category to each, "
            "or list it under a source's unlabelled",
            "classes",
        )
    return ClassMap(name=data.string("name"), names=names, sources=read, path=path)


def _source(sources: "_Checked", name: str, classes: tuple[str, ...]) -> Source:
    data = sources.mapping(name)
    data.only_keys("annotation_set", "like", "map", "unlabelled")
    sets = catalogue(name).annotation_sets
    annotation_set = data.string("annotation_set") if sets else None
    if annotation_set and annotation_set not in sets:
        shown = with_nearest([annotation_set], sets)
        raise data.error(f"{shown} is none of {', '.join(sets)}", "annotation_set")
    unlabelled = _unlabelled(data)
    if "like" in data.value:
        class_of = _class_of_like(sources, name, classes)
    else:
        class_of = _class_of(data, classes)
    for key, words in (("map", class_of.values()), ("unlabelled", unlabelled)):
        if unknown := set(words) - set(classes):
            raise data.error(f"not among classes: {with_nearest(unknown, classes)}", key)
    if both := sorted(set(unlabelled) & set(class_of.values())):
        raise data.error(f"also filled by map: {', '.join(both)}", "unlabelled")
    source = Source(
        name=name, annotation_set=annotation_set, class_of=class_of, unlabelled=unlabelled
    )
    check_categories(source, data.path)
    return source


def _unlabelled(data: "_Checked") -> tuple[str, ...]:
    return tuple(data.strings("unlabelled")) if "unlabelled" in data.value else ()


def _class_of(data: "_Checked", classes: tuple[str, ...]) -> dict[str, str]:
    """The class of each category that a source's own map names."""
    if data.value.get("map") == SAME_NAMES:
        unlabelled = _unlabelled(data)
        return {name: name for name in classes if name not in unlabelled}
    return _entries(data)


def _entries(data: "_Checked") -> dict[str, str]:
    entries = data.mapping("map")
    return {category: entries.string(category) for category in entries.value}


def _class_of_like(sources: "_Checked", name: str, classes: tuple[str, ...]) -> dict[str, str]:
    """The map of the source that ``name`` is like, and what its own adds."""
    data = sources.mapping(name)
    others = [other for other in sources.value if other != name]
    like = data.string("like")
    if like not in others:
        known = ", ".join(others) or "none"
        shown = with_nearest([like], others)
        raise data.error(f"{shown} is no other source of this class map; it has: {known}", "like")
    taken = sources.mapping(like)
    if "like" in taken.value:
        raise data.error(f"{like} is itself like another; name one whose map stands there", "like")
    class_of = _class_of(taken, classes)
    added = _entries(data) if "map" in data.value else {}
    if both := sorted(class_of.keys() & added.keys()):
        raise data.error(f"also in the map of {like}: {', '.join(both)}; leave it out here", "map")
    return class_of | added


class _Checked:
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
        where = ".".join(part for part in (self.where, key) if part)
        return InputError(reason, path=self.path, where=where)

    def only_keys(self, *known: str) -> None:
        if unknown := set(self.value) - set(known):
            raise self.error(
                f"unknown: {with_nearest(unknown, known)}; expected: {', '.join(known)}", ""
            )

    def _get(self, key: str) -> Any:  # noqa: ANN401
        if key not in self.value:
            raise self.error("missing", key)
        return self.value[key]

    def mapping(self, key: str) -> "_Checked":
        return _Checked(self._get(key), self.path, ".".join(filter(None, (self.where, key))))

    def string(self, key: str) -> str:
        value = self._get(key)
        if not isinstance(value, str) or not value:
            raise self.error(f"expected a name, got {_shown(value)}", key)
        return value

    def strings(self, key: str) -> list[str]:
        value = self._get(key)
        if not isinstance(value, list):
            raise self.error(f"expected a list of names, got {_shown(value)}", key)
        for i, entry in enumerate(value):
            if not isinstance(entry, str) or not entry:
                raise self.error(f"expected a name, got {_shown(entry)}", f"{key}[{i}]")
        return value


class _UniqueKeyLoader(yaml.SafeLoader):
    """A YAML loader that does not let the second of two equal keys win in silence."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        line = node.start_mark.line + 1
        raise yaml.YAMLError(f"twice in the mapping at line {line}: {', '.join(repeated)}")
    return dict(loader.construct_pairs(node, deep=True))


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def _parse(path: Path) -> Any:  # noqa: ANN401
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except FileNotFoundError:
        raise InputError("no such class map", path=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from error
    except yaml.YAMLError as error:
        raise InputError(" ".join(str(error).split()), path=path) from error


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"
