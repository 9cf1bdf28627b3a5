"""Ultralytics' trainer, with what music pages need.

The class here can be built by its name alone: on several devices Ultralytics starts a process
for each, which imports this module and hands over nothing but its own arguments.
"""

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed
from ultralytics.data.build import InfiniteDataLoader
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import (
    strip_optimizer,
    torch_distributed_zero_first,
    unwrap_model,
)

from training.augmentation import SymbolCounter
from training.heads.grouped import GroupedDetect, SeparateDetect, divided
from training.heads.head_config import HeadConfig
from training.joint_data import JointData, JointOptions, MixSampler, join
from training.losses.detection import LossOptions, detection_criterion
from training.music_safety import Transforms
from training.nan_guard import NanGuard
from training.precision import (
    Precision,
    amp_argument,
    fp32_after_bf16,
    start_precision,
    tested_precision,
)
from training.score_data import ClassMasks, ScoreDataset, mixed_loader
from training.score_validator import ScoreValidator
from training.signed_distances import allow_beside
from training.size_prior import ClassSize, class_sizes, level_priors, reach_of, set_size_prior
from training.tensorboard_log import write_scalars

ON_OPTIONS = "on_options"
"""Callbacks run in the constructor before the data is opened, in the processes of all devices:
Ultralytics runs ``on_pretrain_routine_start`` in the first one only."""
REPORT_FILE = "augmentation.json"
"""In the run folder: epochs done, and what augmentation saw and dropped."""


