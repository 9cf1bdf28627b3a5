"""Memory predictions that share one recorded training step."""

from dataclasses import replace

import pytest

from training.memory.fake_step import recorded_step
from training.memory.step_spec import StepSpec
from training.memory.timeline import MANY, Timeline


def share_recording(patch: pytest.MonkeyPatch) -> None:
    """Predict the memory of every step as if each image had 4 symbols and 32 candidate pairs.

    Recording a step takes seconds, and the symbols of a page change its memory very little.
    """

    def shared(spec: StepSpec) -> tuple[Timeline, int]:
        return recorded_step(replace(spec, boxes=4 * MANY, pairs=32 * MANY))

    patch.setattr("training.memory.step.recorded_step", shared)


def share_recording_of_a_size(patch: pytest.MonkeyPatch) -> None:
    """Record a step once per input size, with the symbols of the first step of that size."""
    first: dict[StepSpec, StepSpec] = {}

    def shared(spec: StepSpec) -> tuple[Timeline, int]:
        return recorded_step(first.setdefault(replace(spec, boxes=0, pairs=0), spec))

    patch.setattr("training.memory.step.recorded_step", shared)
