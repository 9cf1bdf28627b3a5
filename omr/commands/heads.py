"""``omr heads list | show | suggest``."""

from typing import Annotated, Any

import typer

from omr.commands.heads_suggest import suggest
from omr.console import out, print_json, say, say_names, table
from omr.options import AsJson
from settings import head_config
from settings.head_config import HeadConfig

app = typer.Typer(
    no_args_is_help=True,
    help="List, show and suggest head configs, which divide the classes among detection heads.",
)


@app.command("list")
def list_configs(
    as_json: AsJson = False,
) -> None:
    """List the head configs that come with omr.

    Examples:
        omr heads list
        omr heads list --json
    """
    configs = {name: head_config.load(name) for name in head_config.shipped()}
    if as_json:
        print_json({name: _as_json(config) for name, config in configs.items()})
        return
    rows = [
        (name, len(c.groups), sum(len(group.classes) for group in c.groups), c.box)
        for name, c in configs.items()
    ]
    table("Head configs", ("name", "heads", "classes", "box branch"), rows, to=out)
    say("For details: omr heads show NAME. For a config that fits a data set: omr heads suggest.")


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(help="Head config: a name from `omr heads list`, or a .yaml file."),
    ],
    as_json: AsJson = False,
) -> None:
    """Show the classes and branches of each head.

    Examples:
        omr heads show harmony
        omr heads show coco-standard
    """
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
        say_names(group.name, group.classes, to=out)
    say(
        f"\nbox branch: {config.box} ({config.box_encoding}); class branches: width "
        f"{config.tower_width:g}, depth {config.tower_depth}, gate {config.gate}",
        to=out,
    )


def _as_json(config: "HeadConfig") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(config)


app.command()(suggest)
