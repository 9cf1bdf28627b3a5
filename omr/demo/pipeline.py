"""Pipeline of the demo: the commands that it runs, in order, with their options."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from class_maps import ConfigError
from converters.files.atomic_files import output_files
from converters.files.atomic_folder import MANIFEST
from converters.files.output_lock import locked_folder
from omr.demo import options as defaults
from omr.demo.folder import DemoFolder
from omr.demo.options import BATCH, JOINT_CLASSES, MODEL, VAL, DemoOptions
from omr.demo.shapes import draw_shapes
from omr.demo.source import DemoSource, engraved_source, inspect_source
from omr.failures import InterruptedCommand

RunCommand = Callable[[Sequence[str]], None]
"""Runs ``omr`` with these arguments."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoResult:
    """Outcome of a demo."""

    report: Path
    """Summary in Markdown."""
    lines: tuple[str, ...]
    """Scores, the class to work on, and the files to open, to print at the end."""
    split: str
    """Split that was scored."""
    score: dict[str, Any]
    """JSON report of ``omr eval``."""

    def to_json(self) -> dict[str, Any]:
        """Return nested dicts, lists and numbers."""
        return {"report": str(self.report), "split": self.split, "score": self.score}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Commands:
    """Runs commands and records their command lines."""

    run_command: RunCommand
    lines: list[str] = field(default_factory=list)

    def run(self, *arguments: object) -> None:
        """Run a command and record its command line."""
        texts = [str(argument) for argument in arguments]
        self.lines.append(shlex.join(["omr", *texts]))
        self.run_command(texts)


def run_demo(options: DemoOptions, run_command: RunCommand) -> DemoResult:
    """Engrave pages or use the given ones, convert, analyse, train, score, and write a report.

    Args:
        options: Pages, folder and training settings of the demo.
        run_command: Function that runs one ``omr`` command.

    Raises:
        ConfigError: The options contradict each other or do not fit the pages, or the folder may
            not be replaced; the last demo is kept.
        InputError: The pages cannot be read.
        MissingExtraError: A package that engraving needs is not installed.
        InterruptedCommand: The user stopped the demo.
    """
    try:
        with locked_folder(options.out):
            return _run(options, run_command)
    except (KeyboardInterrupt, InterruptedCommand):
        raise InterruptedCommand(
            f"{options.out}: interrupted; the finished steps are kept; start again with --force"
        ) from None


def _run(options: DemoOptions, run_command: RunCommand) -> DemoResult:
    folder = DemoFolder(root=options.out)
    # Before the folder is cleared: an error must not cost the last demo.
    source = _source(options, folder)
    folder.prepare(force=options.force, inputs=_class_map_files(options.classes))
    commands = _Commands(run_command=run_command)
    if source.is_engraved:
        _engrave(commands, folder, options)
    manifest = _convert(commands, folder, source, options.classes)
    n_images = manifest["splits"]["train"]["images"]
    if options.joint:
        n_images += _add_shapes(commands, folder, options.seed)
    epochs = max(1, round(options.steps * BATCH / n_images))
    split = "val" if source.is_held_out else "train"
    _train(commands, folder, options, epochs)
    _score(commands, folder, options, split)

    from omr.demo.report import closing_lines, read_score, report_text  # loads torch

    score = read_score(folder.score)
    text = report_text(folder, source.interpretation, manifest, score, commands.lines)
    with output_files(folder.report, force=True) as (part,):
        part.write_text(text, encoding="utf-8")
    lines = closing_lines(folder, score)
    return DemoResult(report=folder.report, lines=lines, split=split, score=score)


def _class_map_files(classes: str) -> list[Path]:
    """Return the file of a class map, unless the option is the name of a shipped class map."""
    path = Path(classes)
    return [path] if path.suffix else []


def _source(options: DemoOptions, folder: DemoFolder) -> DemoSource:
    if options.data:
        source = inspect_source(options.data, options.out)
    else:
        source = engraved_source(folder.pages)
    if options.joint and (options.classes != JOINT_CLASSES or not source.is_held_out):
        reason = f"needs held-out pages and --classes {JOINT_CLASSES}"
        raise ConfigError(reason, option="--joint")
    return source


def _engrave(commands: _Commands, folder: DemoFolder, options: DemoOptions) -> None:
    amount = ["--pages", options.pages, "--size", defaults.SIZE]
    hold_out = ["--val", VAL, "--holdout-font", defaults.HOLDOUT_FONT]
    commands.run("engrave", folder.pages, *amount, *hold_out, "--seed", options.seed)


def _convert(
    commands: _Commands, folder: DemoFolder, source: DemoSource, classes: str
) -> dict[str, Any]:
    """Convert and analyse the pages, and return the manifest."""
    val = ["--val", VAL] if source.has_works and not source.has_val else []
    scale = ["--scale", f"staff-space:{defaults.STAFF_SPACE}"] if source.has_staves else []
    tiles = ["--tile", defaults.TILE, "--blank-tiles", defaults.BLANK_TILES]
    commands.run("convert", source.path, folder.data, "--classes", classes, *tiles, *scale, *val)
    network = ["--model", MODEL, "--imgsz", defaults.TILE, "--batch", BATCH]
    commands.run("analyze-density", folder.data, *network)
    manifest: dict[str, Any] = json.loads((folder.data / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def _add_shapes(commands: _Commands, folder: DemoFolder, seed: int) -> int:
    """Draw and convert shapes in COCO format, and return the number of training images."""
    shapes = draw_shapes(folder.shapes, **defaults.SHAPES, side=defaults.TILE, seed=seed)
    commands.run("convert", shapes, folder.coco, "--classes", "coco")
    return defaults.SHAPES["n_train"]


def _train(commands: _Commands, folder: DemoFolder, options: DemoOptions, epochs: int) -> None:
    heads = ["--heads", defaults.JOINT_HEADS]
    joint = [folder.coco, "--sampling-weights", "2:1", "--true-negatives", *heads]
    data = [folder.data, *(joint if options.joint else ["--no-validate"])]
    run = ["--out", folder.run, "--model", MODEL, "--epochs", epochs, "--seed", options.seed]
    commands.run("train", *data, *run, *defaults.OPTIMISATION, *_network(options))


def _score(commands: _Commands, folder: DemoFolder, options: DemoOptions, split: str) -> None:
    network = _network(options)
    data = [folder.data, "--split", split]
    commands.run("eval", folder.weights, *data, *network, "--out", folder.score)
    if options.joint:
        commands.run("eval", folder.weights, folder.coco, *network, "--out", folder.coco_score)


def _network(options: DemoOptions) -> list[object]:
    device = ["--device", options.device] if options.device else []
    return ["--imgsz", defaults.TILE, "--batch", BATCH, *device]
