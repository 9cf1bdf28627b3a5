"""Ultralytics' trainer, with what music pages need.

The class here can be built by its name alone: on several devices Ultralytics starts a process
for each, which imports this module and hands over nothing but its own arguments.
"""

import contextlib
import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from ultralytics.data.build import InfiniteDataLoader
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import torch_distributed_zero_first, unwrap_model

from settings.training import Precision
from training.data.allowed_transforms import Transforms
from training.data.augmentation import SymbolCounter
from training.data.dataset import ClassMasks, OmrDataset, mixed_loader
from training.data.multi_dataset import DatasetOptions, MultiDataset, join
from training.data.sampling import EpochSampler
from training.engine.callbacks import EVENTS
from training.engine.freezing import FreezeOptions, Freezing
from training.engine.nan_guard import NanGuard, on_host
from training.engine.precision import (
    amp_argument,
    fp32_after_bf16,
    start_precision,
    tested_precision,
)
from training.engine.tensorboard import write_scalars
from training.engine.validator import OmrValidator
from training.heads.head_config import HeadConfig
from training.heads.size_prior import head_priors, set_size_prior, sizes_of
from training.losses.detection import LossOptions, PairCounter, detection_criterion
from training.models.checkpoints import is_weights, load_weights
from training.models.description import activation_kept
from training.models.transfer import REPORT_FILE as TRANSFER_FILE
from training.models.transfer import TransferReport, set_head, transfer
from training.runs import resume_state
from training.runs.checkpoint_files import finish_run, save_epoch
from training.runtime import distributed
from training.runtime.devices import exact_fp32, memory_format_of

ON_OPTIONS = "on_options"
"""Callbacks run in the constructor before the data is opened, in the processes of all devices:
Ultralytics runs ``on_pretrain_routine_start`` in the first one only."""


