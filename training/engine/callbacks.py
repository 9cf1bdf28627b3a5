"""Callbacks around the epochs and steps of a training run.

Ultralytics calls them with its trainer, an ``OmrTrainer``, in every training process.
"""

import time
from collections.abc import Callable

from torch import distributed

from training.data.sampling import seed_epoch
from training.engine.learning_rate import rate_factor, used_warmup, warmed_up
from training.engine.running_trainer import RunningTrainer
from training.engine.weight_average import ema_decay
from training.models.training_record import TrainingRecord
from training.runtime.distributed import rank


def set_clock(trainer: RunningTrainer) -> None:
    """Add the time before an interruption to the training time."""
    trainer.train_time_start = time.time() - trainer.state.earlier.seconds


def set_average(trainer: RunningTrainer) -> None:
    """Make the moving average of the weights fit the number of steps."""
    trainer.ema.decay = ema_decay


def set_record(record: TrainingRecord, trainer: RunningTrainer) -> None:
    """Set the record to save with the weights.

    Args:
        record: Record of the training images.
        trainer: Trainer before its first epoch.
    """
    trainer.state.training = record


def start_epoch(trainer: RunningTrainer) -> None:
    """Freeze layers, seed the generators and order the images for the current epoch."""
    trainer.state.batches_done = trainer.state.batches_accumulated = 0
    trainer.freeze_for_epoch(trainer.epoch)
    seed_epoch(trainer.args.seed, trainer.epoch, rank())
    trainer.train_loader.sampler.set_epoch(trainer.epoch)


def set_rate(trainer: RunningTrainer) -> None:
    """Set the learning rate of a step, and the momentum of SGD in the warm-up.

    Ultralytics changes the rate once per epoch: the last of two epochs would run at half the rate.
    """
    state, args, n_per_epoch = trainer.state, trainer.args, len(trainer.train_loader)
    n_warmup = round(used_warmup(trainer.epochs, trainer.options.warmup_epochs) * n_per_epoch)
    # All batches of a step have the rate of the first.
    done = trainer.epoch * n_per_epoch + state.batches_done - state.batches_accumulated
    factor = rate_factor(
        done, n_batches=trainer.epochs * n_per_epoch, n_warmup=n_warmup, final=args.lrf
    )
    rise = (args.momentum - args.warmup_momentum) * warmed_up(done, n_warmup)
    for group in trainer.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
        if "momentum" in group:
            group["momentum"] = args.warmup_momentum + rise
    state.batches_done += 1


def add_frozen_rates(trainer: RunningTrainer) -> None:
    """Report a rate of 0 for layers that are still frozen, so that the columns never change."""
    names = [f"lr/pg{i}" for i in range(trainer.freezing.n_groups)]
    trainer.lr = dict.fromkeys(names, 0.0) | trainer.lr


def add_symbol_counts(trainer: RunningTrainer) -> None:
    """Add the symbol counts of an epoch on all devices; every process calls this."""
    counts = trainer.state.counter.take(trainer.epoch)
    if trainer.world_size > 1:
        counts = counts.to(trainer.device)
        distributed.all_reduce(counts)
    trainer.state.counts = trainer.state.counts + counts.cpu()


EVENTS: tuple[tuple[str, Callable[[RunningTrainer], None]], ...] = (
    ("on_pretrain_routine_end", set_average),
    ("on_train_start", set_clock),
    ("on_train_epoch_start", start_epoch),
    ("on_train_batch_start", set_rate),
    ("on_train_epoch_end", add_symbol_counts),
    ("on_train_epoch_end", add_frozen_rates),
)
"""Ultralytics' events, and the callbacks that run at each."""
