"""Head suggestion: divides the classes of a data set into heads, and writes a head config.

Main path: :func:`suggest_heads` reads the labels with :mod:`converters.formats.yolo` and divides
the classes with :mod:`training.grouping.suggestion`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from class_maps import ConfigError, InputError
from converters.files.atomic_files import output_files
from converters.files.overwriting import check_files
from converters.formats.data_yaml import DATA_YAML
from converters.formats.datasets import open_dataset
from converters.page import Page
from converters.tracking import Track, untracked
from training.grouping.conflicts import Conflicts, read_confusion, read_pairs
from training.grouping.statistics import symbols_of
from training.grouping.suggestion import (
    GroupingOptions,
    Suggestion,
    check,
    suggest,
    yaml_text,
)

SUFFIXES = (".yaml", ".yml")
"""Suffixes of head configs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConflictFiles:
    """Files that list easily confused classes, for the strategy ``anti-confusion``.

    Raises:
        ConfigError: Both files are given, or a threshold without a confusion matrix.
    """

    pairs: Path | None = None
    """List of pairs of class names."""
    confusion: Path | None = None
    """Confusion matrix with class names."""
    threshold: float = 0.0
    """Value that the two entries of a pair in the matrix must exceed in sum."""

    def __post_init__(self) -> None:
        """Check that the options do not contradict each other."""
        if self.pairs and self.confusion:
            raise ConfigError("--pairs and --confusion: both list confused classes; give only one")
        if self.threshold and not self.confusion:
            reason = "applies only to a confusion matrix; add --confusion"
            raise ConfigError(reason, option="--threshold", value=f"{self.threshold:g}")

    @property
    def paths(self) -> tuple[Path | None, ...]:
        """The files; None for those that are not given."""
        return self.pairs, self.confusion

    def read(self, names: Sequence[str]) -> Conflicts | None:
        """Read the conflicts between C classes, shape ``(C, C)``; None without a file.

        Args:
            names: Class names by label.
        """
        if self.pairs:
            return read_pairs(self.pairs, names)
        if self.confusion:
            return read_confusion(self.confusion, names, self.threshold)
        return None


def suggest_heads(
    data: Path,
    options: GroupingOptions,
    *,
    imgsz: int = 640,
    conflict_files: ConflictFiles | None = None,
    out: Path | None = None,
    force: bool = False,
    track: Track[Page] = untracked,
) -> Suggestion:
    """Divide the classes of a data set into heads by the labels of its training images.

    Args:
        data: YOLO folder as :func:`converters.conversion.convert` writes it.
        options: Strategy, number of heads and strides.
        imgsz: Side of the network input in pixels, a multiple of every stride.
        conflict_files: Lists of easily confused classes; only for ``anti-confusion``.
        out: Head config to write, a YAML file; None to write none.
        force: Overwrite ``out``.
        track: Wrapper around the pages that shows progress.

    Raises:
        ConfigError: The options contradict each other or do not fit the data set, or ``out`` must
            not be overwritten.
        InputError: A file cannot be read, or the training images have no symbols.
    """
    files = conflict_files or ConflictFiles()
    suggest_now = partial(_suggest, data, options, imgsz, files, track)
    if not out:
        return suggest_now()
    _check_out(out, force=force, inputs=filter(None, (data / DATA_YAML, *files.paths)))
    with output_files(out, force=force) as (part,):
        suggestion = suggest_now()
        part.write_text(yaml_text(suggestion), encoding="utf-8")
    return suggestion


def _suggest(
    data: Path, options: GroupingOptions, imgsz: int, files: ConflictFiles, track: Track[Page]
) -> Suggestion:
    dataset = open_dataset(data)
    conflicts = files.read(dataset.names)
    check(dataset.names, imgsz, options, conflicts)
    pages = track(dataset.pages("train"), len(dataset.image_paths("train")))
    symbols = symbols_of(pages, len(dataset.names), imgsz)
    if not len(symbols):
        raise InputError("no symbols in the training images to group classes by", path=data)
    return suggest(symbols, dataset.names, options, conflicts)


def _check_out(out: Path, *, force: bool, inputs: Iterable[Path]) -> None:
    """Check that a head config can be written to a path, and is not one of the inputs.

    Raises:
        ConfigError: The path does not end in ``.yaml`` or ``.yml``, is one of the inputs, or exists
            and ``force`` is not set.
    """
    if out.suffix not in SUFFIXES:
        reason = f"expected a file name ending in {' or '.join(SUFFIXES)}"
        raise ConfigError(reason, option="--out", value=out)
    check_files(out, force=force, inputs=inputs)
