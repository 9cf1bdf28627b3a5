"""Ultralytics' trainer with the changes that music pages need.

:meth:`OmrTrainer.train` runs Ultralytics' loop. The loop calls back the methods overridden here:
first ``_setup_train``, which builds the model (``setup_model``), the loaders
(``_build_train_pipeline``) and the loss (:func:`training.losses.detection.detection_criterion`);
for every batch ``preprocess_batch`` and ``optimizer_step``; after every epoch ``validate`` and
``save_model``.

On several devices Ultralytics starts a process per device, which imports this module, builds the
trainer from Ultralytics' own arguments and receives :class:`RunOptions` through a pickled callback.
"""

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from ultralytics.data.build import InfiniteDataLoader
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import unwrap_model

from settings.run_files import STATE_FILE
from training.data.augmentation import SymbolCounter
from training.data.dataset import ClassMasks, OmrDataset, build_loader
from training.data.sampling import EpochSampler
from training.data.worker_errors import without_worker_traceback
from training.engine.callbacks import EVENTS
from training.engine.display import TrainingDisplay
from training.engine.freezing import Freezing
from training.engine.inputs import TrainingInputs, open_inputs
from training.engine.progress import report_progress
from training.engine.recalibration import recalibrate
from training.engine.run_options import ON_OPTIONS, RunOptions
from training.engine.self_test import fp32_after_bf16, start_precision, tested_precision
from training.engine.tensorboard import write_scalars
from training.engine.validator import OmrValidator
from training.heads.size_prior import head_priors, set_size_prior, sizes_of
from training.losses.assigner_factory import PairCounter
from training.losses.detection import detection_criterion
from training.models.activations import activations_of, check_activations
from training.models.building import build_network, network_like
from training.models.transfer import REPORT_FILE as TRANSFER_FILE
from training.models.transfer import set_head, transfer
from training.models.zoo import read_model
from training.runs import resume_state
from training.runs.checkpoint_files import finish_run, save_epoch
from training.runs.run_state import EarlierRun, RunState
from training.runtime import distributed
from training.runtime.devices import exact_fp32, memory_format_of
from training.runtime.library_loggers import quiet
from training.runtime.nan_guard import NanGuard, on_host, warn_of_validation
from training.runtime.offline import process_launch
from training.runtime.precision import amp_argument


