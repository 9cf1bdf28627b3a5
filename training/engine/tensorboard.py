"""Writes a training's figures for TensorBoard, into the run folder.

``tensorboard --logdir RUN`` shows them: ``train/...`` and ``lr/...`` after each step, what a
validation measures after each epoch. ``results.csv`` has the means of the epochs as well.
"""

import importlib.util
import math
from collections.abc import Mapping

from ultralytics.engine.trainer import BaseTrainer

from class_maps import MissingExtraError
from training.engine.nan_guard import on_host


def check_tensorboard() -> None:
    """Make sure that the package is there.

    Raises:
        MissingExtraError: It is not.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError("--tensorboard needs tensorboard: pip install 'omr-toolkit[log]'")


def write_scalars(trainer: BaseTrainer) -> None:
    """Write what a training measures from now on.

    Args:
        trainer: Set up; its ``start_epoch`` is the first of this call.
    """
    from torch.utils.tensorboard import SummaryWriter

    def step_of(epoch: int) -> int:
        return epoch * len(trainer.train_loader)

    # A killed run may have written further than it saved; steps count from 1.
    first = step_of(trainer.start_epoch) + 1
    writer = SummaryWriter(str(trainer.save_dir), purge_step=first)

    def write(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                writer.add_scalar(name, value, step)

    def after_step(trainer: BaseTrainer) -> None:
        items = on_host(trainer.loss_items)
        losses = {f"train/{name}": float(value) for name, value in items.items()}
        groups = enumerate(trainer.optimizer.param_groups)
        rates = {f"lr/pg{i}": float(group["lr"]) for i, group in groups}
        write(losses | rates, step_of(trainer.epoch) + trainer.batches_done)

    def after_epoch(trainer: BaseTrainer) -> None:
        if trainer.args.val:
            measured = {name: float(value) for name, value in trainer.metrics.items()}
            write(measured, step_of(trainer.epoch + 1))
        writer.flush()

    trainer.add_callback("on_train_batch_end", after_step)
    trainer.add_callback("on_fit_epoch_end", after_epoch)
    trainer.add_callback("teardown", lambda _trainer: writer.close())
