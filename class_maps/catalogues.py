"""What each data set calls its categories: the words that a class map may translate."""

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """One category of a foreign data set."""

    id: int
    name: str
    annotation_set: str
    color: int
    """Grey value in the data set's segmentation images."""
    dense_train_count: int | None = None
    """Labels in the dense train set, where they have been counted."""
    dense_test_count: int | None = None
    """Labels in the dense test set, where they have been counted."""
    meaning: str = ""
    """What it is, where the name may not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """The vocabulary of one data set; no categories at all means that any word may occur."""

    categories: tuple[Category, ...] = ()
    aliases: dict[str, dict[str, str]]
    """Per annotation set, other spellings and the canonical one, such as a pre-release's."""

    @property
    def annotation_sets(self) -> tuple[str, ...]:
        """The annotation sets, in the order of their first category."""
        return tuple(dict.fromkeys(category.annotation_set for category in self.categories))

    def names(self, annotation_set: str | None) -> tuple[str, ...]:
        """Category names of one annotation set, in the order of their ids."""
        return tuple(c.name for c in self.categories if c.annotation_set == annotation_set)

    def canonical(self, name: str, annotation_set: str | None) -> str:
        """The release's spelling of ``name``."""
        return self.aliases.get(annotation_set or "", {}).get(name, name)


SOURCES = ("deepscoresv2", "engraved", "coco")
"""Data sets that a class map may speak of."""
ENGRAVED = "engraved"
"""Pages that the toolkit engraves itself: the data set, and its one annotation set."""


@cache
def catalogue(source: str) -> Catalogue:
    """Return the vocabulary of ``source``, one of :data:`SOURCES`.

    COCO is a format as well as a data set: its words are those of the file that is read. Engraved
    pages use DeepScoresV2's own words, and some for what it has none.
    """
    if source == "coco":
        return Catalogue(aliases={})
    found = _table(source)
    if source == ENGRAVED:
        shared = _table("deepscoresv2").categories
        renamed = tuple(
            replace(c, annotation_set=ENGRAVED, dense_train_count=None, dense_test_count=None)
            for c in shared
            if c.annotation_set == "deepscores"
        )
        return replace(found, categories=renamed + found.categories)
    return found


def _table(source: str) -> Catalogue:
    """Read what the file of a data set holds."""
    table = json.loads((files("class_maps") / f"{source}.json").read_text(encoding="utf-8"))
    categories = tuple(Category(**row) for row in table["categories"])
    return Catalogue(categories=categories, aliases=table["aliases"])
