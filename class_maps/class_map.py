"""The class map as an object: which classes there are, and what each data set calls them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from class_maps.catalogues import catalogue
from class_maps.errors import ConfigError, InputError, with_nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """How one data set's categories become classes."""

    name: str
    annotation_set: str | None
    """The one set of categories that is read, for data sets that label everything twice."""
    class_of: Mapping[str, str]
    """Class of each category; a category that is not here is dropped and counted."""
    unlabelled: tuple[str, ...] = ()
    """Classes that this data set draws and never annotates: it holds no negatives for them."""


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """The classes of one label space, in the order of their ids."""

    name: str
    names: tuple[str, ...]
    """Name of the class with label ``i`` at index ``i``; unique."""
    sources: Mapping[str, Source]
    path: Path
    """The file it was read from."""

    @cached_property
    def labels(self) -> dict[str, int]:
        """Label of each class name."""
        return {name: label for label, name in enumerate(self.names)}

    def source(self, name: str, annotation_set: str | None = None) -> Source:
        """Return how the data set ``name`` is read.

        Args:
            name: Of the data set, such as ``deepscoresv2``.
            annotation_set: Read this set instead of the one that the class map names.

        Raises:
            ConfigError: The class map does not speak of this data set, or the data set has no
                such annotation set.
            InputError: The class map's categories do not stand in this annotation set.
        """
        if name not in self.sources:
            known = ", ".join(self.sources) or "none"
            raise ConfigError(
                f"class map {self.name} does not say what {name} calls its classes (it knows: "
                f"{known}); add sources.{name} to a copy of {self.path}, or choose another map"
            )
        source = self.sources[name]
        if annotation_set is None or annotation_set == source.annotation_set:
            return source
        sets = catalogue(name).annotation_sets
        if annotation_set not in sets:
            raise ConfigError(
                f"{name} has no annotation set {annotation_set!r}; it has: {', '.join(sets)}"
            )
        source = replace(source, annotation_set=annotation_set)
        check_categories(source, self.path)
        return source


def check_categories(source: Source, path: Path) -> None:
    """Reject categories that the data set does not have.

    Raises:
        InputError: At least one is unknown; all are listed, each with the nearest known one.
    """
    known = catalogue(source.name).names(source.annotation_set)
    if known and (unknown := set(source.class_of) - set(known)):
        place = f"annotation set {source.annotation_set}" if source.annotation_set else "it"
        raise InputError(
            f"not in {source.name}, {place}: {with_nearest(unknown, known)}",
            path=path,
            where=f"sources.{source.name}.map",
        )
