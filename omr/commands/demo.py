"""``omr demo``."""

import csv
import json
import math
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from class_maps import ConfigError
from omr.console import err, print_json, say
from omr.options import AsJson, Device

MARK = ".omr-demo"
"""Lies in every folder that a demo made, so that the next one knows what it may replace."""
STEPS = 1330
"""Training steps: some five minutes on two cores."""
MODEL = "omr-tiny"
BATCH = 8
LEARNING = ("--lr", 0.005, "--warmup-epochs", 0.1)
TILE = 320
STAFF_SPACE = 12
"""Pixels: large enough for a stem of 1.5 px, small enough for a tile to show a whole bar."""
PAGES = 120
"""As many as make tiles for three epochs: more pages teach more than the same ones again."""
SIZE = "1960x1500"
"""Lower than a sheet of paper: less of it is left empty below the music."""
VAL = 0.12
FEWEST_PAGES = math.ceil(1 / VAL)
"""Of fewer, none would be held out, and there would be nothing to score on."""
JOINT_HEADS, JOINT_CLASSES = "harmony+coco", "harmony"
"""Heads for music and COCO, and the class map of the music that they are for."""
SHAPES = {"n_train": 400, "n_val": 50}
"""Images of drawn shapes."""
HOLDOUT_FONT = "Petaluma"
"""The font of the pages held out: the one that looks least like the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """What is known of the pages before any of them is read."""

    path: Path
    has_val: bool
    """Whether some are held out already."""
    has_works: bool
    """Whether some can be: they are of more than one work."""
    has_staves: bool
    """Whether pages can be brought to one staff space."""
    is_engraved: bool = False
    """Whether the demo has engraved them itself."""

    @property
    def held_out(self) -> bool:
        return self.has_val or self.has_works

    @property
    def meaning(self) -> str:
        """What the scores of a model that was trained on them say."""
        if self.is_engraved:
            return (
                "Scored on engraved pages that were held out of the training: other pieces, in a "
                f"font ({HOLDOUT_FONT}) that no page of the training has. They are clean pages of "
                "one engraver: the figures say nothing about scans."
            )
        if self.held_out:
            return "Scored on works that were held out of the training."
        return (
            "Scored on the TRAINING pages: there was no second work to hold out. The figures say "
            "that the model can remember these pages, nothing about others."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where everything of a demo lies."""

    root: Path

    @property
    def pages(self) -> Path:
        return self.root / "pages"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def shapes(self) -> Path:
        return self.root / "shapes"

    @property
    def coco(self) -> Path:
        return self.root / "coco"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def score(self) -> Path:
        return self.root / "score"

    @property
    def coco_score(self) -> Path:
        return self.root / "coco_score"

    @property
    def report(self) -> Path:
        return self.root / "REPORT.md"


class _Walk:
    """Runs one command after the other, and knows them all.

    Args:
        context: Of the command that runs them.
    """

    def __init__(self, context: typer.Context) -> None:
        self._omr = context.find_root().command
        self.commands: list[str] = []

    def step(self, *words: object) -> None:
        """Run ``omr`` with these words."""
        self.commands.append(shlex.join(["omr", *map(str, words)]))
        err.rule(f"[bold]{escape(self.commands[-1])}", align="left")
        self._omr.main([str(word) for word in words], standalone_mode=False)


