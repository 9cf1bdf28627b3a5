"""What a data set was made from, with which options, and what became of every symbol."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.files.atomic_folder import MANIFEST
from converters.prepare.preparation import Prepared
from converters.tally import Tally
from converters.versions import OPENCV, TOOLKIT, installed_versions


@dataclass(kw_only=True)
class Manifest:
    """Grows page by page; equal input and options give equal bytes, whatever the machine."""

    names: Sequence[str]
    counts: Tally = field(default_factory=Tally)
    pages: Counter[str] = field(default_factory=Counter)
    """Pages by split."""
    images: Counter[str] = field(default_factory=Counter)
    """Images by split: as many as pages, or their tiles."""
    empty_images: Counter[str] = field(default_factory=Counter)
    """Images without any symbol, by split."""
    tiles: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """By split and page: its symbols, its scale, and the corner of each of its tiles."""
    annotations: dict[str, dict[str, int]] = field(default_factory=dict)
    """Annotations that were read, by split and page."""

    def add(self, prepared: Prepared) -> None:
        """Count one page by what was made of it."""
        split, counts = prepared.split, prepared.counts
        self.pages[split] += 1
        self.images[split] += len(prepared.images)
        self.empty_images[split] += prepared.n_empty
        self.counts.update(counts)
        if prepared.n_annotations is not None:
            of_pages = self.annotations.setdefault(split, {})
            of_pages[prepared.page.as_posix()] = prepared.n_annotations
        for image in prepared.images:
            if placed := image.placement:
                scale = {"scale_x": placed.scale_x, "scale_y": placed.scale_y}
                pages = self.tiles.setdefault(split, {})
                n = counts.written.total()
                page = pages.setdefault(
                    placed.page.as_posix(), {"symbols": n, **scale, "tiles": {}}
                )
                page["tiles"][image.image.as_posix()] = [placed.x, placed.y]

    def summary(self) -> dict[str, Any]:
        """The counts: ``pages``, ``images``, ``symbols``, ``dropped_by_reason``, ``classes``."""
        counts = self.counts
        return {
            "pages": self.pages.total(),
            "images": self.images.total(),
            "splits": {
                split: {
                    "pages": n,
                    "images": self.images[split],
                    "empty_images": self.empty_images[split],
                }
                for split, n in sorted(self.pages.items())
            },
            "symbols": {
                "read": counts.read,
                "written": counts.written.total(),
                "dropped": counts.dropped.total(),
                "labels": counts.labels.total(),
                "cut": counts.cut.total(),
            },
            "dropped_by_reason": counts.by_reason(),
            "changed": _nested(counts.changed),
            "same_box_two_classes": {
                f"{a} + {b}": n for (a, b), n in sorted(counts.two_classes.items())
            },
            "classes": [self._of_class(name) for name in self.names],
            "warnings": counts.warnings,
        }

    def write(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write ``manifest.json``: ``facts`` of the run, the summary, the details."""
        data = {
            **facts,
            "versions": installed_versions(TOOLKIT, "numpy", *OPENCV, "polars"),
            **self.summary(),
            "dropped": _nested(self.counts.dropped),
            "annotations": self.annotations,
            "tiles": self.tiles,
        }
        text = json.dumps(data, indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    def _of_class(self, name: str) -> dict[str, Any]:
        counts = self.counts
        return {
            "name": name,
            "written": counts.written[name],
            "labels": counts.labels[name],
            "cut": counts.cut[name],
        }


def sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _nested(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """``{(reason, name): n}`` as ``{reason: {name: n}}``, sorted."""
    nested: dict[str, dict[str, int]] = {}
    for (reason, name), n in sorted(counts.items()):
        nested.setdefault(reason, {})[name] = n
    return nested
