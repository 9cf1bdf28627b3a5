"""What happens around the epochs and steps of a training.

Ultralytics calls these functions, in every process of a training, with its ``OmrTrainer``.
"""

import time
from collections.abc import Callable

from torch import distributed
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils import RANK

from training.data.sampling import seed_epoch


def set_clock(trainer: BaseTrainer) -> None:
    """Count the time from where the run was cut off."""
    trainer.train_time_start = time.time() - trainer.earlier["seconds"]


def start_epoch(trainer: BaseTrainer) -> None:
    """Freeze, seed and order the images as this epoch, and no other, has them."""
    trainer.batches_done = trainer.batches_gathered = 0
    trainer.freeze_as_in(trainer.epoch)
    seed_epoch(trainer.args.seed, trainer.epoch, max(RANK, 0))
    trainer.train_loader.sampler.set_epoch(trainer.epoch)


def lower_rate(trainer: BaseTrainer) -> None:
    """Follow the schedule from step to step: in few epochs Ultralytics' own stays high to the end.

    It changes the rate once an epoch, so that the last of two epochs would run at half the rate.
    """
    epochs_done = trainer.epoch + trainer.batches_done / len(trainer.train_loader)
    for group in trainer.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * trainer.lf(epochs_done)
    trainer.batches_done += 1


def name_rates(trainer: BaseTrainer) -> None:
    """Give the rates of layers that are still frozen, too: every epoch has the same columns."""
    names = [f"lr/pg{i}" for i in range(trainer.freezing.n_groups)]
    trainer.lr = dict.fromkeys(names, 0.0) | trainer.lr


def gather_counts(trainer: BaseTrainer) -> None:
    """Add up the counts of all devices; every process calls this at the end of an epoch."""
    counts = trainer.counter.taken(trainer.epoch)
    if trainer.world_size > 1:
        counts = counts.to(trainer.device)
        distributed.all_reduce(counts)
    trainer.counts = trainer.counts + counts.cpu()


EVENTS: tuple[tuple[str, Callable[[BaseTrainer], None]], ...] = (
    ("on_train_start", set_clock),
    ("on_train_epoch_start", start_epoch),
    ("on_train_batch_start", lower_rate),
    ("on_train_epoch_end", gather_counts),
    ("on_train_epoch_end", name_rates),
)
"""Ultralytics' name of each moment, and what happens then."""
