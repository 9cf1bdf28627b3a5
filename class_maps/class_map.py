"""The class map: the classes of a model, and the categories of each data set that map to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from class_maps.catalogues import ANY_NAME, catalogue
from class_maps.errors import ConfigError, InputError, with_nearest

RELATIONS = ("exact", "coarser", "finer", "group", "part")
"""Relations of a category to its class: the same symbols, more symbols than those of the class,
some of them, one box around several symbols, one box around a part of a symbol."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoryMapping:
    """Mapping of one data set's categories to classes."""

    name: str
    annotation_set: str | None
    """Annotation set that is read, for data sets with several labels per symbol."""
    class_of: Mapping[str, str]
    """Class of each category; symbols of other categories are dropped and counted."""
    unlabelled: tuple[str, ...] = ()
    """Classes without a category in this data set, in the order of their labels. Its images are
    not negative examples of these classes."""
    relations: Mapping[str, str] = field(default_factory=dict)
    """How the symbols of each category relate to those of its class, one of :data:`RELATIONS`."""


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """Classes of a model in the order of their labels, and the categories that belong to them."""

    name: str
    names: tuple[str, ...]
    """Name of the class with label ``i`` at index ``i``; unique."""
    sources: Mapping[str, CategoryMapping]
    """Mapping of each data set, by the name of the data set."""
    path: Path
    """File that the class map was read from."""
    sha256: str = ""
    """Hash of that file as it was read; empty for a class map that was not read from a file."""

    @cached_property
    def labels(self) -> dict[str, int]:
        """Label of each class name."""
        return {name: label for label, name in enumerate(self.names)}

    def source(self, name: str, annotation_set: str | None = None) -> CategoryMapping:
        """Return the mapping of one data set.

        Args:
            name: Name of the data set, such as ``deepscoresv2``.
            annotation_set: Annotation set to read; None to use the class map's.

        Raises:
            ConfigError: The class map has no entry for this data set, or the data set has no such
                annotation set.
            InputError: Categories of the class map do not exist in this annotation set.
        """
        if name not in self.sources:
            known = ", ".join(self.sources) or "none"
            raise ConfigError(
                f"class map {self.name} has no entry for {name} data (available: {known}); add "
                f"sources.{name} to a copy of {self.path}{_names_hint(name)}, check it with `omr "
                "classes check COPY DATA`, and pass it to --classes"
            )
        source = self.sources[name]
        if annotation_set is None or annotation_set == source.annotation_set:
            return source
        sets = catalogue(name).annotation_sets
        if annotation_set not in sets:
            raise ConfigError(
                f"{name} has no such annotation set; available: {', '.join(sets) or 'none'}",
                option="--annotation-set",
                value=annotation_set,
            )
        source = replace(source, annotation_set=annotation_set)
        check_categories(source, self.path)
        return source


def _names_hint(source: str) -> str:
    """Return how to map the categories of a format whose files define them."""
    return " (`map: same names` keeps the categories in its classes)" if source in ANY_NAME else ""


def check_categories(source: CategoryMapping, path: Path) -> None:
    """Check that the categories of a class map exist in the data set.

    Args:
        source: Mapping to check.
        path: File of the class map, for the error message.

    Raises:
        InputError: Categories are unknown; the message lists all of them with the nearest known
            names.
    """
    known = catalogue(source.name).names(source.annotation_set)
    if known and (unknown := set(source.class_of) - set(known)):
        group = f"annotation set {source.annotation_set} of " if source.annotation_set else ""
        raise InputError(
            f"not in {group}{source.name}: {with_nearest(unknown, known)}",
            path=path,
            where=f"sources.{source.name}.map",
        )
