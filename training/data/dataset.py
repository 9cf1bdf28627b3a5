"""Images and labels of one or more data sets, loaded for training without omissions.

Shapes: B images of a batch, C classes, S sources, N labels of an image.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.data.augment import Compose, Format, RandomHSV
from ultralytics.data.build import seed_worker
from ultralytics.data.dataset import YOLODataset
from ultralytics.utils import IterableSimpleNamespace

from converters.formats.labelled_files import ImageLabels
from converters.image_headers import check_unchanged
from converters.image_tars import ReadAhead
from converters.images import read_bgr, resize_longer_side
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
from training.data.weighted_sampler import WeightedSampler
from training.losses.assigner_factory import PairCounter
from training.runtime.distributed import rank


class OmrDataset(YOLODataset):
    """All images and labels of data sets in YOLO format.

    Args:
        counter: Counter of the symbols that augmentation drops; None for validation, which has no
            augmentation.
        multi_dataset: Data sets of the images, and the mapping of their labels.
        image_labels: Labels of each image, by its file.
        chosen: Augmentation other than translation, scaling and brightness.
        seed: Seed of the augmentation.
        pairs: Counter of the candidate pairs of each batch; None on a CPU, where counting would not
            save a host synchronisation.
        options: Arguments of ``YOLODataset``; ``img_path`` is the list of image files.
    """

    def __init__(
        self,
        *,
        counter: SymbolCounter | None,
        multi_dataset: MultiDataset,
        image_labels: Mapping[str, ImageLabels],
        chosen: Transforms,
        seed: int = 0,
        pairs: PairCounter | None = None,
        **options: object,
    ) -> None:
        self.pairs = pairs
        self.counter = counter
        self.chosen = chosen
        self.multi_dataset = multi_dataset
        self.seed = seed
        self._image_labels = image_labels
        self._read_ahead = ReadAhead()
        # Ultralytics removes the sizes from its labels when it batches images of similar shape.
        self._sizes = {file: (image.width, image.height) for file, image in image_labels.items()}
        super().__init__(**options)
        self._image_labels = {}  # now in self.labels; workers need no second copy

    def __getitem__(self, index: int | Draw) -> dict[str, Any]:
        """Load an image and its labels, augmented for training.

        Args:
            index: Index in the list of images, or a draw with its own random augmentation.
        """
        if isinstance(index, Draw):
            seed_draw(self.seed, index.number)
            if self.counter is not None:
                self.counter.epoch = index.epoch
            index = index.image
        self._read_ahead(Path(self.im_files[index]))
        sample: dict[str, Any] = super().__getitem__(index)
        return sample

    def sampler(self, *, rank: int = 0, n_ranks: int = 1) -> WeightedSampler:
        """Build the sampler of the images of each epoch.

        Args:
            rank: Rank of this process.
            n_ranks: Number of devices.
        """
        labels = [image["cls"][:, 0].astype(np.int64) for image in self.labels]
        return self.multi_dataset.sampler(
            self.im_files, labels, seed=self.seed, rank=rank, n_ranks=n_ranks
        )

    def collate_fn(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate samples, with ``n_pairs`` for the loss if pairs are counted.

        Args:
            batch: Samples returned by :meth:`__getitem__`.
        """
        collated: dict[str, Any] = YOLODataset.collate_fn(batch)
        if self.pairs is not None:
            height, width = collated["img"].shape[2:]
            collated["n_pairs"] = self.pairs.count(collated["bboxes"], (height, width))
        return collated

    def get_img_files(self, img_path: Sequence[str]) -> list[str]:
        """Return the list of image files unchanged."""
        return list(img_path)

    def get_labels(self) -> list[dict[str, Any]]:
        """Return the labels of all images in Ultralytics' form, as indices into all classes.

        Ultralytics itself would open the label files again, and drop images and rows.
        """
        return [self._ultralytics_labels(file) for file in self.im_files]

    def _ultralytics_labels(self, file: str) -> dict[str, Any]:
        image = self._image_labels[file]
        source = self.multi_dataset.sources[self.multi_dataset.source_of[file]]
        labels = image.rows[:, :1]  # (N, 1), float
        return {
            "im_file": file,
            "shape": (image.height, image.width),
            "cls": source.labels[labels.astype(np.int64)].astype(labels.dtype),
            "bboxes": image.rows[:, 1:],
            "segments": [],
            "keypoints": None,
            "normalized": True,
            "bbox_format": "xywh",
        }

    def load_image(
        self, i: int, *_: object, **__: object
    ) -> tuple[NDArray[np.uint8], tuple[int, int], tuple[int, int]]:
        """Read an image and resize its longer side to ``imgsz``; no other file is read or written.

        Args:
            i: Index of the image.

        Returns:
            Pixels in BGR order, shape ``(H, W, 3)``; height and width of the file; and ``(H, W)``.

        Raises:
            InputError: The image is damaged, or its size has changed since its labels were read.
        """
        file = self.im_files[i]
        image = read_bgr(Path(file))
        height, width = image.shape[:2]
        check_unchanged(Path(file), (width, height), self._sizes[file])
        resized = resize_longer_side(image, self.imgsz)
        return resized, (height, width), (resized.shape[0], resized.shape[1])

    def build_transforms(self, hyp: IterableSimpleNamespace) -> Compose:
        """Build the augmentation for training; validation has none.

        Args:
            hyp: Ultralytics' arguments: ``translate``, ``scale``, ``hsv_v``.
        """
        if self.counter is None:
            return super().build_transforms(hyp)
        free = FreeImages(self.multi_dataset, allow_music_flips=self.chosen.allow_music_flips)
        return Compose(
            [
                *transforms_before(self.chosen, self, self.counter, self.multi_dataset),
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
    """Masks of the classes that are labelled in the images of a batch.

    Args:
        multi_dataset: Data sets of the images.
        device: Device of the batches.
    """

    def __init__(self, multi_dataset: MultiDataset, device: torch.device) -> None:
        self._origin_of = multi_dataset.origin_of
        self._labelled = torch.from_numpy(multi_dataset.labelled).to(device)  # (O, C)
        self._is_needed = not multi_dataset.labelled.all()

    def added(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add ``class_mask``, bool, shape ``(B, C)``, unless every origin labels all classes."""
        if self._is_needed:
            origins = torch.tensor([self._origin_of[file] for file in batch["im_file"]])
            device = batch["img"].device  # with several devices, the device of this process
            # On a GPU the host would wait for an index from main memory.
            origins = origins.to(device, non_blocking=True)
            self._labelled = self._labelled.to(device)
            batch["class_mask"] = self._labelled[origins]
        return batch


def build_loader(
    dataset: OmrDataset,
    sampler: EpochSampler,
    batch_size: int,
    args: IterableSimpleNamespace,
    device: torch.device,
) -> DeviceLoader:
    """Build a loader like Ultralytics' ``build_dataloader``, but with the given sampler."""
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
        generator=torch.Generator().manual_seed(rank() + args.seed),
    )