class ScoreTrainer(DetectionTrainer):
    """Ultralytics' trainer for detection, for music pages."""

    size_prior = True
    """Whether a new head starts from the data's sizes."""
    loss_options = LossOptions()
    """How anchor points are assigned and losses weighed."""
    sources: JointOptions | None = None
    """The data sets, and how they are joined; None for the one of Ultralytics' ``data``."""
    joint: JointData
    transforms = Transforms()
    """What is done to the training's images, beside shifts, sizes and brightness."""
    precision: Precision = "auto"
    """What was asked for; ``used`` is what it came to."""
    used: Precision
    tensorboard = False
    """Whether figures are written for TensorBoard."""
    heads: HeadConfig | None = None
    """Groups of classes with a head each; a single head if None, or that of the weights."""

    def __init__(self, *args: object, **options: object) -> None:
        self.counter = SymbolCounter(0, 0)
        self.counts = self.counter.totals()
        self.priors: Tensor | None = None
        self.files: list[str] = []
        """Images of the batches since the last step."""
        threads = torch.get_num_threads()
        super().__init__(*args, **options)
        # On a CPU Ultralytics takes one less than there are cores: one of two.
        torch.set_num_threads(threads)
        self.earlier = self._earlier_counts()
        self.batches_done = 0
        """Of this epoch."""
        for event, function in (
            ("on_train_epoch_start", _start_epoch),
            ("on_train_batch_start", _lower_rate),
            ("on_train_epoch_end", _gather_counts),
        ):
            if function not in self.callbacks[event]:
                self.add_callback(event, function)

    def train(self) -> None:
        """Train; Ultralytics' bars go to stderr, because stdout belongs to a command's result."""
        with contextlib.redirect_stdout(sys.stderr):
            super().train()

    def get_dataset(self) -> dict[str, Any]:
        """Describe the data without Ultralytics' downloads, scripts and fonts."""
        self.run_callbacks(ON_OPTIONS)
        self.joint = join(self.sources or JointOptions(folders=(Path(self.args.data),)))
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
    ) -> ScoreDataset:
        """Build the data set of a split.

        Args:
            img_path: The split's image files.
            mode: ``train`` or ``val``.
            batch: Images a batch.
        """
        training = mode == "train"
        if training:
            self.counter = SymbolCounter(self.data["nc"], self.args.workers)
        return ScoreDataset(
            counter=self.counter if training else None,
            joint=self.joint,
            chosen=self.transforms,
            img_path=img_path,
            imgsz=self.args.imgsz,
            batch_size=batch,
            augment=training,
            hyp=self.args,
            rect=not training,
            stride=max(int(unwrap_model(self.model).stride.max()), 32),
            pad=0.0 if training else 0.5,
            prefix=f"{mode}: ",
            data=self.data,
            task="detect",
        )

    def get_dataloader(
        self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> InfiniteDataLoader:
        """Load images; of several sources by weight.

        Args:
            dataset_path: The split's image files.
            batch_size: For training; validation has the training's, not twice that.
            rank: Number of this device, or -1.
            mode: ``train`` or ``val``.
        """
        if mode == "val":
            batch_size = max(self.batch_size // max(self.world_size, 1), 1)
        if mode == "val" or len(self.joint.sources) == 1:
            return super().get_dataloader(dataset_path, batch_size, rank, mode)
        with torch_distributed_zero_first(rank):  # one device reads the labels for all
            dataset = self.build_dataset(dataset_path, mode, batch_size)
        sampler = self.joint.sampler(
            dataset.im_files,
            seed=self.args.seed,
            rank=max(rank, 0),
            n_ranks=max(self.world_size, 1),
        )
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
            weights: Model to take over; a single head's branches are cloned into every group.
            verbose: Whether Ultralytics describes the model.
        """
        model = super().get_model(cfg, None, verbose)
        theirs = weights.model[-1] if weights else None
        if weights and isinstance(theirs, GroupedDetect):
            model.model[-1] = divided(model.model[-1], theirs.labels, theirs.config)
            model.load_state_dict(weights.float().state_dict())
            return model
        if weights:
            model.load(weights)
        if self.heads:
            labels = self.heads.labels([*self.data["names"].values()])
            model.model[-1] = divided(model.model[-1], labels, self.heads)
        return model

    def get_validator(self) -> ScoreValidator:
        """Build the validator without a time limit."""
        stock = super().get_validator()
        return ScoreValidator(
            self.test_loader,
            save_dir=self.save_dir,
            args=stock.args,
            _callbacks=self.callbacks,
            masks=self.masks,
        )

    def set_model_attributes(self) -> None:
        """Set what Ultralytics sets; on a CPU also the order in memory that is faster there."""
        super().set_model_attributes()
        if self.device.type == "cpu":
            unwrap_model(self.model).to(memory_format=torch.channels_last)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a batch, with the images in the model's order in memory, and its mask.

        Args:
            batch: ``img``, shape ``(B, 3, H, W)``, and the labels.
        """
        batch = super().preprocess_batch(batch)
        self.files += batch["im_file"]
        if self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return self.masks.added(batch)

    def validate(self) -> tuple[dict[str, float], float | None]:
        """Validate, if the configuration asks for it; else the last epoch counts as the best."""
        if not self.args.val:
            return self.metrics, None
        with fp32_after_bf16(self):
            metrics, fitness = super().validate()
        return metrics, fitness

    def optimizer_step(self) -> None:
        """Take a step, unless it would be one with what is no number."""
        if self.guard.allows_step(self):
            super().optimizer_step()
        else:
            self.optimizer.zero_grad()

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
        super().save_metrics(metrics)

    def _build_train_pipeline(self) -> None:
        """Load the data, then start the head from its sizes, once and only in a new model."""
        super()._build_train_pipeline()
        from_scratch = not str(self.args.model).endswith(".pt")
        if self.size_prior and from_scratch and self.priors is None:
            head = unwrap_model(self.model).model[-1]
            if self.heads is None or self.heads.box_encoding == "signed":
                allow_beside(head)
            self.priors = self._priors(head)
            set_size_prior(head, self.priors)

    def _priors(self, head: Detect) -> Tensor:
        """Choose where the boxes start, for each group that has a box branch of its own."""
        strides, reach, sizes = head.stride.tolist(), reach_of(head), self._class_sizes()
        if not isinstance(head, SeparateDetect):
            return level_priors(sizes, strides, reach)
        of_groups = ([size for size in sizes if size.label in own] for own in head.labels)
        # A group without a symbol may start anywhere.
        return torch.stack([level_priors(own or sizes, strides, reach) for own in of_groups])

    def _setup_train(self) -> None:
        """Set up as Ultralytics does, with our loss in both copies of the model."""
        self.used = start_precision(self)
        self.args.amp = amp_argument(self.used, self.device)
        super()._setup_train()
        for model in (unwrap_model(self.model), self.ema.ema):
            criterion = detection_criterion(model, self.loss_options)
            stock = getattr(model, "criterion", None)
            for name in ("updates", "o2m", "o2o"):  # how far a resumed run had shifted the weight
                if hasattr(stock, name):
                    setattr(criterion, name, getattr(stock, name))
            model.criterion = criterion
        self.used = tested_precision(self)
        self.guard = NanGuard(self)
        if self.tensorboard and RANK in {-1, 0}:
            write_scalars(self)

    def _class_sizes(self) -> tuple[ClassSize, ...]:
        """Measure the training symbols as the network sees them, in pixels of its input."""
        rows = self.train_loader.dataset.labels
        sides = np.array([row["shape"][::-1] for row in rows], dtype=np.float64)  # width, height
        factors = sides * self.args.imgsz / sides.max(axis=1, keepdims=True)
        sizes = [row["bboxes"][:, 2:] * factor for row, factor in zip(rows, factors, strict=True)]
        labels = np.concatenate([row["cls"][:, 0] for row in rows]).astype(np.int64)
        return class_sizes(labels, np.concatenate(sizes))

    def save_model(self) -> bool:
        """Save so that a run that is killed meanwhile still has its last whole checkpoint."""
        last: Path = self.wdir / "last.pt"
        best: Path = self.wdir / "best.pt"
        self.last, self.best = last.with_suffix(".part"), best.with_suffix(".part")
        try:
            super().save_model()
            for part, file in ((self.last, last), (self.best, best)):
                if part.exists():
                    part.replace(file)
        finally:
            self.last, self.best = last, best
        self._write_report()
        return True

    def final_eval(self) -> None:
        """Strip what only a resumed training needs; the last epoch's validation stands."""
        if RANK in {-1, 0}:
            for file in (self.last, self.best):
                strip_optimizer(file)

    def _write_report(self) -> None:
        names = self.data["names"].values()
        totals = (self.counts + self.earlier).T.tolist()
        report = {
            "epochs": self.epoch + 1,
            "precision": self.used,
            "priors": None if self.priors is None else self.priors.tolist(),
            "augmented": {
                name: {"seen": seen, "dropped": dropped}
                for name, (seen, dropped) in zip(names, totals, strict=True)
                if seen
            },
        }
        (self.save_dir / REPORT_FILE).write_text(json.dumps(report, indent=1), "utf-8")

    def _earlier_counts(self) -> Tensor:
        """What the parts of this run before a resume have counted, shape ``(2, C)``."""
        counts = torch.zeros(2, self.data["nc"], dtype=torch.int64)
        file = self.save_dir / REPORT_FILE
        if self.resume and file.is_file():
            augmented = json.loads(file.read_text("utf-8"))["augmented"]
            for label, name in self.data["names"].items():
                own = augmented.get(name, {"seen": 0, "dropped": 0})
                counts[:, label] = torch.tensor([own["seen"], own["dropped"]])
        return counts


def _start_epoch(trainer: ScoreTrainer) -> None:
    trainer.batches_done = 0
    if isinstance(trainer.train_loader.sampler, MixSampler):
        trainer.train_loader.sampler.set_epoch(trainer.epoch)


def _lower_rate(trainer: ScoreTrainer) -> None:
    """Follow the schedule from step to step: in few epochs Ultralytics' own stays high to the end.

    It changes the rate once an epoch, so that the last of two epochs would run at half the rate.
    """
    epochs_done = trainer.epoch + trainer.batches_done / len(trainer.train_loader)
    for group in trainer.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * trainer.lf(epochs_done)
    trainer.batches_done += 1


def _gather_counts(trainer: ScoreTrainer) -> None:
    """Add up the counts of all devices; every process calls this at the end of an epoch."""
    counts = trainer.counter.totals()
    if trainer.world_size > 1:
        counts = counts.to(trainer.device)
        distributed.all_reduce(counts)
    trainer.counts = counts.cpu()
