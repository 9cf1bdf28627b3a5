"""TensorBoard event files of a training, in its run folder.

``tensorboard --logdir RUN`` shows them: ``train/...`` and ``lr/...`` after each step, validation
metrics after each epoch. ``results.csv`` contains the means of each epoch as well.
"""

import importlib.util
import math
from collections.abc import Mapping

from class_maps import MissingExtraError
from training.engine.running_trainer import RunningTrainer
from training.runtime.nan_guard import on_host


def check_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError("--tensorboard needs tensorboard: pip install 'omr-toolkit[log]'")


def write_scalars(trainer: RunningTrainer) -> None:
    """Start writing losses, learning rates and metrics.

    Args:
        trainer: Trainer after its set-up; ``start_epoch`` is the first epoch of this call.
    """
    from torch.utils.tensorboard import SummaryWriter

    def step_of(epoch: int) -> int:
        return epoch * len(trainer.train_loader)

    # A killed run may have written steps after its last saved epoch; steps count from 1.
    first = step_of(trainer.start_epoch) + 1
    writer = SummaryWriter(str(trainer.save_dir), purge_step=first)

    def write(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                writer.add_scalar(name, value, step)

    def after_step(trainer: RunningTrainer) -> None:
        items = on_host(trainer.loss_items)
        losses = {f"train/{name}": float(value) for name, value in items.items()}
        groups = enumerate(trainer.optimizer.param_groups)
        rates = {f"lr/pg{i}": float(group["lr"]) for i, group in groups}
        write(losses | rates, step_of(trainer.epoch) + trainer.state.batches_done)

    def after_epoch(trainer: RunningTrainer) -> None:
        if trainer.args.val:
            metrics = {name: float(value) for name, value in trainer.metrics.items()}
            write(metrics, step_of(trainer.epoch + 1))
        writer.flush()

    trainer.add_callback("on_train_batch_end", after_step)
    trainer.add_callback("on_fit_epoch_end", after_epoch)
    trainer.add_callback("teardown", lambda _trainer: writer.close())
