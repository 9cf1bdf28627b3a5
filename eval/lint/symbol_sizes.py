"""Sizes of the symbols of each class in staff spaces, learnt from engraved pages.

``symbol_sizes.json`` is written by ``python -m recipes.symbol_sizes``.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

FILE = Path(__file__).with_name("symbol_sizes.json")


class Range(msgspec.Struct, frozen=True):
    """Quantiles of a size."""

    low: float
    """0.1% quantile."""
    median: float
    high: float
    """99.9% quantile."""


class SymbolSize(msgspec.Struct, frozen=True):
    """Size of the symbols of a class."""

    n: int
    """Number of symbols that the quantiles are taken from."""
    width: Range
    """Width in staff spaces."""
    height: Range
    """Height in staff spaces."""
    aspect: Range
    """Width divided by height."""


@cache
def symbol_sizes() -> Mapping[str, SymbolSize]:
    """Return the size of every class in the table."""
    return msgspec.json.decode(FILE.read_bytes(), type=dict[str, SymbolSize])
