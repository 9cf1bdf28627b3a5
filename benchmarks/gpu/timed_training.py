"""A run of ``omr train`` that ends near a given time, with the learning-rate schedule at its end.

``benchmarks.gpu.learning`` starts it. The number of epochs is not known in advance: it is derived
from the time of the first epochs. Ultralytics' ``time`` limit stops within the last epoch instead.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from ultralytics.utils.callbacks import base as callbacks

from training.config import TrainConfig
from training.trainer import train

MOST_EPOCHS = 200
"""Number of epochs before the first estimate."""
FIRST_ESTIMATES = 3
"""Epochs during which the estimate may increase; afterwards it only decreases."""
TOLERANCE = 0.25
"""Fraction of an epoch by which the run may exceed its time."""


class EpochPlan:
    """Plan of the number of epochs that fit into a time limit.

    Args:
        seconds: Seconds for all epochs.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.epochs = MOST_EPOCHS
        self._ends: list[float] = []

    def end_epoch(self, elapsed_s: float) -> int:
        """Record an epoch that has just ended.

        Args:
            elapsed_s: Seconds since the beginning of the first epoch.

        Returns:
            Total number of epochs, including the finished ones.
        """
        self._ends.append(elapsed_s)
        done = len(self._ends)
        # The first epoch is slower: loader processes start, and memory is allocated.
        per_epoch = elapsed_s if done == 1 else (elapsed_s - self._ends[0]) / (done - 1)
        remaining = int((self._seconds - elapsed_s) / per_epoch + TOLERANCE)
        estimate = done + max(remaining, 0)
        if done <= FIRST_ESTIMATES or estimate < self.epochs:
            self.epochs = estimate
        return self.epochs


def follow_plan(plan: EpochPlan) -> None:
    """Make every training run of this process follow a plan."""
    loaded = begin = time.monotonic()

    def start(_trainer: Any) -> None:  # noqa: ANN401
        nonlocal begin
        begin = time.monotonic()
        print(f"first step {begin - loaded:.1f} s after the imports", flush=True)

    def adapt(trainer: Any) -> None:  # noqa: ANN401
        # The learning-rate schedule and the end of the run both depend on this number.
        elapsed = time.monotonic() - begin
        trainer.epochs = trainer.args.epochs = plan.end_epoch(elapsed)
        print(f"epoch {trainer.epoch + 1} of {plan.epochs} ended at {elapsed:.1f} s", flush=True)

    callbacks.default_callbacks["on_train_start"].append(start)
    callbacks.default_callbacks["on_train_epoch_end"].append(adapt)


def main() -> None:
    """Train with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that omr convert wrote")
    parser.add_argument("out", type=Path, help="run folder to create")
    parser.add_argument("--seconds", type=float, required=True, help="time for all epochs")
    parser.add_argument("--model", required=True)
    parser.add_argument("--imgsz", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--warmup-epochs", type=float, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--workers", type=int, required=True)
    options = vars(parser.parse_args())
    follow_plan(EpochPlan(options.pop("seconds")))
    train(TrainConfig(epochs=MOST_EPOCHS, validate=False, lint=False, **options))


if __name__ == "__main__":
    main()
