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
from reprlib import Repr

MOST_CHARACTERS = 60
"""Maximum length of a text from a file that a message quotes in full."""
MOST_WORDS = 5
"""Maximum number of unknown words that a message shows in full."""
MOST_MESSAGE = 2000
"""Maximum length of a message; longer ones lose their middle."""


class OmrError(Exception):
    """Base class of every error that the user can fix.

    Args:
        message: Message, which is printed on one line, see :func:`one_line`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


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


def one_line(message: str) -> str:
    """Return a message as one printable line; the middle of a very long one is omitted.

    Control characters, such as those in a file name, are escaped: they could change the terminal.
    """
    if len(message) > MOST_MESSAGE:
        half = MOST_MESSAGE // 2
        message = f"{message[:half]} ... {message[-half:]}"
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)


def shortened(text: str) -> str:
    """Return a text from a file for a message: on one line, printable, and not too long."""
    if len(text) > MOST_CHARACTERS:
        text = f"{text[: MOST_CHARACTERS - 3]}..."
    return text if text.isprintable() else repr(text)[1:-1]


def shown(value: object) -> str:
    """Return a value from a file for a message, like ``repr``, but not too long."""
    limited = Repr()
    limited.maxlevel, limited.maxstring, limited.maxother = 2, MOST_CHARACTERS, MOST_CHARACTERS
    return shortened(limited.repr(value))


def listed(words: Iterable[str]) -> str:
    """List words from a file, each shortened, and count those beyond the first few."""
    return short_list([shortened(word) for word in words], MOST_WORDS)


def short_list(names: Sequence[str], most: int) -> str:
    """List the first ``most`` names and count the rest: ``a, b and 3 more``."""
    return ", ".join(names[:most]) + and_more(names, most)


def and_more(names: Sequence[str], most: int) -> str:
    """Return `` and 3 more`` for a list of ``most + 3`` names, or nothing for a short list."""
    return f" and {len(names) - most} more" if len(names) > most else ""


def with_nearest(names: Iterable[str], known: Iterable[str]) -> str:
    """List unknown names, each with the most similar known name.

    Args:
        names: Unknown names; the first ones in alphabetical order are listed, the rest is counted.
        known: Valid names.

    Returns:
        For example ``flag8th (did you mean flag8thUp?), xyz``.
    """
    choices = sorted(set(known))
    described = []
    unknown = sorted(set(names))
    for name in unknown[:MOST_WORDS]:
        matches = get_close_matches(name[:MOST_CHARACTERS], choices, n=1, cutoff=0.6)
        described.append(shortened(name) + (f" (did you mean {matches[0]}?)" if matches else ""))
    return ", ".join(described) + and_more(unknown, MOST_WORDS)
