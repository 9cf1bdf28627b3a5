"""Errors that a user can fix, and helpers for their messages.

* OmrError                 printed as one line, exit status 1
  * InputError             a file is malformed or contains an invalid value
  * ConfigError            an option is invalid, or options contradict each other
  * MissingExtraError      an optional dependency is not installed

Errors of the operating system are printed as one line too. Any other exception is a bug in omr and
keeps its traceback.

Messages have one of two forms, each built by its error class::

    path: where: problem; what to do        InputError(reason, path=path, where=where)
    --option VALUE: problem; what to do     ConfigError(reason, option="--option", value=value)
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path


class OmrError(Exception):
    """Base class of every error that the user can fix."""


class InputError(OmrError):
    """A file that is malformed or contains an invalid value.

    Args:
        reason: Problem, expected value and remedy.
        path: File that contains the problem.
        where: Location inside the file, such as ``annotations[17].a_bbox``.
    """

    def __init__(self, reason: str, *, path: Path, where: str = "") -> None:
        super().__init__(": ".join(part for part in (str(path), where, reason) if part))
        self.reason, self.path, self.where = reason, path, where

    def __reduce__(self) -> tuple[object, ...]:
        """Let a worker process pickle the error for the main process."""
        return partial(InputError, path=self.path, where=self.where), (self.reason,)


class ConfigError(OmrError):
    """An invalid option, or options that contradict each other or would give misleading results.

    Args:
        reason: Problem, expected value and remedy; the whole message if ``option`` is empty.
        option: Command-line option at fault, such as ``--val``.
        value: Value that the user gave; None to omit it from the message.
    """

    def __init__(self, reason: str, *, option: str = "", value: object = None) -> None:
        name = option if value is None else f"{option} {value}"
        super().__init__(f"{name}: {reason}" if option else reason)


class MissingExtraError(OmrError):
    """An optional dependency that is not installed."""


def short_list(words: Sequence[str], most: int) -> str:
    """List the first ``most`` words and count the rest: ``a, b and 3 more``."""
    return ", ".join(words[:most]) + and_more(words, most)


def and_more(words: Sequence[str], most: int) -> str:
    """Return `` and 3 more`` for a list of ``most + 3`` words, or nothing for a short list."""
    return f" and {len(words) - most} more" if len(words) > most else ""


def with_nearest(words: Iterable[str], known: Iterable[str]) -> str:
    """List unknown words, each with the most similar known word.

    Args:
        words: Unknown words; sorted, and each is listed once.
        known: Valid words.

    Returns:
        For example ``flag8th (did you mean flag8thUp?), xyz``.
    """
    choices = sorted(set(known))
    listed = []
    for word in sorted(set(words)):
        near = get_close_matches(word, choices, n=1, cutoff=0.6)
        listed.append(f"{word} (did you mean {near[0]}?)" if near else word)
    return ", ".join(listed)
