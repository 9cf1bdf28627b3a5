"""``omr classes list | show | check``."""

from pathlib import Path
from typing import Annotated, Any

import typer

import class_maps
from omr.console import out, print_json, say, table
from omr.options import AsJson

app = typer.Typer(no_args_is_help=True, help="Look at class maps: which classes there are.")


@app.command("list")
def list_maps(
    as_json: AsJson = False,
) -> None:
    """List the class maps that come with omr.

    Example: omr classes list
    """
    maps = [class_maps.load(name) for name in class_maps.shipped()]
    if as_json:
        print_json({m.name: {"classes": list(m.names), "sources": list(m.sources)} for m in maps})
        return
    rows = [(m.name, len(m.names), ", ".join(m.sources)) for m in maps]
    table("Class maps", ("name", "classes", "sources"), rows, to=out)
    say("omr classes show NAME tells more; a copy of one is a good start for your own.")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a class map, or a .yaml file.")],
    as_json: AsJson = False,
) -> None:
    """Show the classes of a map, and what each data set calls them.

    Example: omr classes show harmony
    """
    class_map = class_maps.load(name)
    rows: list[dict[str, Any]] = [
        {
            "label": label,
            "name": class_name,
            "sources": {s.name: _origin(s, class_name) for s in class_map.sources.values()},
        }
        for label, class_name in enumerate(class_map.names)
    ]
    if as_json:
        print_json({"name": class_map.name, "path": str(class_map.path), "classes": rows})
        return
    table(
        f"{class_map.name}: {class_map.path}",
        ("class", "label", *class_map.sources),
        [(row["name"], row["label"], *row["sources"].values()) for row in rows],
        to=out,
    )


def _origin(source: class_maps.Source, name: str) -> str:
    if name in source.unlabelled:
        return "never labelled"
    return ", ".join(c for c, class_name in source.class_of.items() if class_name == name) or "-"


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="Name of a class map, or a .yaml file.")],
    dataset: Annotated[Path, typer.Argument(help="What `omr convert` would read.")],
    annotation_set: Annotated[
        str | None, typer.Option(help="Read this set instead of the class map's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what of a data set a class map takes, drops, and leaves without an example.

    Example: omr classes check harmony ds2_dense
    """
    from converters.class_coverage import coverage

    class_map = class_maps.load(name)
    found = coverage(class_map, dataset, annotation_set)
    if as_json:
        print_json(found)
        return
    table(
        f"{class_map.name} on {dataset}",
        ("class", "symbols", "from"),
        [
            (row["name"], row["count"], ", ".join(row["categories"]) or "-")
            for row in found["classes"]
        ],
        to=out,
    )
    table("Dropped", ("category", "symbols"), list(found["dropped"].items()), to=out)
    for what, names in (
        ("no symbol here", found["empty"]),
        ("never labelled by this source, so no negatives either", found["unlabelled"]),
        ("no source can fill", found["unfillable"]),
    ):
        if names:
            say(f"{what}: {', '.join(names)}", to=out)
