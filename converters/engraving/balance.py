"""Balance of classes: quotas of rare classes for single pages.

In every block of 100 pages, every second page gets quotas of some classes, in a fixed rotation. It
shows exercises with symbols of these classes, and is drawn again until it meets the quotas. The
other pages are the same as without quotas.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from class_maps import ConfigError, load
from class_maps.catalogues import ENGRAVED
from converters.engraving.music import exercises
from converters.engraving.music.decorations.studies import STUDIES

BLOCK = 100
"""Number of pages in which all quotas occur."""
STEP = 2
"""Distance between pages with quotas."""
_PAGES = BLOCK // STEP
_SHIFT = 17
"""Distance between the pages of two classes in the rotation, coprime to the number of pages."""
_ORDINARY = {
    "noteheadWholeOnLine": 150,
    "flag8thUp": 400,
    "tie": 80,
    "keySharp": 300,
    "keyFlat": 250,
    "fermataAbove": 150,
}
"""Symbols on the ordinary pages of a block, by category: at most half of those counted on 50 plain
pages, and none for categories that occurred on fewer than 20 of them."""
_USUAL, _MOST = 2, 4
"""Usual and largest number of exercises or studies on a page for one class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """Least number of symbols of each class."""

    per_100_pages: int
    """Least number of symbols in 100 pages."""
    classes: str = "harmony"
    """Name of a class map, or path of a YAML file."""

    def __post_init__(self) -> None:
        """Check that a page has room for the quotas."""
        value = self.per_100_pages
        if value < 1:
            raise ConfigError("too few; expected at least 1", option="--balance", value=value)
        for quota in _quotas(self):
            most = _PAGES * _MOST * exercises.LEAST[quota.category]
            most += _ORDINARY.get(quota.category, 0)
            if value > most:
                reason = f"too many; at most {most} symbols of {quota.name} fit in 100 pages"
                raise ConfigError(reason, option="--balance", value=value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """Least number of symbols of a class on some pages."""

    name: str
    """Name of the class."""
    categories: frozenset[str]
    """Categories that map to the class."""
    category: str
    """The category to request, one of :data:`exercises.CATEGORIES`."""
    n_pages: int
    """Number of pages with this quota in a block."""
    least: int
    """Least number of symbols on such a page."""
    turn: int
    """Shift of the pages in the rotation, equal for categories that occur together."""


@cache
def _quotas(balance: Balance) -> tuple[Quota, ...]:
    """Compute the quotas of the classes whose symbols can be requested."""
    return tuple(_compute_quotas(balance))


def _compute_quotas(balance: Balance) -> Iterator[Quota]:
    kinds: list[object] = []
    for name, categories in class_categories(balance.classes).items():
        if not (requestable := sorted(categories & exercises.CATEGORIES)):
            continue
        category = requestable[0]
        kind = STUDIES.get(category, category)
        if kind not in kinds:
            kinds.append(kind)
        missing = balance.per_100_pages - _ORDINARY.get(category, 0)
        if missing <= 0:
            continue
        n_pages = min(_PAGES, -(-missing // (_USUAL * exercises.LEAST[category])))
        yield Quota(
            name=name,
            categories=categories,
            category=category,
            n_pages=n_pages,
            least=-(-missing // n_pages),
            turn=kinds.index(kind) * _SHIFT,
        )


@cache
def class_categories(classes: str) -> Mapping[str, frozenset[str]]:
    """Read the categories of engraved pages that map to each class of a class map."""
    class_map = load(classes)
    class_of = class_map.source(ENGRAVED).class_of
    return {
        name: frozenset(category for category, other in class_of.items() if other == name)
        for name in class_map.names
    }


def quotas_of_page(balance: Balance | None, number: int) -> list[Quota]:
    """List the quotas of a page.

    Args:
        balance: Balance of the classes; None for no quotas.
        number: Number of the page in the data set, from 0.
    """
    turn, odd = divmod(number % BLOCK, STEP)
    if balance is None or odd:
        return []
    quotas = []
    for quota in _quotas(balance):
        at = (turn + quota.turn) % _PAGES
        if (at + 1) * quota.n_pages // _PAGES > at * quota.n_pages // _PAGES:
            quotas.append(quota)
    return quotas


def unmet(quotas: list[Quota], counts: Counter[str]) -> list[str]:
    """List the classes whose quota a page does not meet.

    Args:
        quotas: Quotas of the page.
        counts: Number of its symbols by category.
    """
    return [q.name for q in quotas if sum(counts[c] for c in q.categories) < q.least]


def summary(balance: Balance | None, counts: Mapping[str, int], n_pages: int) -> dict[str, object]:
    """Count the symbols of each class of a data set.

    Args:
        balance: Balance of the classes; None for no balance.
        counts: Number of symbols by category.
        n_pages: Number of pages.

    Returns:
        Numbers of symbols by class, and the classes with fewer symbols than intended; empty
        without a balance.
    """
    if balance is None:
        return {}
    by_class = {
        name: sum(counts.get(category, 0) for category in categories)
        for name, categories in class_categories(balance.classes).items()
    }
    least = balance.per_100_pages * n_pages // BLOCK
    return {
        "least": least,
        "classes": by_class,
        "below": [name for name, n in by_class.items() if n < least],
    }
