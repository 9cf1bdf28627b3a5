"""Finds a learning rate by a range test.

A few steps are trained with a rate that rises from step to step, and the weights are thrown away.
Where the loss falls fastest the rate is good; not far above the rate of the lowest loss it is too
high.

Source: Smith, https://arxiv.org/abs/1506.01186, section 3.3; that the rate rises by a constant
factor, the smoothing, the end at four times the lowest loss and the tenth of the rate of the lowest
loss are fastai's (https://docs.fast.ai/callback.schedule.html).
"""

import contextlib
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from ultralytics.utils.torch_utils import autocast, unset_deterministic

from class_maps import ConfigError
from converters.files.overwriting import check_files
from training.config import TrainConfig
from training.engine.omr_trainer import OmrTrainer
from training.runtime.distributed import n_started
from training.trainer import ready_trainer

LOWEST, HIGHEST = 1e-6, 1.0
"""Rates of the first step and of the last."""
N_STEPS = 100
SMOOTHING = 0.9
"""Weight of a loss in a mean, as a share of its neighbour's."""
DIVERGED = 4.0
"""Times the lowest mean, at which a test ends."""
FIGURES_FILE, PLOT_FILE = "lr.json", "lr.png"


@dataclass(frozen=True, kw_only=True, slots=True)
class RangeTest:
    """Losses at rising learning rates, S steps, at least one."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Mean of the images of a step, before the step; finite."""

    @property
    def smoothed(self) -> tuple[float, ...]:
        """Mean of the losses around each step, the nearest with the most weight."""
        # A mean of the earlier ones alone would show every fall and rise some steps too late.
        before, after = running_means(self.losses), running_means(self.losses[::-1])[::-1]
        return tuple((one + other) / 2 for one, other in zip(before, after, strict=True))

    @property
    def tenth_of_lowest(self) -> float | None:
        """A tenth of the rate with the lowest smoothed loss; None if the loss never fell."""
        lowest = int(np.argmin(self.smoothed))
        return self.rates[lowest] / 10 if lowest else None

    @property
    def steepest(self) -> float | None:
        """The rate at which the smoothed loss fell fastest; None if it never fell."""
        lowest = int(np.argmin(self.smoothed))
        if not lowest:
            return None
        slopes = np.gradient(self.smoothed[: lowest + 1], np.log(self.rates[: lowest + 1]))
        return self.rates[int(np.argmin(slopes))]

    @property
    def suggestion(self) -> float | None:
        """The lower of the two, with two digits; None if the loss never fell."""
        if self.steepest is None or self.tenth_of_lowest is None:
            return None
        return float(f"{min(self.steepest, self.tenth_of_lowest):.1e}")

    def to_json(self) -> dict[str, Any]:
        """Give everything in forms that JSON knows."""
        return {
            "suggestion": self.suggestion,
            "steepest": self.steepest,
            "tenth_of_lowest": self.tenth_of_lowest,
            "rates": list(self.rates),
            "losses": list(self.losses),
            "smoothed": list(self.smoothed),
        }


def find_rate(config: TrainConfig, *, force: bool = False) -> RangeTest:
    """Test learning rates, and write ``lr.json`` and ``lr.png`` into ``config.out``.

    Args:
        config: Of the training that a rate is sought for.
        force: Replace those two files; a folder that has others is never touched.

    Raises:
        ConfigError: The folder is not free, several devices, or what a training would not take.
        InputError: Something is wrong with the data set or the weights.
    """
    if "," in config.device or n_started():
        raise ConfigError("a learning rate is sought on one device: name one, without torchrun")
    files = (config.out / FIGURES_FILE, config.out / PLOT_FILE)
    check_files(*files, force=force, exclusive=True)
    # What a trainer writes as it starts would look like a run that was cut off.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        trainer = ready_trainer(replace(config, out=Path(folder) / "run"))
        trainer.guard = None  # it is to be seen where the loss diverges
        try:
            found = range_test(_step(trainer), rising_rates())
        finally:
            unset_deterministic()
            for loader in (trainer.train_loader, trainer.test_loader):
                if hasattr(loader, "close"):  # not in the oldest Ultralytics
                    loader.close()
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / FIGURES_FILE).write_text(json.dumps(found.to_json(), indent=1), "utf-8")
    draw(found, config.out / PLOT_FILE)
    return found


def rising_rates() -> list[float]:
    """List the rates of all steps, each the same factor above the one before."""
    return [float(rate) for rate in np.geomspace(LOWEST, HIGHEST, N_STEPS)]


def range_test(step: Callable[[float], float], rates: Sequence[float]) -> RangeTest:
    """Train step by step until the loss is out of hand.

    Args:
        step: Makes a step with a rate, and returns the loss before it.
        rates: Of each step.

    Raises:
        ConfigError: Not even the first loss is a number.
    """
    losses: list[float] = []
    for rate in rates:
        loss = step(rate)
        if not math.isfinite(loss):
            break
        losses.append(loss)
        means = running_means(losses)
        if means[-1] > DIVERGED * min(means):
            break
    if not losses:
        raise ConfigError("the loss of the first step is not finite: no learning rate can help")
    return RangeTest(rates=tuple(rates[: len(losses)]), losses=tuple(losses))


def running_means(losses: Sequence[float]) -> list[float]:
    """Compute at each step the mean of the losses so far, each weighted 0.9 times the next.

    Args:
        losses: In the order of the steps.
    """
    means, total, weight = [], 0.0, 0.0
    for loss in losses:
        total = SMOOTHING * total + loss
        weight = SMOOTHING * weight + 1
        means.append(total / weight)
    return means


def draw(found: RangeTest, file: Path) -> None:
    """Draw the losses over the rates.

    Args:
        found: What a test gave.
        file: PNG to write.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(found.rates, found.losses, color="0.7", linewidth=1, label="loss of a step")
    axes.plot(found.rates, found.smoothed, color="C0", linewidth=2, label="smoothed")
    for rate, name, colour in (
        (found.steepest, "steepest descent", "C1"),
        (found.tenth_of_lowest, "a tenth of the lowest loss's rate", "C2"),
    ):
        if rate is not None:
            label = f"{name}: {rate:.2g}"
            axes.axvline(rate, color=colour, linestyle="--", label=label)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss an image")
    axes.legend()
    figure.savefig(file, dpi=120)


def _step(trainer: OmrTrainer) -> Callable[[float], float]:
    """Give a function that makes a step with a learning rate, and returns the loss before it."""
    trainer._model_train()
    trainer.epoch = 0
    batches = _batches(trainer)
    base = trainer.args.lr0

    def step(rate: float) -> float:
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate * group["initial_lr"] / base
        loss, n_images = 0.0, 0
        for _ in range(trainer.batches_a_step):
            batch = next(batches)
            loss += _backward(trainer, batch)
            n_images += len(batch["img"])
            if not math.isfinite(loss):
                break
            trainer.optimizer_step()
        return loss / n_images

    return step


def _backward(trainer: OmrTrainer, batch: dict[str, Any]) -> float:
    """Add the gradient of a batch, and return its loss."""
    half = torch.bfloat16 if trainer.args.amp == "bf16" else trainer.amp
    with autocast(half, device=trainer.device.type):
        losses, _ = trainer.model(trainer.preprocess_batch(batch))
        loss = losses.sum()
    trainer.scaler.scale(loss).backward()
    return float(loss.detach())


def _batches(trainer: OmrTrainer) -> Iterator[dict[str, Any]]:
    """Yield batches without end."""
    for epoch in count():
        trainer.train_loader.sampler.set_epoch(epoch)
        yield from trainer.train_loader
