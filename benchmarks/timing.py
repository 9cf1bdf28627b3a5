"""Time of alternating tasks, and of the phases of one task."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Time of a task."""

    wall_s: float
    cpu_s: float
    """Sum over all threads of the process; on a machine that others use, less noisy."""


def measured(task: Callable[[], object]) -> Cost:
    """Run a task once."""
    wall, cpu = time.perf_counter(), time.process_time()
    task()
    return Cost(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)


def alternate(tasks: Mapping[str, Callable[[], object]], repeat: int) -> dict[str, Cost]:
    """Run tasks in turns, so that other load affects all of them.

    Args:
        tasks: Functions to measure.
        repeat: Number of rounds.

    Returns:
        Minimum of both times over the rounds for each task.
    """
    rounds = [{name: measured(task) for name, task in tasks.items()} for _ in range(repeat)]
    return {
        name: Cost(
            wall_s=min(costs[name].wall_s for costs in rounds),
            cpu_s=min(costs[name].cpu_s for costs in rounds),
        )
        for name in tasks
    }


@dataclass(slots=True)
class Phases:
    """CPU seconds of nested functions, each without the functions that it calls.

    Args:
        outermost: Name of the time outside all functions.
    """

    outermost: str
    seconds: dict[str, float] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _last: float = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time in a block as that of a phase."""
        self._switch()
        self._open.append(name)
        try:
            yield
        finally:
            self._switch()
            self._open.pop()

    def wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that counts its time as that of a phase."""

        def timed(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            with self.phase(name):
                return function(*args, **options)

        return timed

    @contextmanager
    def watching(self, functions: Mapping[str, tuple[Any, str]]) -> Iterator[None]:
        """Replace functions by timed ones.

        Args:
            functions: Module or object, and attribute, of the function of each phase.
        """
        with ExitStack() as stack, self.phase(self.outermost):
            for name, (owner, attribute) in functions.items():
                timed = self.wrapped(name, getattr(owner, attribute))
                stack.enter_context(mock.patch.object(owner, attribute, timed))
            yield

    def _switch(self) -> None:
        """Count the time since the last change as that of the innermost open phase."""
        now = time.process_time()
        if self._open:
            name = self._open[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now
