"""Folder of ``omr lint --worklist``: crops of the labels that predictions contradict."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from converters.files.atomic_folder import MANIFEST, atomic_folder
from converters.versions import TOOLKIT, installed_versions
from eval.lint.findings import LintReport
from eval.sheets.worklist import Track, write_worklist


@contextlib.contextmanager
def worklist_folder(
    out: Path, inputs: tuple[Path, ...], *, force: bool, track: Track
) -> Iterator[Callable[[LintReport, str], int]]:
    """Create a folder, and yield the function that fills it and returns the number of labels.

    The folder appears when the block ends, so that an existing one is refused before the labels
    are read.

    Args:
        out: Folder to create.
        inputs: Files and folders that must not be inside ``out``.
        force: Whether to replace ``out`` if omr wrote all files in it.
        track: Progress display.

    Raises:
        ConfigError: ``out`` exists, or contains an input.
        InputError: An image is damaged.
    """
    with atomic_folder(out, force=force, inputs=inputs) as folder:

        def write(report: LintReport, title: str) -> int:
            n = write_worklist(report.ranked, folder, title=title, track=track)
            versions = installed_versions(TOOLKIT, "numpy", "cleanlab")
            content = {"versions": versions, "labels": n}
            text = f"{json.dumps(content, indent=1)}\n"
            (folder / MANIFEST).write_text(text, encoding="utf-8")
            return n

        yield write
