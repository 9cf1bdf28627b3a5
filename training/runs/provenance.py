"""Provenance of a run: data, classes, heads, command, versions and device, in its folder.

A run cannot be resumed with other data, because its result could not be attributed to either data
set.
"""

import hashlib
import json
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import ultralytics
from ultralytics.utils.torch_utils import get_cpu_info, unwrap_model

from class_maps import ConfigError, InputError
from converters.files.atomic_files import atomic_file
from converters.files.atomic_folder import MANIFEST
from converters.files.hashes import SHORT_BYTES, sha256
from converters.versions import TOOLKIT, installed_versions
from settings import head_config
from settings.run_files import RECORD_FILE
from training.data.label_files import SplitLabels
from training.data.multi_dataset import MultiDataset
from training.heads.grouped import GroupedDetect
from training.runtime.distributed import is_first
from training.runtime.ultralytics_trainer import UltralyticsTrainer

IMAGES_FILE = "train_images.txt"
"""File in the run folder with the short hash and path of each training image."""
HEADS_FILE = "heads.yaml"
"""Head config in the run folder, for models with several heads."""

PARTS = {
    "classes": "classes",
    "train": "images or labels of train",
    "val": "those of val",
    "images": "contents of the images",
}
"""Parts of a data set that must not change before a run is resumed, and their descriptions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataHashes:
    """SHA-256 hashes of a data set as it was when a run was started."""

    folder: str
    manifest: str | None
    """Hash of ``manifest.json``; None for a data set without a manifest."""
    classes: str
    """Hash of its class names and of the classes that it does not label."""
    train: str
    """Hash of the names and sizes of the images and the contents of their label files."""
    val: str
    """Same hash for the validation split."""
    images: str | None
    """Hash of the contents of the images of both splits; None in processes other than the first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Facts about a run that are known before it starts."""

    data: tuple[DataHashes, ...]
    command: str


def record_of(
    multi_dataset: MultiDataset,
    labels: Sequence[Mapping[str, SplitLabels]],
    image_hashes: Mapping[str, int],
) -> Provenance:
    """Record the hashes of the data sets and the command line of this process.

    Args:
        multi_dataset: Data sets of the run.
        labels: Labels of ``train`` and ``val`` of each data set.
        image_hashes: Short hash of each image; empty in processes other than the first.
    """
    unlabelled = multi_dataset.unlabelled()
    hashes = []
    triples = zip(multi_dataset.options.folders, multi_dataset.sources, labels, strict=True)
    for folder, source, splits in triples:
        manifest = source.dataset.root / MANIFEST
        classes = json.dumps([source.dataset.names, unlabelled[str(folder)]])
        hashes.append(
            DataHashes(
                folder=str(folder.absolute()),
                manifest=sha256(manifest) if manifest.is_file() else None,
                classes=hashlib.sha256(classes.encode()).hexdigest(),
                train=splits["train"].digest,
                val=splits["val"].digest,
                images=_digest(image_hashes, splits) if image_hashes else None,
            )
        )
    return Provenance(data=tuple(hashes), command=shlex.join(sys.argv))


def check_same_data(out: Path, record: Provenance) -> None:
    """Check that a run resumes with the data it was started with.

    Args:
        out: Run folder.
        record: Provenance of this call; the data sets may have been moved.

    Raises:
        ConfigError: A data set has changed.
        InputError: The provenance record of the run is missing or damaged.
    """
    before = _read(out / RECORD_FILE)["data"]
    changes = []
    for old, new in zip(before, map(asdict, record.data), strict=True):
        changed = {part for part in PARTS if old.get(part) != new[part]}
        if None in (old.get("images"), new["images"]) or changed & {"train", "val"}:
            changed.discard("images")
        parts = [text for part, text in PARTS.items() if part in changed]
        if parts:
            changes.append(f"{new['folder']}: {', '.join(parts)}")
    if changes:
        raise ConfigError(
            f"{out}: the data have changed since the run was started: {'; '.join(changes)}; "
            f"restore them, or {advice_to_start(out)}"
        )


def advice_to_start(out: Path) -> str:
    """Advise to start a new run with the weights of one that cannot be resumed.

    Args:
        out: Run folder.
    """
    return f"start a new run with --model {shlex.quote(str(out / 'weights' / 'last.pt'))}"


def write_record(record: Provenance, trainer: UltralyticsTrainer) -> None:
    """Write ``run.json``, and ``heads.yaml`` if the model has several heads.

    A resumed run keeps the content and appends the new start. Only the first process writes.

    Args:
        record: Result of :func:`record_of`.
        trainer: Trainer after its set-up, with its model and device.
    """
    if not is_first():
        return
    file = trainer.save_dir / RECORD_FILE
    content = _read(file) if trainer.resume else {"starts": []}
    start = {
        "command": record.command,
        "epochs_done": trainer.start_epoch,
        "device": _device_name(trainer.device),
        "devices": max(trainer.world_size, 1),
        "versions": _versions(),
    }
    content = {"data": [asdict(hashes) for hashes in record.data]} | {
        "starts": [*content["starts"], start]
    }
    with atomic_file(file) as part:
        part.write_text(json.dumps(content, indent=1), "utf-8")
    head = unwrap_model(trainer.model).model[-1]
    if isinstance(head, GroupedDetect):
        with atomic_file(trainer.save_dir / HEADS_FILE) as part:
            part.write_text(head_config.to_yaml(head.config), "utf-8")


def write_images(out: Path, files: Iterable[str], image_hashes: Mapping[str, int]) -> None:
    """Write ``train_images.txt``.

    Args:
        out: Run folder.
        files: Training images.
        image_hashes: Short hash of each image.
    """
    lines = [f"{image_hashes[file]:0{2 * SHORT_BYTES}x}  {file}\n" for file in files]
    with atomic_file(out / IMAGES_FILE) as part:
        part.write_text("".join(lines), "utf-8", errors="surrogateescape")


def _digest(image_hashes: Mapping[str, int], splits: Mapping[str, SplitLabels]) -> str:
    """Hash the short hashes of all images of a data set."""
    files = [file for split in ("train", "val") for file in splits[split].images]
    return hashlib.sha256(str([image_hashes[file] for file in files]).encode()).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    """Read a provenance record.

    Raises:
        InputError: The file is missing or damaged.
    """
    hint = advice_to_start(file.parent)
    if not file.is_file():
        raise InputError(f"no such file, so the data of this run are unknown; {hint}", path=file)
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
        if not all(isinstance(content[key], list) for key in ("data", "starts")):
            raise TypeError("expected lists")
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"damaged; {hint}", path=file) from None
    return content


def _device_name(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else get_cpu_info()
    return f"{device.type}: {name}"


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **installed_versions(TOOLKIT),
        "torch": torch.__version__,
        "ultralytics": ultralytics.__version__,
        "numpy": np.__version__,
    }
