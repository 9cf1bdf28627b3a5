"""Folder of a demo: its layout, and its preparation for a new demo."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.files.atomic_folder import unlisted
from converters.files.overwriting import check_folder, unwritten
from omr.demo.shapes import is_shape_file

MARKER_FILE = ".omr-demo"
"""Empty file in every folder created by a demo; only folders that contain it are replaced."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoFolder:
    """Paths of everything that a demo writes."""

    root: Path

    @property
    def pages(self) -> Path:
        """Engraved pages."""
        return self.root / "pages"

    @property
    def data(self) -> Path:
        """Converted pages."""
        return self.root / "data"

    @property
    def shapes(self) -> Path:
        """Drawn shapes in COCO format."""
        return self.root / "shapes"

    @property
    def coco(self) -> Path:
        """Converted shapes."""
        return self.root / "coco"

    @property
    def run(self) -> Path:
        """Training run."""
        return self.root / "run"

    @property
    def weights(self) -> Path:
        """Checkpoint that is scored."""
        return self.run / "weights" / "last.pt"

    @property
    def score(self) -> Path:
        """Scores on the pages."""
        return self.root / "score"

    @property
    def coco_score(self) -> Path:
        """Scores on the shapes."""
        return self.root / "coco_score"

    @property
    def report(self) -> Path:
        """Summary in Markdown."""
        return self.root / "REPORT.md"

    def prepare(self, *, force: bool, inputs: Iterable[Path] = ()) -> None:
        """Make an empty folder, removing the contents of an earlier demo.

        Args:
            force: Replace the folder, if a demo created it.
            inputs: Files that must not be in a replaced folder.

        Raises:
            ConfigError: The folder is not empty and may not be replaced, or one of the folders
                that would be removed contains files that the demo did not write.
        """
        check_folder(
            self.root,
            marker=MARKER_FILE,
            others=lambda _: self._others(),
            force=force,
            inputs=inputs,
        )
        folders = self.pages, self.data, self.shapes, self.coco, self.run
        for folder in (*folders, self.score, self.coco_score):
            shutil.rmtree(folder, ignore_errors=True)
        self.report.unlink(missing_ok=True)
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / MARKER_FILE).touch()

    def _others(self) -> Iterator[str]:
        """Yield the files that an earlier demo did not write, in the folders that are removed."""
        from omr.scoring.report_files import FILES
        from training.runs.run_folder import is_of_run  # loads torch

        others = {
            folder: unlisted(folder)
            for folder in (self.pages, self.data, self.coco)
            if folder.is_dir()
        }
        others[self.run] = unwritten(self.run, is_of_run)
        others[self.shapes] = unwritten(self.shapes, is_shape_file)
        for folder in (self.score, self.coco_score):
            others[folder] = unwritten(folder, FILES.__contains__)
        for folder, names in others.items():
            yield from (f"{folder.name}/{name}" for name in names)
