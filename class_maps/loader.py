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

``map: same names`` stands for a map of every class to itself, but the unlabelled ones; beside it
``also: {tie: necktie}`` names categories that are called something else.
"""

from collections import Counter
from pathlib import Path

from class_maps import yaml_files
from class_maps.catalogues import SOURCES, catalogue
from class_maps.class_map import ClassMap, Source, check_categories
from class_maps.errors import with_nearest
from class_maps.yaml_files import Checked, read

SAME_NAMES = "same names"
"""What ``map`` says when every class is called what the data set calls it."""


def shipped() -> tuple[str, ...]:
    """Names of the class maps that come with the package."""
    return yaml_files.shipped("class_maps", "maps")


def load(name: str) -> ClassMap:
    """Read a class map.

    Args:
        name: Of a shipped one, or the path of a YAML file.

    Raises:
        ConfigError: There is no shipped map of this name.
        InputError: The file cannot be read, or says something it must not.
    """
    return from_yaml(yaml_files.find(name, "class_maps", "maps", "class map"))


def from_yaml(path: Path) -> ClassMap:
    """Read the class map in the file ``path``.

    Raises:
        InputError: Naming the place in the file and, for a misspelt word, the nearest known one.
    """
    data = read(path, "class map")
    data.only_keys("name", "classes", "sources")
    names = tuple(data.strings("classes"))
    if not names:
        raise data.error("expected at least one class", "classes")
    if repeated := sorted(name for name, n in Counter(names).items() if n > 1):
        raise data.error(f"twice: {', '.join(repeated)}", "classes")
    sources = data.mapping("sources")
    sources.only_keys(*SOURCES)
    filled = {name: _source(sources, name, names) for name in sources.value}
    spoken_of = {c for s in filled.values() for c in (*s.class_of.values(), *s.unlabelled)}
    if orphans := [name for name in names if name not in spoken_of]:
        raise data.error(
            f"no source can fill: {', '.join(orphans)}; map a category to each, "
            "or list it under a source's unlabelled",
            "classes",
        )
    return ClassMap(name=data.string("name"), names=names, sources=filled, path=path)


def _source(sources: Checked, name: str, classes: tuple[str, ...]) -> Source:
    data = sources.mapping(name)
    data.only_keys("annotation_set", "like", "map", "also", "unlabelled")
    sets = catalogue(name).annotation_sets
    annotation_set = data.string("annotation_set") if sets else None
    if annotation_set and annotation_set not in sets:
        shown = with_nearest([annotation_set], sets)
        raise data.error(f"{shown} is none of {', '.join(sets)}", "annotation_set")
    unlabelled = _unlabelled(data)
    if "also" in data.value and data.value.get("map") != SAME_NAMES:
        raise data.error(f"goes with map: {SAME_NAMES} only; put its entries into map", "also")
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


def _unlabelled(data: Checked) -> tuple[str, ...]:
    return tuple(data.strings("unlabelled")) if "unlabelled" in data.value else ()


def _class_of(data: Checked, classes: tuple[str, ...]) -> dict[str, str]:
    """The class of each category that a source's own map names."""
    if data.value.get("map") == SAME_NAMES:
        unlabelled = _unlabelled(data)
        same = {name: name for name in classes if name not in unlabelled}
        also = _entries(data, "also") if "also" in data.value else {}
        if both := sorted(same.keys() & also.keys()):
            raise data.error(f"also one of the classes: {', '.join(both)}", "also")
        return same | also
    return _entries(data)


def _entries(data: Checked, key: str = "map") -> dict[str, str]:
    entries = data.mapping(key)
    return {category: entries.string(category) for category in entries.value}


def _class_of_like(sources: Checked, name: str, classes: tuple[str, ...]) -> dict[str, str]:
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
