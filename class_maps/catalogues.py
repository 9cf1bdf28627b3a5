"""Catalogues of the categories of each data set, which class maps may refer to."""

import json
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """One category of a data set."""

    id: int
    name: str
    annotation_set: str
    color: int
    """Grey value in the data set's segmentation images."""
    dense_train_count: int | None = None
    """Number of labels in the dense training set, if known."""
    dense_test_count: int | None = None
    """Number of labels in the dense test set, if known."""
    meaning: str = ""
    """Explanation of a name that is not self-explanatory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """The categories of one data set; a catalogue without categories allows any name."""

    categories: tuple[Category, ...] = ()
    """Categories of data sets with annotation sets."""
    plain_names: tuple[str, ...] = ()
    """Names of the categories of data sets without annotation sets."""
    aliases: dict[str, dict[str, str]]
    """Canonical name of each alternative spelling, such as the spelling of a pre-release, by
    annotation set; the annotation set is empty for data sets without any."""
    relations: dict[str, str] = field(default_factory=dict)
    """Categories whose boxes enclose a ``group`` of symbols, or a ``part`` of one, where other data
    sets label every symbol."""
    splits: dict[str, list[str]] = field(default_factory=dict)
    """Categories of an early release that later releases divide, with the later categories."""

    @property
    def annotation_sets(self) -> tuple[str, ...]:
        """Annotation sets in the order of their first category."""
        return tuple(dict.fromkeys(category.annotation_set for category in self.categories))

    def names(self, annotation_set: str | None) -> tuple[str, ...]:
        """Return the category names of one annotation set in the order of their ids.

        Args:
            annotation_set: The annotation set; None for data sets without any.
        """
        if annotation_set is None:
            return self.plain_names
        return tuple(c.name for c in self.categories if c.annotation_set == annotation_set)

    @property
    def all_names(self) -> tuple[str, ...]:
        """Category names of all annotation sets."""
        return (*(category.name for category in self.categories), *self.plain_names)

    def canonical(self, name: str, annotation_set: str | None) -> str:
        """Return the spelling of ``name`` in the released data set."""
        return self.aliases.get(annotation_set or "", {}).get(name, name)


SOURCES = (
    *("deepscoresv2", "engraved", "coco", "yolo", "labelme"),
    *("muscima", "doremi", "mung", "voc", "parquet"),
)
"""Data sets and formats that class maps may have entries for."""
ANY_NAME = ("coco", "yolo", "labelme", "mung", "voc", "parquet")
"""Formats whose files define the categories themselves."""
ENGRAVED = "engraved"
"""Pages engraved by omr: name of the data set and of its only annotation set."""


@cache
def catalogue(source: str) -> Catalogue:
    """Return the catalogue of a data set.

    COCO, YOLO, labelme, MuNG, Pascal VOC and Parquet are formats of many data sets, so their
    catalogues are empty and any category name is allowed. MUSCIMA++ and DoReMi have no annotation
    sets. Engraved pages have the categories of DeepScoresV2's own annotation set and a few more.

    Args:
        source: Name of the data set, one of :data:`SOURCES`.
    """
    if source in ANY_NAME:
        return Catalogue(aliases={})
    listed = _read_catalogue(source)
    if source == ENGRAVED:
        shared = _read_catalogue("deepscoresv2").categories
        renamed = tuple(
            replace(c, annotation_set=ENGRAVED, dense_train_count=None, dense_test_count=None)
            for c in shared
            if c.annotation_set == "deepscores"
        )
        return replace(listed, categories=renamed + listed.categories)
    return listed


def _read_catalogue(source: str) -> Catalogue:
    """Read the JSON file of a data set's categories."""
    table = json.loads((files("class_maps") / f"{source}.json").read_text(encoding="utf-8"))
    return Catalogue(
        categories=tuple(Category(**row) for row in table.get("categories", ())),
        plain_names=tuple(table.get("names", ())),
        aliases=table["aliases"],
        relations=table.get("relations", {}),
        splits=table.get("splits", {}),
    )
