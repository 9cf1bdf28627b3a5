"""Learning-rate range test.

A few steps are trained with a rate that rises from step to step, and the weights are discarded. The
rate at which the loss falls fastest is suitable; rates slightly above the rate with the lowest loss
are too high.

Source: Smith, https://arxiv.org/abs/1506.01186, section 3.3. The constant factor between rates, the
smoothing, the end at four times the lowest loss and the tenth of the rate with the lowest loss
follow fastai (https://docs.fast.ai/callback.schedule.html).
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from class_maps import ConfigError
from converters.files.atomic_files import output_files
from converters.files.output_lock import locked_folder
from converters.files.overwriting import check_files
from converters.tracking import Track, untracked
from training.config import TrainConfig
from training.single_steps import check_one_device, steps_of, temporary_trainer

LOWEST, HIGHEST = 1e-6, 1.0
"""Learning rates of the first step and of the last."""
N_STEPS = 100
SMOOTHING = 0.9
"""Weight of a loss in a running mean relative to the next one."""
DIVERGED = 4.0
"""Multiple of the lowest mean loss at which a test ends."""
RESULT_FILE, PLOT_FILE = "lr.json", "lr.html"
"""Files in the output folder; the plot is drawn by the command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RangeTest:
    """Losses of one or more steps at rising learning rates."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Mean loss per image before each step; finite."""

    @property
    def smoothed(self) -> tuple[float, ...]:
        """Weighted mean of the losses around each step."""
        # A mean of earlier losses alone would show each fall and rise some steps too late.
        before, after = running_means(self.losses), running_means(self.losses[::-1])[::-1]
        return tuple((a + b) / 2 for a, b in zip(before, after, strict=True))

    @property
    def tenth_of_lowest(self) -> float | None:
        """A tenth of the rate with the lowest smoothed loss; None if the loss never fell."""
        lowest = int(np.argmin(self.smoothed))
        return self.rates[lowest] / 10 if lowest else None

    @property
    def steepest(self) -> float | None:
        """Rate at which the smoothed loss fell fastest; None if it never fell."""
        lowest = int(np.argmin(self.smoothed))
        if not lowest:
            return None
        slopes = np.gradient(self.smoothed[: lowest + 1], np.log(self.rates[: lowest + 1]))
        return self.rates[int(np.argmin(slopes))]

    @property
    def suggestion(self) -> float | None:
        """Lower of the two rates, to two digits; None if the loss never fell."""
        if self.steepest is None or self.tenth_of_lowest is None:
            return None
        return float(f"{min(self.steepest, self.tenth_of_lowest):.1e}")

    def to_json(self) -> dict[str, Any]:
        """Convert the result to types that JSON can represent."""
        return {
            "suggestion": self.suggestion,
            "steepest": self.steepest,
            "tenth_of_lowest": self.tenth_of_lowest,
            "rates": list(self.rates),
            "losses": list(self.losses),
            "smoothed": list(self.smoothed),
        }


def find_rate(
    config: TrainConfig, *, force: bool = False, track: Track[float] = untracked
) -> RangeTest:
    """Test learning rates, and write ``lr.json`` into ``config.out``.

    Args:
        config: Configuration of the training run that needs a learning rate.
        force: Whether to replace the files of an earlier test; other files are never replaced.
        track: Wrapper around the rates that shows progress.

    Raises:
        ConfigError: The folder is not free, there are several devices, or the training run could
            not be started.
        InputError: A data set or the weights cannot be read, or do not match.
    """
    check_one_device(config, "--find-lr")
    files = (config.out / RESULT_FILE, config.out / PLOT_FILE)
    check_files(*files, force=force, exclusive=True)
    with locked_folder(config.out):
        check_files(*files, force=force, exclusive=True)
        result = _tested(config, track)
        check_files(*files, force=force, exclusive=True)  # again: minutes have passed
        with output_files(files[0], force=force) as (part,):
            part.write_text(json.dumps(result.to_json(), indent=1), "utf-8")
    return result


def _tested(config: TrainConfig, track: Track[float]) -> RangeTest:
    """Run the learning-rate range test of a training configuration."""
    with temporary_trainer(config) as trainer:
        return range_test(steps_of(trainer), rising_rates(), track)


def rising_rates() -> list[float]:
    """Return the learning rates of all steps, rising by a constant factor."""
    return [float(rate) for rate in np.geomspace(LOWEST, HIGHEST, N_STEPS)]


def range_test(
    step: Callable[[float], float], rates: Sequence[float], track: Track[float] = untracked
) -> RangeTest:
    """Train step by step until the loss diverges.

    Args:
        step: Function that takes one step at a learning rate and returns the loss before it.
        rates: Learning rate of each step.
        track: Wrapper around the rates that shows progress.

    Raises:
        ConfigError: The first loss is already NaN or Inf.
    """
    losses: list[float] = []
    for rate in track(rates, len(rates)):
        loss = step(rate)
        if not math.isfinite(loss):
            break
        losses.append(loss)
        means = running_means(losses)
        if means[-1] > DIVERGED * min(means):
            break
    if not losses:
        raise ConfigError(
            "--find-lr: the loss of the first step is not finite; check the images and labels"
        )
    return RangeTest(rates=tuple(rates[: len(losses)]), losses=tuple(losses))


def running_means(losses: Sequence[float]) -> list[float]:
    """Compute the mean of the losses up to each step, each weighted 0.9 times as much as the next.

    Args:
        losses: Losses in the order of the steps.
    """
    means, total, weight = [], 0.0, 0.0
    for loss in losses:
        total = SMOOTHING * total + loss
        weight = SMOOTHING * weight + 1
        means.append(total / weight)
    return means
