"""Folders with evaluations as ``omr eval --out`` writes them, for tests of omr compare."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crowded_pages import crowded_pages
from converters.page import Page
from omr.scoring.symbols_file import write_symbols
from omr.scoring.truths_hash import hash_of_pages

TRUTHS, PREDICTIONS, _ = crowded_pages(
    n_pages=12, n_truths=40, n_predictions=80, n_classes=4, seed=10
)
NAMES = ("head", "stem", "clef", "rest", "flag")
"""Class names; there are no flags."""


def thinned(pages: Sequence[Page], share: float, seed: int = 0) -> list[Page]:
    """Return predictions without a random share of them."""
    rng = np.random.default_rng(seed)
    return [page.only(rng.random(len(page.labels)) >= share) for page in pages]


def without_symbols(pages: Sequence[Page]) -> list[Page]:
    return [page.only(slice(0)) for page in pages]


def write_scored(
    folder: Path,
    share: float = 0.0,
    seed: int = 0,
    *,
    truths: Sequence[Page] = TRUTHS,
    names: Sequence[str] = NAMES,
    settings: dict[str, Any] | None = None,
    **protocol: Any,  # noqa: ANN401
) -> Path:
    """Write an evaluation of predictions of which a random share is missing.

    Args:
        folder: Folder to create.
        share: Share of the predictions that are missing.
        seed: Seed of their choice.
        truths: Ground truth, with the names of ``TRUTHS`` whatever their suffix.
        names: Class names.
        settings: Settings of the protocol that differ from those of other folders.
        protocol: Other parts of the protocol that differ.
    """
    folder.mkdir(parents=True)
    prediction_of = {page.image.stem: page for page in thinned(PREDICTIONS, share, seed)}
    predictions = [replace(prediction_of[page.image.stem], image=page.image) for page in truths]
    content: dict[str, Any] = {
        "weights": {"kind": "weights", "name": "best.pt", "sha256": _hash((share, seed))},
        "data": {
            "name": "data", "labels": "1", "truths": hash_of_pages(truths), "manifest": None,
        },
        "class_map": {"name": "harmony", "sha256": "2", "classes": _hash(names)},
        "split": "val",
        "unit": "page",
        "settings": {
            "max_det": 300, "is_truncated": False, "conf": 0.001, "lowest_score": None,
            "imgsz": 640, "staff_space": None, "tiles": {"size": 640, "overlap": 64},
        } | (settings or {}),
        "merging": None,
        "versions": {"omr-toolkit": "0.1.0"},
        "metrics": "COCO AP",
    } | protocol  # fmt: skip
    used = content["settings"]
    covered = [content[key] for key in ("data", "class_map", "split", "unit", "metrics")]
    content["hash"] = _hash((covered, used["max_det"], used["is_truncated"]))[:16]
    (folder / "report.json").write_text(json.dumps({"split": "val", "protocol": content}))
    write_symbols(folder / "symbols.npz", truths, predictions, names)
    return folder


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()
