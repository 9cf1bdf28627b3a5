"""``omr demo``."""

import json
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
STEPS = 432
"""Training steps: some two minutes on two cores."""
BATCH = 4
"""Few images have to be seen often: small batches make more steps of them."""
LEARNING = ("--lr", 0.003, "--warmup-epochs", 1, "--no-validate")
TILE = 320
STAFF_SPACE = 12
"""Pixels: large enough for a stem of 1.5 px, small enough for a tile to show a whole bar."""
VAL = 0.25
SYNTHETIC_PAGES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where everything of a demo lies."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def score(self) -> Path:
        return self.root / "score"

    @property
    def report(self) -> Path:
        return self.root / "REPORT.md"


def demo(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(help="A few pages, as `omr convert` reads them.", show_default="drawn ones"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to make.", file_okay=False)] = Path("demo"),
    classes: Annotated[str, typer.Option(help="Class map.")] = "harmony",
    steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = STEPS,
    device: Device = "",
    seed: Annotated[int, typer.Option(help="Of the drawn pages and of the training.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT, if a demo made it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Go the whole way once: convert, analyze-density, train, eval; then say where it all lies.

    It shows that everything works here, in minutes, on a few pages. Without --data it draws simple
    pages itself. A model of any use needs more pages and hours: see `omr train --help`.

    Example: omr demo --data ds2_sample --out demo
    """
    place = _Place(root=out)
    # looked at before room is made: an error must not cost the last demo
    held_out, has_staves = _look_at(data, out) if data else (True, True)
    _make_room(out, force=force)
    source = data or _draw(out / "pages", seed)
    commands = []

    def step(*words: object) -> None:
        commands.append(shlex.join(["omr", *map(str, words)]))
        err.rule(f"[bold]{escape(commands[-1])}", align="left")
        context.find_root().command.main([str(word) for word in words], standalone_mode=False)

    val = ["--val", VAL] if held_out else []
    scale = ["--scale", f"staff-space:{STAFF_SPACE}"] if has_staves else []
    step("convert", source, place.data, "--classes", classes, "--tile", TILE, *scale, *val)
    counts = json.loads((place.data / "manifest.json").read_text(encoding="utf-8"))
    step("analyze-density", place.data, "--imgsz", TILE, "--batch", BATCH)
    size = ["--imgsz", TILE, "--batch", BATCH]
    on = ["--device", device] if device else []
    epochs = max(1, round(steps * BATCH / counts["splits"]["train"]["images"]))
    run = ["--out", place.run, "--epochs", epochs, *LEARNING, "--seed", seed]
    step("train", place.data, *run, *size, *on)
    split = "val" if held_out else "train"
    weights = place.run / "weights" / "last.pt"
    step("eval", weights, place.data, "--split", split, *size, *on, "--out", place.score)
    result = json.loads((place.score / "report.json").read_text(encoding="utf-8"))
    text = _report(place, commands, counts, result, held_out=held_out)
    place.report.write_text(text, encoding="utf-8")
    err.rule("[bold]REPORT.md", align="left")
    say(text)
    if as_json:
        print_json({"report": str(place.report), "split": split, "score": result})


def _make_room(out: Path, *, force: bool) -> None:
    from converters.staging import is_free

    if not is_free(out):
        if not force:
            raise ConfigError(f"{out} exists; choose another folder, or --force to replace it")
        if not (out / MARK).is_file():
            raise ConfigError(f"{out} was not made by a demo and is not replaced; choose another")
        for name in ("data", "run", "score", "pages"):
            shutil.rmtree(out / name, ignore_errors=True)
        (out / "REPORT.md").unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def _draw(folder: Path, seed: int) -> Path:
    from converters import synthetic

    say(f"Drawing {SYNTHETIC_PAGES} simple pages: no --data was given.")
    return synthetic.write(folder, pages=SYNTHETIC_PAGES, seed=seed)


def _look_at(source: Path, out: Path) -> tuple[bool, bool]:
    """Tell whether works can be held out, and whether pages can be scaled by their staves."""
    from converters.names import work_of
    from converters.sources import open_source
    from converters.staging import lies_in

    if lies_in(source, out):
        raise ConfigError(f"{source} lies in {out}, which is for the demo; choose another --out")
    found, files = open_source(source)
    works = {work_of(i) for file in files if file.split == "train" for i in file.file.images}
    if not works:
        raise ConfigError(f"{source} has no training pages; a demo trains: give it some")
    return None not in works and len(works) > 1, found == "deepscoresv2"


def _report(
    place: _Place,
    commands: list[str],
    counts: dict[str, Any],
    result: dict[str, Any],
    *,
    held_out: bool,
) -> str:
    """The text of REPORT.md: what the figures mean first, then where everything lies."""
    symbols, pages = counts["symbols"], counts["pages"]
    weighted, macro = (
        "no symbol to score" if mean["ap50"] is None else f"{mean['ap50']:.3f}"
        for mean in (result["instance_weighted"], result["macro"])
    )
    if held_out:
        meaning = "Scored on works that were held out of the training."
    else:
        meaning = (
            "Scored on the TRAINING pages: there was no second work to hold out. The figures say "
            "that the model can remember these pages, nothing about others."
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
        "",
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