def demo(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A few pages, as `omr convert` reads them.", show_default="engraved ones"
        ),
    ] = None,
    pages: Annotated[
        int, typer.Option(help="Pages to engrave where no data is given.", min=FEWEST_PAGES)
    ] = PAGES,
    out: Annotated[Path, typer.Option(help="Folder to make.", file_okay=False)] = Path("demo"),
    classes: Annotated[str, typer.Option(help="Class map.")] = "harmony",
    joint: Annotated[
        bool,
        typer.Option(
            "--joint",
            help="Train on drawn shapes in COCO's form, too, with a head for each kind of class.",
        ),
    ] = False,
    steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = STEPS,
    device: Device = "",
    seed: Annotated[int, typer.Option(help="Of the engraved pages and of the training.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT, if a demo made it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Go the whole way once, from engraving or your pages to scores; then say where it all lies.

    It shows that everything works here, in minutes, on a few pages. Without --data it engraves
    pages itself. A model of any use needs more pages and hours: see `omr train --help`.

    Example: omr demo --data ds2_sample --out demo
    """
    place = _Place(root=out)
    # looked at before room is made: an error must not cost the last demo
    source = _look_at(data, out) if data else _engraved(place)
    if joint and (classes != JOINT_CLASSES or not source.held_out):
        raise ConfigError(f"--joint needs pages to hold out, and --classes {JOINT_CLASSES}")
    _make_room(out, force=force)
    walk = _Walk(context)
    if source.is_engraved:
        hold_out = ["--val", VAL, "--holdout-font", HOLDOUT_FONT]
        what = ["--pages", pages, "--size", SIZE, *hold_out, "--seed", seed]
        walk.step("engrave", place.pages, *what)
    counts = _convert(walk, place, source, classes)
    n_images = counts["splits"]["train"]["images"]
    if joint:
        walk.step("convert", _draw_shapes(place, seed), place.coco, "--classes", "coco")
        n_images += SHAPES["n_train"]
    split = "val" if source.held_out else "train"
    on = ["--device", device] if device else []
    epochs = max(1, round(steps * BATCH / n_images))
    _train_and_score(walk, place, split, on, ["--epochs", epochs, "--seed", seed], joint=joint)
    result = json.loads((place.score / "report.json").read_text(encoding="utf-8"))
    text = _report(place, walk.commands, counts, result, source.meaning)
    place.report.write_text(text, encoding="utf-8")
    err.rule("[bold]REPORT.md", align="left")
    say(text)
    if as_json:
        print_json({"report": str(place.report), "split": split, "score": result})


def _convert(walk: _Walk, place: _Place, source: _Source, classes: str) -> dict[str, Any]:
    """Convert and look at the pages; give the manifest."""
    from converters.files.atomic_folder import MANIFEST

    val = ["--val", VAL] if source.has_works and not source.has_val else []
    scale = ["--scale", f"staff-space:{STAFF_SPACE}"] if source.has_staves else []
    how = ["--classes", classes, "--tile", TILE, *scale, *val]
    walk.step("convert", source.path, place.data, *how)
    size = ["--imgsz", TILE, "--batch", BATCH]
    walk.step("analyze-density", place.data, "--model", MODEL, *size)
    manifest: dict[str, Any] = json.loads((place.data / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def _train_and_score(
    walk: _Walk, place: _Place, split: str, on: list[str], how: list[object], *, joint: bool
) -> None:
    size = ["--imgsz", TILE, "--batch", BATCH, *on]
    together = [place.coco, "--sampling-weights", "2:1", "--true-negatives", "--heads", JOINT_HEADS]
    run = ["--out", place.run, "--model", MODEL, *how, *LEARNING]
    walk.step("train", place.data, *(together if joint else ["--no-validate"]), *run, *size)
    weights = place.run / "weights" / "last.pt"
    walk.step("eval", weights, place.data, "--split", split, *size, "--out", place.score)
    if joint:
        walk.step("eval", weights, place.coco, *size, "--out", place.coco_score)


def _draw_shapes(place: _Place, seed: int) -> Path:
    from converters.shapes import draw_shapes

    return draw_shapes(place.shapes, **SHAPES, side=TILE, seed=seed)


def _make_room(out: Path, *, force: bool) -> None:
    from converters.files.overwriting import check_folder, is_free

    check_folder(out, marker=MARK, force=force)
    if not is_free(out):
        for name in ("data", "run", "score", "pages", "shapes", "coco", "coco_score"):
            shutil.rmtree(out / name, ignore_errors=True)
        (out / "REPORT.md").unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def _engraved(place: _Place) -> _Source:
    import converters.engraving  # noqa: F401, says what is not installed

    return _Source(
        path=place.pages, has_val=True, has_works=True, has_staves=True, is_engraved=True
    )


def _look_at(path: Path, out: Path) -> _Source:
    """Find out what can be done with the user's pages."""
    from converters.files.overwriting import is_inside
    from converters.formats.sources import open_source
    from converters.names import work_of

    if is_inside(path, out):
        raise ConfigError(f"{path} lies in {out}, which is for the demo; choose another --out")
    found, files = open_source(path)
    splits = {file.split for file in files if file.file.images}
    works = {work_of(i) for file in files if file.split == "train" for i in file.file.images}
    if not works:
        raise ConfigError(f"{path} has no training pages; a demo trains: give it some")
    return _Source(
        path=path,
        has_val="val" in splits,
        has_works=None not in works and len(works) > 1,
        has_staves=found in {"deepscoresv2", "engraved"},
    )


def _report(
    place: _Place,
    commands: list[str],
    counts: dict[str, Any],
    result: dict[str, Any],
    meaning: str,
) -> str:
    """The text of REPORT.md: what the figures mean first, then where everything lies."""
    from eval.reports.detection import FREQUENT

    symbols, pages = counts["symbols"], counts["pages"]
    weighted, macro, frequent = (
        "no symbol to score" if result[mean]["ap50"] is None else f"{result[mean]['ap50']:.3f}"
        for mean in ("instance_weighted", "macro", "frequent_macro")
    )
    lines = [
        "# omr demo",
        "",
        meaning,
        "",
        "| | |",
        "|---|---|",
        f"| pages | {pages}, cut into {counts['images']} tiles |",
        f"| symbols | {symbols['read']} read, {symbols['written']} written, "
        f"{symbols['dropped']} dropped |",
        f"| AP50, every symbol counts the same | {weighted} |",
        f"| AP50, every class counts the same | {macro} |",
        f"| AP50, of classes with {FREQUENT} truths and more | {frequent} |",
        *_shapes_rows(place),
        "",
        *_epochs_rows(place),
        "| what | where |",
        "|---|---|",
        f"| converted data, counts of every symbol | {place.data}, {place.data}/manifest.json |",
        f"| training run, weights | {place.run}, {place.run}/weights/last.pt |",
        f"| scores of every class | {place.score}/report.json |",
        f"| truth beside prediction, to look at | {place.score}/contact_sheet.png |",
        "",
        "Made by:",
        "",
        *(f"    {command}" for command in commands),
    ]
    return "\n".join(lines) + "\n"


def _shapes_rows(place: _Place) -> list[str]:
    """What a joint training scored on the shapes."""
    file = place.coco_score / "report.json"
    if not file.is_file():
        return []
    macro = json.loads(file.read_text(encoding="utf-8"))["macro"]["ap50"]
    return [f"| AP50 of the drawn shapes, every class counts the same | {macro:.3f} |"]


def _epochs_rows(place: _Place) -> list[str]:
    """How both parts of a joint training came on, from epoch to epoch."""
    from training.engine.validator import OF_SOURCE

    if not place.coco_score.is_dir():
        return []
    with (place.run / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [OF_SOURCE.format(folder.name) for folder in (place.data, place.coco)]
    return [
        "Validated after each epoch, mean AP50 of the classes that a part has:",
        "",
        "| epoch | music | shapes |",
        "|---|---|---|",
        *(f"| {row['epoch']} | {' | '.join(row[column] for column in columns)} |" for row in rows),
        "",
    ]
