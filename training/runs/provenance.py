"""What a run was made from: data, classes, heads, command, versions and device, in its folder.

A run that is resumed with other data would be neither the old run nor a new one: it is refused.
"""

import hashlib
import json
import platform
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import ultralytics
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils.torch_utils import get_cpu_info, unwrap_model

from class_maps import ConfigError, InputError
from converters.files.atomic_files import atomic_file
from converters.files.atomic_folder import MANIFEST
from converters.files.hashes import sha256
from converters.versions import TOOLKIT, installed_versions
from training.data.multi_dataset import MultiDataset
from training.heads import head_config
from training.heads.grouped import GroupedDetect

RECORD_FILE = "run.json"
HEADS_FILE = "heads.yaml"
"""In the run folder: the head config, where there are several heads."""

PARTS = {"classes": "its classes", "train": "images or labels of train", "val": "those of val"}
"""What may not have changed when a run goes on, and what to call it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataHashes:
    """One data set as it was when a run was started, each part as a SHA-256."""

    folder: str
    manifest: str | None
    """Of ``manifest.json``; None for a data set that somebody else made."""
    classes: str
    """Names of its classes, and which of the run's classes it says nothing of."""
    train: str
    """Names and sizes of the images, and contents of their label files."""
    val: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What is known before a training starts."""

    data: tuple[DataHashes, ...]
    command: str


def record_of(joint: MultiDataset) -> Provenance:
    """Hash the data sets, and take down how this process was started."""
    return Provenance(data=_hashes(joint), command=shlex.join(sys.argv))


def _hashes(joint: MultiDataset) -> tuple[DataHashes, ...]:
    silent = joint.silent()
    hashes = []
    for folder, source in zip(joint.options.folders, joint.sources, strict=True):
        dataset = source.dataset
        manifest = dataset.root / MANIFEST
        classes = json.dumps([dataset.names, silent[str(folder)]])
        hashes.append(
            DataHashes(
                folder=str(folder.absolute()),
                manifest=sha256(manifest) if manifest.is_file() else None,
                classes=hashlib.sha256(classes.encode()).hexdigest(),
                train=dataset.fingerprint("train"),
                val=dataset.fingerprint("val"),
            )
        )
    return tuple(hashes)


def check_same_data(out: Path, record: Provenance) -> None:
    """Make sure that a run goes on with the data it was started with.

    Args:
        out: The run's folder.
        record: Of this call; the data sets may lie elsewhere.

    Raises:
        ConfigError: Something of them has changed.
        InputError: The run has no record, or a damaged one.
    """
    before = _read(out / RECORD_FILE)["data"]
    changed = []
    for old, new in zip(before, map(asdict, record.data), strict=True):
        parts = [word for part, word in PARTS.items() if old.get(part) != new[part]]
        if parts:
            changed.append(f"{new['folder']}: {', '.join(parts)}")
    if changed:
        raise ConfigError(
            f"{out}: the data have changed since it was started: {'; '.join(changed)}; put them "
            "back as they were, or start a new run with --model weights/last.pt"
        )


def write_record(record: Provenance, trainer: BaseTrainer) -> None:
    """Write ``run.json``, and ``heads.yaml`` where the model has several heads.

    A resumed run keeps what was there, and adds how it was started this time.

    Args:
        record: Of :func:`record_of`.
        trainer: Set up, so that its model and device are chosen.
    """
    file: Path = trainer.save_dir / RECORD_FILE
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


def _read(file: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        InputError: It is missing or damaged.
    """
    hint = "start a new run with --model weights/last.pt"
    if not file.is_file():
        raise InputError(f"no such file, so nobody knows the data of this run; {hint}", path=file)
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
        if not all(isinstance(content[key], list) for key in ("data", "starts")):
            raise TypeError("expected lists")
    except (ValueError, TypeError, KeyError):
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
