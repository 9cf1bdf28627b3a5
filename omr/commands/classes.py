"""The commands ``omr classes list``, ``show`` and ``check``."""

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer

import class_maps
from omr.console import note, out, print_json, say, table
from omr.convert_options import ImageFolder
from omr.options import CLASS_MAP, AsJson

app = typer.Typer(no_args_is_help=True, help="List, show and check class maps.")


@app.command("list")
def list_maps(
    as_json: AsJson = False,
) -> None:
    """List the class maps that come with omr.

    Examples:
        omr classes list
        omr classes list --json
    """
    maps = [class_maps.load(name) for name in class_maps.shipped()]
    if as_json:
        print_json({m.name: {"classes": list(m.names), "sources": list(m.sources)} for m in maps})
        return
    rows = [(m.name, len(m.names), ", ".join(m.sources)) for m in maps]
    table("Class maps", ("name", "classes", "sources"), rows, to=out)
    say("See `omr classes show NAME` for details; copy a class map's file to write your own.")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help=CLASS_MAP)],
    as_json: AsJson = False,
) -> None:
    """Show the classes of a class map, and the categories of each data set that map to them.

    Examples:
        omr classes show harmony
        omr classes show harmony-core
    """
    class_map = class_maps.load(name)
    categories = {s.name: _categories(s) for s in class_map.sources.values()}
    rows: list[dict[str, Any]] = [
        {
            "label": label,
            "name": class_name,
            "sources": {source: texts.get(class_name, "-") for source, texts in categories.items()},
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


def _categories(source: class_maps.CategoryMapping) -> dict[str, str]:
    """Return the categories of each class that has any in a source."""
    of_class = defaultdict[str, list[str]](list)
    for category, name in source.class_of.items():
        of_class[name].append(_with_relation(category, source))
    texts = {name: ", ".join(categories) for name, categories in of_class.items()}
    return texts | dict.fromkeys(source.unlabelled, "never labelled")


def _with_relation(category: str, source: class_maps.CategoryMapping) -> str:
    relation = source.relations[category]
    return category if relation == "exact" else f"{category} ({relation})"


@app.command()
def check(
    name: Annotated[str, typer.Argument(help=CLASS_MAP)],
    dataset: Annotated[Path, typer.Argument(help="Data set that `omr convert` reads.")],
    annotation_set: Annotated[
        str | None,
        typer.Option(help="Annotation set to read.", show_default="as in the class map"),
    ] = None,
    image_folder: ImageFolder = None,
    as_json: AsJson = False,
) -> None:
    """Count the symbols of a data set that map to each class, and those that would be dropped.

    Examples:
        omr classes check harmony ds2_dense
        omr classes check harmony ds2_dense --json
    """
    from converters.class_coverage import coverage

    class_map = class_maps.load(name)
    result = coverage(class_map, dataset, annotation_set, image_folder)
    for warning in result["warnings"]:
        note(warning)
    if as_json:
        print_json(result)
        return
    table(
        f"{class_map.name} on {dataset}",
        ("class", "symbols", "from"),
        [
            (row["name"], row["count"], ", ".join(row["categories"]) or "-")
            for row in result["classes"]
        ],
        to=out,
    )
    table("Dropped", ("category", "symbols"), list(result["dropped"].items()), to=out)
    for problem, names in (
        ("no symbols in this data set", result["empty"]),
        ("never labelled in this data set, so no negatives either", result["unlabelled"]),
        ("without a category in any source", result["without_category"]),
    ):
        if names:
            say(f"{problem}: {', '.join(names)}", to=out)
