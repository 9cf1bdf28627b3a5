"""Checks that read pixels: they measure an image, in any process, and count in this one."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar, cast

from eval.lint.pages import LintPage

M = TypeVar("M")
"""Result of measuring one image."""


class InkCheck(ABC, Generic[M]):
    """Check whose work per image needs no earlier image, see :mod:`eval.lint.parallel`."""

    def add(self, page: LintPage) -> None:
        """Add an image, and measure it unless another process has done so."""
        key = type(self).__name__
        measured = page.measured[key] if key in page.measured else self.measure(page)
        if measured is not None:
            self.count(page, cast("M", measured))

    @abstractmethod
    def measure(self, page: LintPage) -> M | None:
        """Measure an image; None if it is not checked, e.g. because it has no staves."""

    @abstractmethod
    def count(self, page: LintPage, measured: M) -> None:
        """Add the result for an image to the counts."""
