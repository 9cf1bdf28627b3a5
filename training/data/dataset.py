"""What a training loads: images and labels of one data set or several, none left out.

Shapes: B images of a batch, C classes, S sources, N labels of an image.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics.data.augment import Compose, Format, RandomHSV
from ultralytics.data.build import seed_worker
from ultralytics.data.dataset import YOLODataset
from ultralytics.utils import RANK, IterableSimpleNamespace

from class_maps import InputError
from training.data.allowed_transforms import (
    FreeImages,
    SourcePerspective,
    Transforms,
    transforms_after,
    transforms_before,
)
from training.data.augmentation import SymbolCounter
from training.data.device_prefetch import DeviceLoader
from training.data.multi_dataset import MultiDataset
from training.data.sampling import Draw, EpochSampler, seed_draw
from training.losses.detection import PairCounter


class OmrDataset(YOLODataset):
    """Images and labels as :mod:`converters.formats.yolo` lists them, none left out.

    Args:
        counter: Gets what augmentation drops; None for validation, which augments nothing.
        joint: Where the images come from, and which class each label of theirs is.
        seed: Of the augmentation.
        pairs: Counts the candidate pairs of each batch; None where nobody would wait for the
            number, on a CPU.
        chosen: What a training does to them, beside shifts, sizes and brightness.
        options: Those of ``YOLODataset``; ``img_path`` is the list of image files.
    """

    def __init__(
        self,
        *,
        counter: SymbolCounter | None,
        joint: MultiDataset,
        chosen: Transforms,
        seed: int = 0,
        pairs: PairCounter | None = None,
        **options: object,
    ) -> None:
        self.pairs = pairs
        self.counter = counter
        self.chosen = chosen
        self.joint = joint
        self.seed = seed
        super().__init__(**options)
        # The images that it would keep decoded are for mosaics, which take them from one source.
        self.max_buffer_length = 0

    def __getitem__(self, index: int | Draw) -> dict[str, Any]:
        """Load an image and its labels, augmented if this is for training.

        Args:
            index: Place in the list of images; of a draw the augmentation is its own.
        """
        if isinstance(index, Draw):
            seed_draw(self.seed, index.number)
            if self.counter is not None:
                self.counter.epoch = index.epoch
            index = index.image
        sample: dict[str, Any] = super().__getitem__(index)
        return sample

    def collate_fn(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Join samples to a batch, with ``n_pairs`` for the loss if pairs are counted.

        Args:
            batch: Samples, as :meth:`__getitem__` gives them.
        """
        joined: dict[str, Any] = YOLODataset.collate_fn(batch)
        if self.pairs is not None:
            height, width = joined["img"].shape[2:]
            joined["n_pairs"] = self.pairs.count(joined["bboxes"], (height, width))
        return joined

    def get_img_files(self, img_path: Sequence[str]) -> list[str]:
        """Take the list as it is."""
        return list(img_path)

    def get_labels(self) -> list[dict[str, Any]]:
        """Load all labels, and turn those of each source into labels of all classes.

        Raises:
            InputError: Ultralytics left out an image, which it does with a log line only.
        """
        wanted = list(self.im_files)
        labels = self.read_labels()
        left_out = sorted(set(wanted) - {label["im_file"] for label in labels})
        if left_out:
            others = f" ({len(left_out) - 1} more like it)" if left_out[1:] else ""
            raise InputError(
                f"cannot be trained on: broken, or below 10 px{others}; replace or remove it",
                path=Path(left_out[0]),
            )
        for label in labels:
            source = self.joint.sources[self.joint.source_of[label["im_file"]]]
            own = label["cls"]  # (N, 1), float
            label["cls"] = source.labels[own.astype(np.int64)].astype(own.dtype)
        return labels

    def read_labels(self) -> list[dict[str, Any]]:
        """Read the labels of each source as its files have them."""
        labels: list[dict[str, Any]] = super().get_labels()
        return labels

    def build_transforms(self, hyp: IterableSimpleNamespace) -> Compose:
        """Shift, resize and brighten for training, and what was chosen; nothing for validation.

        Args:
            hyp: Ultralytics' arguments: ``translate``, ``scale``, ``hsv_v``.
        """
        if self.counter is None:
            return super().build_transforms(hyp)
        free = FreeImages(self.joint, allow_music_flips=self.chosen.allow_music_flips)
        return Compose(
            [
                *transforms_before(self.chosen, self, self.counter, self.joint),
                SourcePerspective(
                    self.counter,
                    free,
                    degrees=self.chosen.degrees,
                    translate=hyp.translate,
                    scale=hyp.scale,
                    size=(self.imgsz, self.imgsz),
                ),
                RandomHSV(hgain=0.0, sgain=0.0, vgain=hyp.hsv_v),
                *transforms_after(self.chosen, free),
                Format(bbox_format="xywh", normalize=True, batch_idx=True),
            ]
        )


class ClassMasks:
    """Tells which classes the images of a batch say something of.

    Args:
        joint: Where the images come from.
        device: Where the batches are.
    """

    def __init__(self, joint: MultiDataset, device: torch.device) -> None:
        self._joint = joint
        self._of_sources = torch.from_numpy(joint.labelled).to(device)  # (S, C)
        self._needed = not joint.labelled.all()

    def added(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add ``class_mask``, bool, shape ``(B, C)``, unless all is labelled everywhere."""
        if self._needed:
            sources = torch.tensor([self._joint.source_of[file] for file in batch["im_file"]])
            device = batch["img"].device  # with several devices, that of this process
            # On a GPU an index from the host would be waited for.
            sources = sources.to(device, non_blocking=True)
            self._of_sources = self._of_sources.to(device)
            batch["class_mask"] = self._of_sources[sources]
        return batch


def mixed_loader(
    dataset: OmrDataset,
    sampler: EpochSampler,
    batch_size: int,
    args: IterableSimpleNamespace,
    device: torch.device,
) -> DeviceLoader:
    """Load what a sampler draws, otherwise as Ultralytics' ``build_dataloader`` does."""
    batch_size = min(batch_size, len(sampler))
    n_batches = math.ceil(len(sampler) / batch_size)
    n_cores = (os.cpu_count() or 1) // max(torch.cuda.device_count(), 1)
    n_workers = min(n_cores, args.workers, n_batches if n_batches > 1 else 0)
    return DeviceLoader(
        device=device,
        dataset=dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=n_workers,
        prefetch_factor=4 if n_workers else None,
        pin_memory=device.type == "cuda",
        collate_fn=dataset.collate_fn,
        worker_init_fn=seed_worker,
        generator=torch.Generator().manual_seed(max(RANK, 0) + args.seed),
    )
