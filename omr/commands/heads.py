"""``omr heads list | show | suggest``."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from class_maps import ConfigError, InputError
from omr.console import out, print_json, progress, say, table
from omr.options import AsJson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from training.grouping.suggestion import Suggestion
    from training.heads.head_config import HeadConfig

app = typer.Typer(no_args_is_help=True, help="Look at head configs: which classes share a head.")


@app.command("list")
def list_configs(
    as_json: AsJson = False,
) -> None:
    """List the head configs that come with omr.

    Example: omr heads list
    """
    from training.heads import head_config

    configs = {name: head_config.load(name) for name in head_config.shipped()}
    if as_json:
        print_json({name: _as_json(config) for name, config in configs.items()})
        return
    rows = [
        (name, len(c.groups), sum(len(group.classes) for group in c.groups), c.box)
        for name, c in configs.items()
    ]
    table("Head configs", ("name", "heads", "classes", "box branch"), rows, to=out)
    say("omr heads show NAME tells more; omr heads suggest DATA makes one that fits the data.")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a head config, or a .yaml file.")],
    as_json: AsJson = False,
) -> None:
    """Show the classes of each head, and what its branches look like.

    Example: omr heads show harmony
    """
    from training.heads import head_config

    config = head_config.load(name)
    if as_json:
        print_json({"name": name} | _as_json(config))
        return
    rows = [
        (
            group.name,
            len(group.classes),
            f"{group.weight:g}",
            group.similarity or "-",
            f"{group.beta:g}" if group.beta else "-",
        )
        for group in config.groups
    ]
    table(name, ("head", "classes", "weight", "similarity", "beta"), rows, to=out)
    for group in config.groups:
        say(f"{group.name}: {', '.join(group.classes)}", to=out)
    say(
        f"\nbox branch: {config.box} ({config.box_encoding}); class branches: width "
        f"{config.tower_width:g}, depth {config.tower_depth}, gate {config.gate}",
        to=out,
    )


@app.command()
def suggest(
    data: Annotated[Path, typer.Argument(help="Folder that omr convert wrote.", exists=True)],
    strategy: Annotated[
        Literal["geometry", "hybrid", "anti-confusion", "collision"],
        typer.Option(
            help="Together: classes of like shape; those of like shape in the same images. "
            "Apart: those taken for one another; those that compete for anchor points."
        ),
    ],
    heads: Annotated[int, typer.Option(help="How many heads.")] = 4,
    imgsz: Annotated[int, typer.Option(help="Side of the network input, pixels.", min=1)] = 640,
    strides: Annotated[str, typer.Option(help="Pixels per cell of each level.")] = "8,16,32",
    pairs: Annotated[
        Path | None,
        typer.Option(help="For anti-confusion: two names a line with a comma between, or YAML."),
    ] = None,
    confusion: Annotated[
        Path | None,
        typer.Option(help="For anti-confusion: a matrix with names, CSV or JSON."),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(help="With --confusion: a pair's two entries must add up to more.", min=0),
    ] = 0.0,
    balance: Annotated[
        int | None,
        typer.Option(
            help="For hybrid: heads may have this many classes more or fewer than the average.",
            show_default="any number",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the starts of hybrid and collision.")] = 0,
    write_to: Annotated[
        Path | None, typer.Option("--out", help="Head config to write, a .yaml file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Divide the classes of a data set into heads.

    Example: omr heads suggest data --strategy geometry --heads 4 --out heads.yaml
    """
    from converters.formats.yolo import open_dataset
    from training.grouping.statistics import symbols_of
    from training.grouping.suggestion import GroupingOptions, check, check_free, write
    from training.grouping.suggestion import suggest as run

    options = GroupingOptions(
        strategy=strategy, n_heads=heads, strides=_strides(strides), balance=balance, seed=seed
    )
    if write_to:
        check_free(write_to, force=force)
    dataset = open_dataset(data)
    conflicts = _conflicts(pairs, confusion, threshold, dataset.names)
    check(dataset.names, imgsz, options, conflicts)
    n_pages = len(dataset.image_paths("train"))
    pages = progress(dataset.pages("train"), "Reading", n_pages)
    symbols = symbols_of(pages, len(dataset.names), imgsz)
    if not len(symbols):
        raise InputError("no symbol in any image of train, so nothing to go by", path=data)
    suggestion = run(symbols, dataset.names, options, conflicts)
    if write_to:
        write(suggestion, write_to, force=force)
    if as_json:
        print_json(suggestion.to_json())
    else:
        _show(suggestion)
    if write_to:
        say(f"-> {write_to}")


def _as_json(config: "HeadConfig") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(config)


def _strides(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise ConfigError(f"--strides: expected numbers such as 8,16,32, got {text}") from None


def _conflicts(
    pairs: Path | None, confusion: Path | None, threshold: float, names: tuple[str, ...]
) -> "NDArray[np.bool_] | None":
    from training.grouping.conflicts import read_confusion, read_pairs

    if pairs and confusion:
        raise ConfigError("--pairs and --confusion say the same; give one of them")
    if threshold and not confusion:
        raise ConfigError("--threshold is for --confusion")
    if pairs:
        return read_pairs(pairs, names)
    return read_confusion(confusion, names, threshold) if confusion else None


def _show(suggestion: "Suggestion") -> None:
    shown = suggestion.heads
    columns: dict[str, list[int]] = {
        "classes": [len(head.classes) for head in shown],
        "symbols": [head.symbols for head in shown],
        "collisions": [head.collisions for head in shown],
        "within classes": [head.within_classes for head in shown],
    }
    conflicts = [head.conflicts for head in shown if head.conflicts is not None]
    if conflicts:
        columns["conflicts"] = conflicts
    rows = zip((head.name for head in shown), *columns.values(), strict=True)
    title = f"Heads by {suggestion.strategy}, at {suggestion.imgsz} px"
    totals = ("all", *map(sum, columns.values()))
    table(title, ("head", *columns), rows, [totals], to=out)
    for head in suggestion.heads:
        say(f"{head.name}: {', '.join(head.classes)}", to=out)
    if suggestion.absent:
        say(f"\nWithout a symbol, put where the fewest classes are: {', '.join(suggestion.absent)}")
    say(
        "\nCollisions: anchor points that two classes of a head compete for, summed over pairs of "
        f"classes; a single head would have {suggestion.single_head_collisions:,}. "
        "Within classes: those that boxes of one class compete for."
    )
    say(
        "Boxes that can each have an anchor point of their own: "
        f"{_percent(suggestion.single_head)} with a single head, "
        f"{_percent(suggestion.these_heads)} with these and a box branch for each; "
        f"{_percent(1 - suggestion.without_candidate)} have a candidate point at all."
    )
    if suggestion.box == "shared":
        say("The config shares one box branch: box: separate would make use of that.")


def _percent(share: float) -> str:
    """Round down, so that only all are 100 %."""
    return f"{math.floor(share * 10_000 + 1e-6) / 100:.2f} %"
