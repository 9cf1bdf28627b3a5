"""Reader of class maps in YAML, which checks every name in them.

A class map is a file such as::

    name: harmony
    classes: [noteheadBlack, barlineSingle]   # in the order of their labels 0, 1, ...
    sources:                                  # data sets whose categories map to the classes
      deepscoresv2:
        annotation_set: deepscores            # for data sets with several annotation sets
        map:                                  # category: class; others are dropped and counted
          noteheadBlackOnLine: noteheadBlack
          noteheadBlackInSpace: noteheadBlack
        unlabelled: [barlineSingle]           # occurs in this data set, but is never annotated
      engraved:
        annotation_set: engraved
        like: deepscoresv2                    # uses that map, extended by this one if there is one
        map: {barlineSingle: barlineSingle}

``relations: {beam: group}`` describes categories whose symbols differ from those of their class,
see :data:`~class_maps.class_map.RELATIONS`. Without an entry, categories that share their class
with others are finer, and all others are exact. Groups and parts of symbols share a class with
single symbols only if their relation is listed.

A class without a category in the map of a source is unlabelled there; ``unlabelled`` may also list
it, to have a class that no source maps.

``map: same names`` maps every class except the unlabelled ones to the category of the same name;
``also: {tie: necktie}`` adds categories with other names to it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from class_maps import yaml_files
from class_maps.catalogues import SOURCES, catalogue
from class_maps.class_map import RELATIONS, CategoryMapping, ClassMap, check_categories
from class_maps.errors import listed, with_nearest
from class_maps.yaml_files import Checked, read

SAME_NAMES = "same names"
"""Value of ``map`` if every class has the name of its category."""


def shipped() -> tuple[str, ...]:
    """List the names of the class maps that come with the package."""
    return yaml_files.shipped("class_maps", "maps")


def load(name: str) -> ClassMap:
    """Read a class map.

    Args:
        name: Name of a class map that comes with the package, or path of a YAML file.

    Raises:
        ConfigError: No class map of this name comes with the package.
        InputError: The file cannot be read, is malformed or contains an invalid name.
    """
    return from_yaml(yaml_files.find(name, "class_maps", "maps", "class map"))


def from_yaml(path: Path) -> ClassMap:
    """Read the class map in the file ``path``.

    Raises:
        InputError: The file cannot be read, is malformed or contains an invalid name; the message
            includes the location and, for an unknown name, the nearest known one.
    """
    data = read(path, "class map")
    data.only_keys("name", "classes", "sources")
    names = tuple(data.strings("classes"))
    if not names:
        raise data.error("expected at least one class", "classes")
    _check_unique(names, data, "classes")
    sources = data.mapping("sources")
    sources.only_keys(*SOURCES)
    filled = {name: _source(sources, name, names) for name in sources.value}
    _check_extents(filled, sources)
    mentioned = {c for source in filled.values() for c in source.class_of.values()}
    mentioned.update(c for name in filled for c in _unlabelled(sources.mapping(name)))
    if orphans := [name for name in names if name not in mentioned]:
        raise data.error(
            f"without a category in any source: {listed(orphans)}; map a category to each, or "
            "list it under unlabelled of a source",
            "classes",
        )
    return ClassMap(
        name=data.string("name"), names=names, sources=filled, path=path, sha256=data.sha256
    )


def _check_unique(names: Iterable[str], data: Checked, key: str) -> None:
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise data.error(f"duplicate: {listed(repeated)}", key)


def _source(sources: Checked, name: str, classes: tuple[str, ...]) -> CategoryMapping:
    data = sources.mapping(name)
    data.only_keys("annotation_set", "like", "map", "also", "relations", "unlabelled")
    sets = catalogue(name).annotation_sets
    if not sets and "annotation_set" in data.value:
        raise data.error(f"{name} data have no annotation sets; remove it", "annotation_set")
    annotation_set = data.string("annotation_set") if sets else None
    if annotation_set and annotation_set not in sets:
        unknown = with_nearest([annotation_set], sets)
        raise data.error(f"unknown: {unknown}; expected one of {', '.join(sets)}", "annotation_set")
    unlabelled = _unlabelled(data)
    if "also" in data.value and data.value.get("map") != SAME_NAMES:
        raise data.error(f"only allowed with map: {SAME_NAMES}; move its entries to map", "also")
    if "like" in data.value:
        class_of = _class_of_like(sources, name, classes)
    else:
        class_of = _class_of(data, classes)
    for key, names in (("map", class_of.values()), ("unlabelled", unlabelled)):
        if invalid := set(names) - set(classes):
            raise data.error(f"not in classes: {with_nearest(invalid, classes)}", key)
    if both := sorted(set(unlabelled) & set(class_of.values())):
        raise data.error(f"also mapped: {listed(both)}", "unlabelled")
    source = CategoryMapping(
        name=name,
        annotation_set=annotation_set,
        class_of=class_of,
        unlabelled=tuple(name for name in classes if name not in class_of.values()),
        relations=_default_relations(class_of) | _relations_like(sources, data, class_of),
    )
    check_categories(source, data.path)
    return source


def _unlabelled(data: Checked) -> tuple[str, ...]:
    names = tuple(data.strings("unlabelled")) if "unlabelled" in data.value else ()
    _check_unique(names, data, "unlabelled")
    return names


def _default_relations(class_of: Mapping[str, str]) -> dict[str, str]:
    """Return the relations of categories that the class map does not list."""
    n_categories = Counter(class_of.values())
    return {
        category: "finer" if n_categories[name] > 1 else "exact"
        for category, name in class_of.items()
    }


def _relations_like(sources: Checked, data: Checked, class_of: Mapping[str, str]) -> dict[str, str]:
    """Return the relations that a source lists, after those of the source under ``like``."""
    relations = _relations(data, class_of)
    if "like" not in data.value:
        return relations
    return _relations(sources.mapping(data.string("like")), class_of) | relations


def _relations(data: Checked, class_of: Mapping[str, str]) -> dict[str, str]:
    """Return the relation of each category that has one in the class map."""
    if "relations" not in data.value:
        return {}
    relations = _entries(data, "relations")
    if unmapped := sorted(relations.keys() - class_of.keys()):
        raise data.error(f"not in map: {with_nearest(unmapped, class_of)}", "relations")
    for category, relation in relations.items():
        if relation not in RELATIONS:
            reason = f"unknown relation: {with_nearest([relation], RELATIONS)}"
            expected = f"expected one of {', '.join(RELATIONS)}"
            raise data.error(f"{reason}; {expected}", f"relations.{category}")
    return relations


def _check_extents(filled: Mapping[str, CategoryMapping], sources: Checked) -> None:
    """Reject classes with boxes of whole groups, or of parts, from one data set only.

    Raises:
        InputError: A data set labels groups or parts of symbols where another one labels symbols,
            without a relation in the class map.
    """
    extents = defaultdict[str, set[str]](set)
    for source in filled.values():
        known = catalogue(source.name).relations
        for category, class_name in source.class_of.items():
            extents[class_name].add(known.get(category, ""))
    for source in filled.values():
        for category, relation in catalogue(source.name).relations.items():
            class_name = source.class_of.get(category, "")
            if len(extents[class_name]) > 1 and source.relations.get(category) != relation:
                box = {"group": "a group of symbols", "part": "a part of a symbol"}[relation]
                raise sources.mapping(source.name).error(
                    f"{category}: each box encloses {box}, unlike those of other sources of class "
                    f"{class_name}; omit it and list the class under unlabelled, or add "
                    f"relations: {{{category}: {relation}}} to mix them",
                    "map",
                )


def _class_of(data: Checked, classes: tuple[str, ...]) -> dict[str, str]:
    """Return the class of each category in a source's map, without following ``like``."""
    if data.value.get("map") == SAME_NAMES:
        unlabelled = _unlabelled(data)
        same = {name: name for name in classes if name not in unlabelled}
        also = _entries(data, "also") if "also" in data.value else {}
        if both := sorted(same.keys() & also.keys()):
            raise data.error(f"already mapped by {SAME_NAMES}: {listed(both)}", "also")
        return same | also
    return _entries(data)


def _entries(data: Checked, key: str = "map") -> dict[str, str]:
    entries = data.mapping(key)
    return {category: entries.string(category) for category in entries.value}


def _class_of_like(sources: Checked, name: str, classes: tuple[str, ...]) -> dict[str, str]:
    """Return the map of the source under ``like``, extended by the map of ``name`` itself."""
    data = sources.mapping(name)
    others = [other for other in sources.value if other != name]
    like = data.string("like")
    if like not in others:
        known = ", ".join(others) or "none"
        unknown = with_nearest([like], others)
        raise data.error(f"unknown source: {unknown}; expected one of: {known}", "like")
    original = sources.mapping(like)
    if "like" in original.value:
        raise data.error(f"{like} uses like as well; give a source that has its own map", "like")
    class_of = _class_of(original, classes)
    added = _entries(data) if "map" in data.value else {}
    if both := sorted(class_of.keys() & added.keys()):
        raise data.error(f"already in the map of {like}: {listed(both)}; omit it here", "map")
    return class_of | added
