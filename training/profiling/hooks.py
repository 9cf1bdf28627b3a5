"""Functions and assigners that report to a clock when they begin and end."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from training.assigners.assigner import WrappedAssigner
from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.predictions import Predictions
from training.profiling.clock import PhaseClock

Function = TypeVar("Function", bound=Callable[..., Any])


def between(function: Function, clock: PhaseClock, phase: str, phase_after: str) -> Function:
    """Wrap a function so that one phase begins before it and another one after it.

    Args:
        function: Function to time.
        clock: Clock to report to.
        phase: Name of the function's phase.
        phase_after: Name of the phase that follows.
    """

    def timed(*args: object, **options: object) -> Any:  # noqa: ANN401
        clock.begin(phase)
        result = function(*args, **options)
        clock.begin(phase_after)
        return result

    return timed  # type: ignore[return-value]


class _TimedAssigner(WrappedAssigner):
    """Wraps an assigner of omr so that its phase is timed; arguments as for :func:`between`."""

    def __init__(self, inner: Any, clock: PhaseClock, phase: str, phase_after: str) -> None:  # noqa: ANN401
        super().__init__(inner)
        self._assign = between(inner.assign, clock, phase, phase_after)

    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """See :class:`~training.assigners.assigner.Assigner`."""
        assignment: Assignment = self._assign(predictions, anchors, targets)
        return assignment


def timed_assigner(assigner: Any, clock: PhaseClock, phase: str, phase_after: str) -> Any:  # noqa: ANN401
    """Return an assigner whose phase is timed.

    Args:
        assigner: Assigner of omr, or that of Ultralytics, which is changed in place.
        clock: Clock to report to.
        phase: Name of the assigner's phase.
        phase_after: Name of the phase that follows.
    """
    if isinstance(assigner, nn.Module):  # Ultralytics' own
        assigner.forward = between(assigner.forward, clock, phase, phase_after)
        return assigner
    return _TimedAssigner(assigner, clock, phase, phase_after)