class OmrTrainer(DetectionTrainer):
    """Trainer for detectors of music symbols.

    Args:
        inputs: Opened data sets and weights; None to open them here, as per-device worker
            processes do.
        args: Arguments of ``DetectionTrainer``.
        options: Arguments of ``DetectionTrainer``, by name.
    """

    model: Any
    """Ultralytics' model file or a file with weights; later the model that was built from it."""
    options: RunOptions
    """Settings beyond Ultralytics' arguments, provided by a callback of ``ON_OPTIONS``."""
    inputs: TrainingInputs
    """Opened data sets and weights; the weights are released once the model is built."""
    tloss: dict[str, Tensor] | None
    """Running means of the losses in the epoch; moved to the host after each batch."""
    memory_format: torch.memory_format | None = None
    """Order of weights and images in memory; None for the default of the device."""
    freezing: Freezing
    guard: NanGuard | None = None
    """Guard against non-finite losses; None to train without one."""
    display: TrainingDisplay | None = None
    """Progress display of this process; None if nothing is shown."""

    def __init__(
        self, *args: object, inputs: TrainingInputs | None = None, **options: object
    ) -> None:
        if inputs:
            self.inputs = inputs
        threads = torch.get_num_threads()
        with quiet():
            super().__init__(*args, **options)
        # On a CPU Ultralytics leaves one core unused: half of a two-core machine.
        torch.set_num_threads(threads)
        # In deterministic runs PyTorch would fill every new tensor; older Ultralytics allows that.
        switches: Any = torch.utils.deterministic
        switches.fill_uninitialized_memory = False
        self.order = self.memory_format or memory_format_of(self.device, training=True)
        if self.device.type == "cpu":  # Ultralytics supports several processes on GPUs only
            self.world_size = distributed.n_started()
        self.state = RunState(
            state_file=self.wdir / STATE_FILE,
            counts=torch.zeros(2, self.data["nc"], dtype=torch.int64),
        )
        for event, function in EVENTS:
            if function not in self.callbacks[event]:
                self.add_callback(event, function)

    def train(self) -> None:
        """Train, with all other output on stderr: stdout is for a command's result."""
        with contextlib.redirect_stdout(sys.stderr), quiet(), without_worker_traceback():
            try:
                with process_launch() if self.ddp else contextlib.nullcontext():
                    super().train()
            finally:
                if self.display:
                    self.display.stop()
        distributed.leave()

    def check_resume(self, overrides: dict[str, Any]) -> None:
        """Keep the arguments of this call: they were read from the run folder already.

        Ultralytics would read them from a checkpoint.

        Args:
            overrides: Arguments that ``args`` contains already.
        """
        self.resume = bool(self.args.resume)

    def get_dataset(self) -> dict[str, Any]:
        """Describe the data without Ultralytics' downloads, scripts and fonts."""
        self.run_callbacks(ON_OPTIONS)
        if not hasattr(self, "inputs"):
            self.inputs = open_inputs(self.options)
        self.multi_dataset = self.inputs.data
        self.masks = ClassMasks(self.multi_dataset, self.device)
        return {
            "path": self.multi_dataset.sources[0].dataset.root,
            "names": dict(enumerate(self.multi_dataset.names)),
            "nc": len(self.multi_dataset.names),
            "channels": 3,
            **{split: self.multi_dataset.image_files(split) for split in ("train", "val")},
        }

    def build_dataset(
        self, img_path: Sequence[str], mode: str = "train", batch: int | None = None
    ) -> OmrDataset:
        """Build the data set of a split.

        Args:
            img_path: Image files of the split.
            mode: ``train`` or ``val``.
            batch: Images per batch.
        """
        training = mode == "train"
        strides = unwrap_model(self.model).stride.tolist()
        counts_pairs = self.device.type == "cuda"
        if training:
            self.state.counter = SymbolCounter(self.data["nc"], self.args.workers)
        return OmrDataset(
            counter=self.state.counter if training else None,
            multi_dataset=self.multi_dataset,
            image_labels=self.inputs.image_labels(mode),
            seed=self.args.seed,
            chosen=self.options.transforms,
            img_path=img_path,
            imgsz=self.args.imgsz,
            batch_size=batch,
            augment=training,
            hyp=self.args,
            rect=not training,
            stride=max(int(max(strides)), 32),
            pairs=PairCounter.of_loss(self.options.loss, strides) if counts_pairs else None,
            pad=0.0 if training else 0.5,
            prefix=f"{mode}: ",
            data=self.data,
            task="detect",
        )

    def get_dataloader(
        self, dataset_path: Sequence[str], batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> InfiniteDataLoader:
        """Build a loader whose order of training images depends only on seed and epoch.

        Args:
            dataset_path: Image files of the split.
            batch_size: Images per training batch and device. Validation uses the same size, which
                Ultralytics doubles.
            rank: Rank of this process, or -1 if there is only one.
            mode: ``train`` or ``val``.
        """
        if mode == "val":
            batch_size = max(self.batch_size // max(self.world_size, 1), 1)
            return super().get_dataloader(dataset_path, batch_size, rank, mode)
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        position = {"rank": max(rank, 0), "n_ranks": max(self.world_size, 1)}
        sampler = EpochSampler(dataset.sampler(**position), **position)
        if self.resume:  # before the loader is built: in older Ultralytics it loads at once
            sampler.set_epoch(resume_state.epochs_done(self.state.state_file))
        return build_loader(dataset, sampler, batch_size, self.args, self.device)

    def get_model(
        self,
        cfg: str | dict[str, Any] | None = None,
        weights: DetectionModel | None = None,
        verbose: bool = True,
    ) -> DetectionModel:
        """Build the model, with the class groups of the weights or of the head config.

        Args:
            cfg: Ultralytics' model file or its content; None for the architecture of the weights.
            weights: Model to initialise from; None for a model from scratch.
            verbose: Unused; a summary would describe the model before it gets its heads.
        """
        chosen, names = self.options.activations, [*self.data["names"].values()]
        if cfg is None:
            model = network_like(weights, len(names), chosen)
        else:
            content = read_model(cfg) if isinstance(cfg, str) else cfg
            model = build_network(content, len(names), chosen)
        heads = self.options.heads
        if weights is None:
            set_head(model, names, heads, signed=heads is None or heads.box_encoding == "signed")
        else:
            self.state.transferred = transfer(weights, model, names, heads)
        check_activations(model, chosen, self.options.name)
        self.state.activations = activations_of(model)
        return model

    def setup_model(self) -> None:
        """Build the model from weights that omr has read: Ultralytics would execute pickles."""
        model = self.model
        if isinstance(model, nn.Module):
            return
        source = self.inputs.model
        self.inputs = replace(self.inputs, weights=None)
        continues = source is not None and str(self.options.weights_file) == str(model)
        self.model = self.get_model(None if continues else model, source)
        transferred = self.state.transferred
        if transferred and not self.resume and distributed.is_first():
            report = json.dumps(transferred.to_json(), indent=1)
            (self.save_dir / TRANSFER_FILE).write_text(report, "utf-8")

    def get_validator(self) -> OmrValidator:
        """Build the validator without a time limit."""
        return OmrValidator(
            self.test_loader,
            save_dir=self.save_dir,
            args=super().get_validator().args,
            _callbacks=self.callbacks,
            masks=self.masks,
            inputs=self.inputs,
            select=self.options.select,
        )

    def set_model_attributes(self) -> None:
        """Set Ultralytics' attributes, and the memory format of the weights."""
        super().set_model_attributes()
        unwrap_model(self.model).to(memory_format=self.order)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a batch: images in the memory format of the model, and a class mask.

        Args:
            batch: Batch with ``img``, shape ``(B, 3, H, W)``, and the labels.
        """
        batch = super().preprocess_batch(batch)
        self.state.files += batch["im_file"]
        batch["img"] = batch["img"].contiguous(memory_format=self.order)
        return self.masks.added(batch)

    def validate(self) -> tuple[dict[str, float], float | None]:
        """Validate if configured; without validation the last epoch counts as the best."""
        if not self.args.val:
            return self.metrics, None
        with fp32_after_bf16(self), exact_fp32():
            metrics, fitness = super().validate()
        warn_of_validation(metrics, self.epoch + 1)
        self.state.conf = self.validator.best_conf
        return metrics, fitness

    def _handle_nan_recovery(self, _epoch: int) -> bool:
        """Leave recovery to the guard: Ultralytics would repeat the epoch from rounded weights."""
        return False

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Append an epoch to ``results.csv``, without zeros for values that were not measured.

        Args:
            metrics: Values by column name.
        """
        if not self.args.val:
            metrics = {k: v for k, v in metrics.items() if k.startswith(("train/", "lr/"))}
        size = self.csv.stat().st_size if self.csv.exists() else None
        try:
            super().save_metrics(metrics)
        except OSError as error:
            resume_state.undo_append(self.csv, size)
            LOGGER.warning(
                f"{self.csv}: epoch {self.epoch + 1} is missing: {resume_state.reason(error)}"
            )

    def _setup_ddp(self) -> None:
        """Join the other processes, even on a CPU."""
        if self.device.type == "cpu":
            distributed.join_on_cpu()
        else:
            super()._setup_ddp()

    def _build_train_pipeline(self) -> None:
        """Build the loaders, then initialise a new head from the symbol sizes, once."""
        # Ultralytics calls this again after halving a batch that does not fit into memory.
        self.args.nbs = self.batch_size  # Ultralytics calls optimizer_step after every batch
        nominal_batch = self.options.nominal_batch
        self.state.batches_per_step = max(nominal_batch // self.batch_size, 1)
        super()._build_train_pipeline()
        transferred = self.state.transferred
        has_new_boxes = transferred is None or not transferred.boxes
        if self.options.size_prior and has_new_boxes and self.state.priors is None:
            head = unwrap_model(self.model).model[-1]
            sizes = sizes_of(self.train_loader.dataset.labels, self.args.imgsz)
            self.state.priors = head_priors(head, sizes)
            set_size_prior(head, self.state.priors)

    def _setup_train(self) -> None:
        """Set up model, loaders and optimiser as Ultralytics does, but with omr's loss.

        Called by Ultralytics' ``train()`` before the first epoch. The loss, and with it the
        assigner, is set in the trained model and in its moving average.
        """
        self.state.precision = start_precision(self)
        self.args.amp = amp_argument(self.state.precision, self.device)
        on_cpu = self.device.type == "cpu"
        with distributed.cpu_wrapper() if on_cpu else contextlib.nullcontext(), quiet():
            super()._setup_train()
        for model in (unwrap_model(self.model), self.ema.ema):
            check_activations(model, self.state.activations, self.options.name)
            model.criterion = detection_criterion(model, self.options.loss)
        # After every epoch Ultralytics shifts an E2ELoss from one branch to the other, but only in
        # the trained model. So nothing is restored in the averaged one.
        vars(unwrap_model(self.model).criterion).update(self.state.earlier.criterion)
        self.state.precision = tested_precision(self)
        if self.options.recalibrate and not self.resume:
            self.state.recalibration = recalibrate(self, self.options.recalibrate)
        self.guard = NanGuard(self, self.state.earlier.guard)
        if self.options.tensorboard and distributed.is_first():
            write_scalars(self)
        if self.options.make_display and distributed.is_first():
            self.display = self.options.make_display()
            report_progress(self, self.display, self.inputs.counts["train"])

    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        """Restore the state of an interrupted run if this call resumes one.

        Args:
            ckpt: Ultralytics' checkpoint; unused, because the model was already built from it.
        """
        if not self.resume:
            return
        saved = resume_state.read(self.state.state_file)
        # The saved optimiser has the parameter groups of the last finished epoch.
        self.freeze_for_epoch(saved["epochs_done"] - 1)
        resume_state.restore(self, saved)
        self.state.counts, self.state.priors = saved["counts"], saved["priors"]
        self.state.recalibration = saved.get("recalibration")
        self.state.earlier = EarlierRun(
            seconds=saved["seconds"], criterion=saved["criterion"], guard=saved["guard"]
        )
        if distributed.is_first():
            resume_state.cut_results(self.csv, self.start_epoch)

    def build_optimizer(self, model: torch.nn.Module, *args: Any, **options: Any) -> Optimizer:  # noqa: ANN401
        """Build Ultralytics' optimiser without the frozen parameters.

        Args:
            model: Model, wrapped if there are several devices.
            args: Further arguments of Ultralytics.
            options: Further arguments of Ultralytics, by name.
        """
        optimizer: Optimizer = super().build_optimizer(model, *args, **options)
        self.freezing = Freezing(unwrap_model(model), optimizer, self.options.freezing)
        self.freezing.set_epoch(self.start_epoch)
        self.freeze_layer_names = self.freezing.frozen_names()
        return optimizer

    def freeze_for_epoch(self, epoch: int) -> None:
        """Freeze and unfreeze layers for an epoch, in model and optimiser.

        Before loading the state of an optimiser, pass the epoch in which it was saved.

        Args:
            epoch: Epoch, counted from 0; it may differ from the current one.
        """
        if self.freezing.set_epoch(epoch):
            self.freeze_layer_names = self.freezing.frozen_names()  # for batch normalisation
            last_epoch = self.scheduler.last_epoch
            self._setup_scheduler()  # a scheduler is tied to the groups that it was built with
            self.scheduler.last_epoch = last_epoch

    def optimizer_step(self) -> None:
        """Take a step once enough batches are accumulated, or the epoch has no batches left.

        Ultralytics accumulates gradients too, but over fewer batches in the warm-up. Batches left
        over at the end of an epoch join the first step of the next; after the last epoch these
        batches are lost.
        """
        state = self.state
        state.batches_accumulated += 1
        n_left = len(self.train_loader) - state.batches_done
        if state.batches_accumulated < state.batches_per_step and n_left > 0:
            self.tloss = on_host(self.tloss or {})  # a display would wait for each loss
            return
        state.batches_accumulated = 0
        self.freezing.warm_up(self.epoch + (state.batches_done - 1) / len(self.train_loader))
        if self.guard is None or self.guard.allows_step(self):
            super().optimizer_step()
        else:
            self.optimizer.zero_grad()
        if self.ema:
            self.freezing.restore(self.ema.ema)

    def save_model(self) -> bool:
        """Save weights, report and resume state; each file is replaced as a whole.

        Raises:
            ConfigError: The weights cannot be written, for example because the disk is full.
        """
        save_epoch(self, self.state, guard=self.guard.history() if self.guard else {})
        return True

    def final_eval(self) -> None:
        """Finish the run without an additional validation."""
        if distributed.is_first():
            finish_run(self.wdir)
