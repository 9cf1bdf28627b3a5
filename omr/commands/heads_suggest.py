"""``omr heads suggest``."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from class_maps import ConfigError
from eval.html.number_format import counted
from omr.console import (
    loading_torch,
    note,
    out,
    paragraph,
    print_json,
    progress,
    say,
    say_names,
    say_written,
    table,
)
from omr.options import AsJson
from settings.training import MAX_IMGSZ

if TYPE_CHECKING:
    from training.grouping.suggestion import Suggestion


def suggest(
    data: Annotated[Path, typer.Argument(help="Data set written by `omr convert`.", exists=True)],
    strategy: Annotated[
        Literal["geometry", "hybrid", "anti-confusion", "collision"],
        typer.Option(
            help="Grouping criterion: geometry groups classes of similar shape; hybrid groups "
            "classes of similar shape that occur in the same images; anti-confusion separates "
            "classes that are confused with each other; collision separates classes that compete "
            "for anchor points.",
            metavar="<name>",
        ),
    ],
    heads: Annotated[int, typer.Option(help="Number of heads.")] = 4,
    imgsz: Annotated[
        int,
        typer.Option(help="Side length of the network input in pixels.", min=1, max=MAX_IMGSZ),
    ] = 640,
    strides: Annotated[
        str, typer.Option(help="Strides of the feature levels in pixels, finest first.")
    ] = "8,16,32",
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="File of confused class pairs for anti-confusion: one NAME,NAME per line, or YAML."
        ),
    ] = None,
    confusion: Annotated[
        Path | None,
        typer.Option(help="File with a confusion matrix for anti-confusion: CSV or JSON."),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            help="Two classes conflict if their two entries in the confusion matrix sum to more "
            "than this value.",
            min=0,
        ),
    ] = 0.0,
    balance: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of classes by which a head may differ from the mean over all "
            "heads; hybrid only."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed for hybrid and collision.")] = 0,
    write_to: Annotated[
        Path | None, typer.Option("--out", help="Head config to write, a .yaml file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Suggest how to divide the classes of a data set into heads.

    Examples:
        omr heads suggest data --strategy geometry --heads 4 --out heads.yaml
        omr heads suggest data --strategy collision --heads 3
    """
    from converters.formats.datasets import open_dataset

    with loading_torch(as_json=as_json):
        from omr.head_suggestion import ConflictFiles, suggest_heads
        from training.grouping.suggestion import GroupingOptions

    options = GroupingOptions(
        strategy=strategy, n_heads=heads, strides=_strides(strides), balance=balance, seed=seed
    )
    suggestion = suggest_heads(
        data,
        options,
        imgsz=imgsz,
        conflict_files=ConflictFiles(pairs=pairs, confusion=confusion, threshold=threshold),
        out=write_to,
        force=force,
        track=lambda pages, total: progress(pages, "Reading", total),
    )
    for remark in open_dataset(data).skipped_files("train"):
        note(remark)
    if as_json:
        print_json(suggestion.to_json())
    else:
        _show(suggestion)
    if write_to:
        say_written(write_to, counted(len(suggestion.heads), "head", "heads"))


def _strides(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(stride) for stride in text.split(","))
    except ValueError:
        reason = "expected comma-separated integers such as 8,16,32"
        raise ConfigError(reason, option="--strides", value=text) from None


def _show(suggestion: "Suggestion") -> None:
    heads = suggestion.heads
    columns = {
        "classes": [len(head.classes) for head in heads],
        "symbols": [head.symbols for head in heads],
        "collisions": [head.collisions for head in heads],
        "within classes": [head.within_classes for head in heads],
    }
    if conflicts := [head.conflicts for head in heads if head.conflicts is not None]:
        columns["conflicts"] = conflicts
    rows = zip((head.name for head in heads), *columns.values(), strict=True)
    totals = ("all", *map(sum, columns.values()))
    title = f"Heads by {suggestion.strategy} at {suggestion.imgsz} px"
    table(title, ("head", *columns), rows, [totals], to=out)
    for head in heads:
        say_names(head.name, head.classes, to=out)
    say_names("no symbols, added to the smallest heads", suggestion.absent)
    say("")
    paragraph(
        "Collisions: anchor points claimed by two classes of one head, summed over pairs of "
        f"classes; one head for all classes: {suggestion.single_head_collisions:,}. "
        "Within classes: anchor points claimed by several boxes of one class."
    )
    paragraph(
        "Boxes that can get their own anchor point: "
        f"{_percent(suggestion.single_head)} with one head, "
        f"{_percent(suggestion.these_heads)} with these heads and separate box branches; "
        f"{_percent(1 - suggestion.without_candidate)} have a candidate point."
    )
    if suggestion.box == "shared":
        paragraph(
            "The config has a shared box branch; box: separate would use the extra anchor points."
        )


def _percent(share: float) -> str:
    """Format a share as a percentage, rounded down so that only 1 becomes 100%."""
    return f"{math.floor(share * 10_000 + 1e-6) / 100:.2f}%"
