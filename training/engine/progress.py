"""Progress reports to a display, which the caller provides.

Only the first process reports. The losses are those that the NaN guard has fetched, so a report
never waits for the device.
"""

import psutil
import torch
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils.torch_utils import unwrap_model

from settings.activations import counts_text
from training.data.label_files import LabelCounts
from training.engine.display import TrainingDisplay, TrainingStart, TrainingStep
from training.engine.recalibration import recalibration_text
from training.engine.running_trainer import RunningTrainer
from training.heads.grouped import GroupedDetect
from training.models.activations import activation_counts


def report_progress(trainer: RunningTrainer, display: TrainingDisplay, counts: LabelCounts) -> None:
    """Report to a display from now on.

    Args:
        trainer: Trainer after its set-up.
        display: Display of this process.
        counts: Counts of the training images.
    """

    def after_step(trainer: RunningTrainer) -> None:
        if display.is_due():
            display.show_step(_step(trainer))

    def after_validation_batch(validator: DetectionValidator) -> None:
        if display.is_due():
            display.show_validation(validator.batch_i + 1, len(validator.dataloader))

    def after_epoch(trainer: RunningTrainer) -> None:
        display.show_epoch(_step(trainer), trainer.metrics if trainer.args.val else {})

    start = _start(trainer, counts)
    trainer.add_callback("on_train_start", lambda _trainer: display.start(start))
    trainer.add_callback("on_train_batch_end", after_step)
    trainer.add_callback("on_val_batch_end", after_validation_batch)
    trainer.add_callback("on_fit_epoch_end", after_epoch)


def _start(trainer: RunningTrainer, counts: LabelCounts) -> TrainingStart:
    model = unwrap_model(trainer.model)
    head, recalibration = model.model[-1], trainer.state.recalibration
    return TrainingStart(
        model=trainer.options.name,
        n_heads=len(head.labels) if isinstance(head, GroupedDetect) else 1,
        boxes=_origin_of_boxes(trainer),
        activations=counts_text(activation_counts(model)),
        transfer=_transfer_report(trainer),
        recalibration=recalibration_text(recalibration) if recalibration else "",
        n_images=counts.images,
        n_symbols=counts.symbols,
        epochs_done=trainer.start_epoch,
        n_epochs=trainer.args.epochs,
        scores_pages=trainer.options.select == "page",
    )


def _origin_of_boxes(trainer: RunningTrainer) -> str:
    if trainer.state.priors is not None:
        return "size prior"
    transferred = trainer.state.transferred
    is_new_run = not trainer.resume
    return "boxes from weights" if is_new_run and transferred and transferred.boxes else "no prior"


def _transfer_report(trainer: RunningTrainer) -> str:
    transferred = trainer.state.transferred
    if trainer.resume or transferred is None:
        return ""
    return f"{trainer.options.weights_file}: {'; '.join(transferred.lines())}"


def _step(trainer: RunningTrainer) -> TrainingStep:
    state = trainer.state
    return TrainingStep(
        epoch=trainer.epoch + 1,
        n_epochs=trainer.args.epochs,
        step=-(-state.batches_done // state.batches_per_step),
        n_steps=-(-len(trainer.train_loader) // state.batches_per_step),
        losses={name: float(loss) for name, loss in (trainer.tloss or {}).items()},
        rate=max(float(group["lr"]) for group in trainer.optimizer.param_groups),
        memory_bytes=_memory_bytes(trainer.device),
    )


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    n_bytes: int = psutil.Process().memory_info().rss
    return n_bytes