class OmrTrainer(DetectionTrainer):
    """Ultralytics' trainer for detection, for music pages."""

    tloss: dict[str, Tensor] | None
    """Means of the losses so far in the epoch, on the host after each batch."""
    model: Any
    """Ultralytics' model file or a file with weights; then the model that was built from it."""
    size_prior = True
    """Whether a new head starts from the data's sizes."""
    loss_options = LossOptions()
    """How anchor points are assigned and losses weighed."""
    sources: DatasetOptions | None = None
    """The data sets, and how they are joined; None for the one of Ultralytics' ``data``."""
    joint: MultiDataset
    transforms = Transforms()
    """What is done to the training's images, beside shifts, sizes and brightness."""
    precision: Precision = "auto"
    """What was asked for; ``used`` is what it came to."""
    used: Precision
    guard: NanGuard | None = None
    memory_format: torch.memory_format | None = None
    """Order of weights and images in memory; None for the device's default."""
    tensorboard = False
    """Whether figures are written for TensorBoard."""
    heads: HeadConfig | None = None
    """Groups of classes with a head each; a single head if None, or that of the weights."""
    freeze_options = FreezeOptions()
    """Which layers are frozen, and until when."""
    freezing: Freezing
    nominal_batch = 1
    """Images whose gradients are added up to one step of the optimiser, over all devices."""
    weights = ""
    """File whose weights a new model takes over; empty for none."""
    trust = False
    """Whether files with weights may run code when they are loaded."""
    transferred: TransferReport | None = None
    """What was taken over from weights."""

    def __init__(self, *args: object, **options: object) -> None:
        self.counter = SymbolCounter(0, 0)
        self.priors: Tensor | None = None
        self.files: list[str] = []
        """Images of the batches since the last step."""
        threads = torch.get_num_threads()
        super().__init__(*args, **options)
        # On a CPU Ultralytics takes one less than there are cores: one of two.
        torch.set_num_threads(threads)
        # Older versions leave it on in deterministic runs: a fill of every new tensor.
        switches: Any = torch.utils.deterministic
        switches.fill_uninitialized_memory = False
        self.order = self.memory_format or memory_format_of(self.device, training=True)
        if self.device.type == "cpu":  # Ultralytics knows several processes on GPUs only
            self.world_size = distributed.n_started()
        self.counts = torch.zeros(2, self.data["nc"], dtype=torch.int64)
        """Symbols that augmentation saw and dropped in all epochs that are over."""
        self.batches_done = 0
        """Of this epoch."""
        self.batches_gathered = 0
        """Since the last step of the optimiser."""
        self.state_file: Path = self.wdir / resume_state.STATE_FILE
        self.earlier: resume_state.State = {"criterion": {}, "seconds": 0.0, "guard": {}}
        """What a resumed run takes up after it is set up."""
        for event, function in EVENTS:
            if function not in self.callbacks[event]:
                self.add_callback(event, function)

    def train(self) -> None:
        """Train; Ultralytics' bars go to stderr, because stdout belongs to a command's result."""
        with contextlib.redirect_stdout(sys.stderr):
            super().train()
        distributed.leave()

    def check_resume(self, overrides: dict[str, Any]) -> None:
        """Take the arguments of this call: they are the run's own, and need no checkpoint.

        Args:
            overrides: Are in ``args`` already.
        """
        self.resume = bool(self.args.resume)

    def get_dataset(self) -> dict[str, Any]:
        """Describe the data without Ultralytics' downloads, scripts and fonts."""
        self.run_callbacks(ON_OPTIONS)
        self.joint = join(self.sources or DatasetOptions(folders=(Path(self.args.data),)))
        self.masks = ClassMasks(self.joint, self.device)
        return {
            "path": self.joint.sources[0].dataset.root,
            "names": dict(enumerate(self.joint.names)),
            "nc": len(self.joint.names),
            "channels": 3,
            **{split: self.joint.image_files(split) for split in ("train", "val")},
        }

    def build_dataset(
        self, img_path: Sequence[str], mode: str = "train", batch: int | None = None
    ) -> OmrDataset:
        """Build the data set of a split.

        Args:
            img_path: The split's image files.
            mode: ``train`` or ``val``.
            batch: Images a batch.
        """
        training = mode == "train"
        strides = unwrap_model(self.model).stride.tolist()
        counts = self.device.type == "cuda"
        if training:
            self.counter = SymbolCounter(self.data["nc"], self.args.workers)
        return OmrDataset(
            counter=self.counter if training else None,
            joint=self.joint,
            seed=self.args.seed,
            chosen=self.transforms,
            img_path=img_path,
            imgsz=self.args.imgsz,
            batch_size=batch,
            augment=training,
            hyp=self.args,
            rect=not training,
            stride=max(int(max(strides)), 32),
            pairs=PairCounter.of_loss(self.loss_options, strides) if counts else None,
            pad=0.0 if training else 0.5,
            prefix=f"{mode}: ",
            data=self.data,
            task="detect",
        )

    def get_dataloader(
        self, dataset_path: Sequence[str], batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> InfiniteDataLoader:
        """Load images; of several sources by weight, and in an order that a seed and an epoch give.

        Args:
            dataset_path: The split's image files.
            batch_size: For training; validation has the training's, not twice that.
            rank: Number of this device, or -1.
            mode: ``train`` or ``val``.
        """
        if mode == "val":
            batch_size = max(self.batch_size // max(self.world_size, 1), 1)
            return super().get_dataloader(dataset_path, batch_size, rank, mode)
        with torch_distributed_zero_first(rank):  # one device reads the labels for all
            dataset = self.build_dataset(dataset_path, mode, batch_size)
        place = {"rank": max(rank, 0), "n_ranks": max(self.world_size, 1)}
        order = self.joint.sampler(dataset.im_files, seed=self.args.seed, **place)
        sampler = EpochSampler(order, **place)
        if self.resume:  # here: processes of older versions begin to load as soon as they are built
            sampler.set_epoch(resume_state.read(self.state_file, mapped=True)["epochs_done"])
        return mixed_loader(dataset, sampler, batch_size, self.args, self.device)

    def get_model(
        self,
        cfg: str | dict[str, Any] | None = None,
        weights: DetectionModel | None = None,
        verbose: bool = True,
    ) -> DetectionModel:
        """Build the model, its head divided as the weights' head is, or as was asked for.

        Args:
            cfg: Ultralytics' model file, or what stands in it.
            weights: Model to take over.
            verbose: Whether Ultralytics describes the model.
        """
        with activation_kept():
            model = super().get_model(cfg, None, verbose)
        names = [*self.data["names"].values()]
        if weights is None:
            signed = self.heads is None or self.heads.box_encoding == "signed"
            set_head(model, names, self.heads, signed=signed)
        else:
            self.transferred = transfer(weights, model, names, self.heads)
        return model

    def setup_model(self) -> None:
        """Build the model; weights are read by us, not by Ultralytics, which would run pickles."""
        model = self.model
        if isinstance(model, nn.Module):
            return
        file = str(model) if is_weights(str(model)) else self.weights
        source = load_weights(Path(file), trust=self.trust) if file else None
        if source and file == str(model):
            model = copy.deepcopy(source.yaml)
        self.model = self.get_model(model, source, distributed.is_first())
        if self.transferred and not self.resume and distributed.is_first():
            for line in self.transferred.lines():
                LOGGER.info(f"{file}: {line}")
            report = json.dumps(self.transferred.to_json(), indent=1)
            (self.save_dir / TRANSFER_FILE).write_text(report, "utf-8")

    def get_validator(self) -> OmrValidator:
        """Build the validator without a time limit."""
        stock = super().get_validator()
        return OmrValidator(
            self.test_loader,
            save_dir=self.save_dir,
            args=stock.args,
            _callbacks=self.callbacks,
            joint=self.joint,
            masks=self.masks,
        )

    def set_model_attributes(self) -> None:
        """Set what Ultralytics sets, and the order of the weights in memory."""
        super().set_model_attributes()
        unwrap_model(self.model).to(memory_format=self.order)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a batch, with the images in the model's order in memory, and its mask.

        Args:
            batch: ``img``, shape ``(B, 3, H, W)``, and the labels.
        """
        batch = super().preprocess_batch(batch)
        self.files += batch["im_file"]
        batch["img"] = batch["img"].contiguous(memory_format=self.order)
        return self.masks.added(batch)

    def validate(self) -> tuple[dict[str, float], float | None]:
        """Validate, if the configuration asks for it; else the last epoch counts as the best."""
        if not self.args.val:
            return self.metrics, None
        with fp32_after_bf16(self), exact_fp32():
            metrics, fitness = super().validate()
        return metrics, fitness

    def _handle_nan_recovery(self, _epoch: int) -> bool:
        """Leave it to the guard: Ultralytics would repeat the epoch, from rounded weights."""
        return False

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Append an epoch to ``results.csv``, without zeros for what was not measured.

        Args:
            metrics: Figures by name.
        """
        measured = "train/", "lr/"
        if not self.args.val:
            metrics = {key: value for key, value in metrics.items() if key.startswith(measured)}
        try:
            super().save_metrics(metrics)
        except OSError as error:
            LOGGER.warning(
                f"{self.csv}: epoch {self.epoch + 1} is missing: {resume_state.reason(error)}"
            )

    def _setup_ddp(self) -> None:
        """Join the other processes, on a CPU too."""
        if self.device.type == "cpu":
            distributed.join_on_cpu()
        else:
            super()._setup_ddp()

    def _build_train_pipeline(self) -> None:
        """Load the data, then start the head from its sizes, once and only in a new model."""
        # Both anew, when the batch is halved because it does not fit into memory.
        self.args.nbs = self.batch_size  # to Ultralytics every batch is a step
        self.batches_a_step = max(self.nominal_batch // self.batch_size, 1)
        super()._build_train_pipeline()
        starts = self.transferred is None or not self.transferred.boxes
        if self.size_prior and starts and self.priors is None:
            head = unwrap_model(self.model).model[-1]
            sizes = sizes_of(self.train_loader.dataset.labels, self.args.imgsz)
            self.priors = head_priors(head, sizes)
            set_size_prior(head, self.priors)

    def _setup_train(self) -> None:
        """Set up as Ultralytics does, with our loss in both copies of the model."""
        self.used = start_precision(self)
        self.args.amp = amp_argument(self.used, self.device)
        on_cpu = self.device.type == "cpu"
        with distributed.cpu_wrapper() if on_cpu else contextlib.nullcontext():
            super()._setup_train()
        for model in (unwrap_model(self.model), self.ema.ema):
            model.criterion = detection_criterion(model, self.loss_options)
        # Of the average's loss nothing is shifted, in a run that was never cut off either.
        vars(unwrap_model(self.model).criterion).update(self.earlier["criterion"])
        self.used = tested_precision(self)
        self.guard = NanGuard(self, self.earlier["guard"])
        if self.tensorboard and distributed.is_first():
            write_scalars(self)

    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        """Go on from the state of a run that was cut off, if that is what was asked for.

        Args:
            ckpt: Of Ultralytics; the model was built like the one in it, and no more is needed.
        """
        if not self.resume:
            return
        state = resume_state.read(self.state_file)
        self.freeze_as_in(state["epochs_done"] - 1)  # its optimiser has that epoch's groups
        resume_state.restore(self, state)
        self.counts, self.priors = state["counts"], state["priors"]
        self.earlier = {name: state[name] for name in self.earlier}
        if distributed.is_first():
            resume_state.cut_results(self.csv, self.start_epoch)

    def build_optimizer(self, model: torch.nn.Module, *args: Any, **options: Any) -> Optimizer:  # noqa: ANN401
        """Build Ultralytics' optimiser, without what is frozen.

        Args:
            model: Perhaps wrapped for several devices.
            args: What else Ultralytics gives.
            options: By name.
        """
        optimizer: Optimizer = super().build_optimizer(model, *args, **options)
        self.freezing = Freezing(unwrap_model(model), optimizer, self.freeze_options)
        self.freezing.go_to(self.start_epoch)
        self.freeze_layer_names = self.freezing.frozen_names()
        return optimizer

    def freeze_as_in(self, epoch: int) -> None:
        """Freeze what an epoch asks for, in model and optimiser, coming from whatever other.

        To load an optimiser's state, go to the epoch that it was saved in.

        Args:
            epoch: From 0.
        """
        if self.freezing.go_to(epoch):
            self.freeze_layer_names = self.freezing.frozen_names()  # batch normalisation goes by it
            last_epoch = self.scheduler.last_epoch
            self._setup_scheduler()  # it takes no other groups than those it was made with
            self.scheduler.last_epoch = last_epoch

    def optimizer_step(self) -> None:
        """Make a step, if enough batches are gathered or none is left in the epoch.

        Ultralytics gathers, too, but fewer in the warm-up, and what it has left at the end of an
        epoch comes into the next one's first step, or after the last into none.
        """
        self.batches_gathered += 1
        rest = len(self.train_loader) - self.batches_done
        if self.batches_gathered < self.batches_a_step and rest > 0:
            self.tloss = on_host(self.tloss or {})  # the progress bar would wait for each of them
            return
        self.batches_gathered = 0
        self.freezing.warm_up(self.epoch + (self.batches_done - 1) / len(self.train_loader))
        if self.guard is None or self.guard.allows_step(self):
            super().optimizer_step()
        else:
            self.optimizer.zero_grad()
        if self.ema:
            self.freezing.restore(self.ema.ema)

    def save_model(self) -> bool:
        """Save so that a run that is killed meanwhile still has its last whole files.

        Raises:
            ConfigError: The weights cannot be written, say because the disk is full.
        """
        save_epoch(self)
        return True

    def final_eval(self) -> None:
        """Finish the run; the last epoch's validation stands."""
        if distributed.is_first():
            finish_run(self.wdir)
