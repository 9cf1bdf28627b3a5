"""The errors a user can cause, and the hint that most of them end with.

* OmrError                 shown as one line, exit status 1
  * InputError             a file says something it must not
  * ConfigError            settings that contradict each other
  * MissingExtraError      an optional dependency is not installed

Anything else that escapes is a bug of ours and keeps its traceback.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path


class OmrError(Exception):
    """Base of every error that the user can put right."""


class InputError(OmrError):
    """A file says something it must not.

    Args:
        reason: What is wrong, what was expected, and how to put it right.
        path: The file.
        where: The place inside the file, such as ``annotations[17].a_bbox``.
    """

    def __init__(self, reason: str, *, path: Path, where: str = "") -> None:
        super().__init__(": ".join(part for part in (str(path), where, reason) if part))
        self.reason, self.path, self.where = reason, path, where

    def __reduce__(self) -> tuple[object, ...]:
        """Let a worker process hand the error to the main one."""
        return partial(InputError, path=self.path, where=self.where), (self.reason,)


class ConfigError(OmrError):
    """Settings that contradict each other, or that would mislead."""


class MissingExtraError(OmrError):
    """An optional dependency is not installed."""


def some(words: Sequence[str], most: int) -> str:
    """List the first words and count the rest: ``a, b and 3 more``."""
    return ", ".join(words[:most]) + and_more(words, most)


def and_more(words: Sequence[str], most: int) -> str:
    """Count what a list leaves out that shows the first words: `` and 3 more``, or nothing."""
    return f" and {len(words) - most} more" if len(words) > most else ""


def with_nearest(words: Iterable[str], known: Iterable[str]) -> str:
    """List unknown words, each with the known word it resembles most.

    Args:
        words: Words that were not understood; sorted and shown once each.
        known: Words that would have been.

    Returns:
        For example ``flag8th (did you mean flag8thUp?), xyz``.
    """
    choices = sorted(set(known))
    shown = []
    for word in sorted(set(words)):
        near = get_close_matches(word, choices, n=1, cutoff=0.6)
        shown.append(f"{word} (did you mean {near[0]}?)" if near else word)
    return ", ".join(shown)
