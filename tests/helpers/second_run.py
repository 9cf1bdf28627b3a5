"""A second run of a command while the first one works."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def during(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, second_run: Callable[[], T]
) -> list[T]:
    """Start a second run when the first one calls a function.

    Args:
        monkeypatch: Pytest's fixture.
        module: Module that calls the function.
        name: Name of the function.
        second_run: The second run, which is started once.

    Returns:
        List that receives the result of the second run.
    """
    results: list[T] = []
    original = getattr(module, name)
    calls: list[int] = []

    def call(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        calls.append(1)
        if len(calls) == 1:
            results.append(second_run())
        return original(*args, **options)

    monkeypatch.setattr(module, name, call)
    return results
