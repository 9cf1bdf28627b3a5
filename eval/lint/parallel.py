"""Images of a data set, whose ink worker processes measure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import TypeAlias

from converters.files.process_pool import in_order
from eval.lint.ink_check import InkCheck
from eval.lint.pages import LintPage
from eval.lint.rules import RULES, RuleSettings

ActiveRules: TypeAlias = tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
"""Each rule that is checked, with its thresholds."""


def measured_pages(
    pages: Iterable[LintPage],
    names: Sequence[str],
    settings: Mapping[str, RuleSettings],
    workers: int,
) -> Iterator[LintPage]:
    """Yield images in order, with the results of the rules that read pixels.

    Args:
        pages: Images; a number of them per worker is in memory, without their pixels.
        names: Names of the classes.
        settings: Settings by rule.
        workers: Number of processes; with 1, the rules measure the images themselves.

    Raises:
        InputError: An image or a label file is malformed.
        OmrError: A worker process was killed.
    """
    active = tuple(
        (rule, tuple(its.thresholds.items()))
        for rule, its in settings.items()
        if its.level != "off"
    )
    if workers == 1 or not _ink_checks(tuple(names), active):
        return iter(pages)
    return in_order(partial(_measured, tuple(names), active), pages, workers)


@lru_cache(maxsize=1)
def _ink_checks(names: tuple[str, ...], active: ActiveRules) -> list[InkCheck[object]]:
    """Make the active checks that read pixels, once per process."""
    thresholds = {rule: dict(values) for rule, values in active}
    checks = [rule.check(names, thresholds[rule.id]) for rule in RULES if rule.id in thresholds]
    return [check for check in checks if isinstance(check, InkCheck)]


def _measured(names: tuple[str, ...], active: ActiveRules, page: LintPage) -> LintPage:
    for check in _ink_checks(names, active):
        page.measured[type(check).__name__] = check.measure(page)
    return page
