"""``omr split``."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from class_maps import ConfigError
from converters.page_groups import GroupBy
from omr.console import note, print_json, progress, results
from omr.options import AsJson


def split(
    data: Annotated[
        Path,
        typer.Argument(
            help="Data set that `omr convert` wrote, or another YOLO folder or data.yaml."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Argument(help="Folder to create.", show_default="DATA, which is replaced"),
    ] = None,
    by: Annotated[
        GroupBy, typer.Option(help="Unit that is never divided between two splits.")
    ] = "work",
    val: Annotated[
        float | None,
        typer.Option(
            help="Fraction for validation.",
            min=0,
            max=0.99,
            show_default="the validation split is kept",
        ),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(
            help="Fraction for tests.", min=0, max=0.99, show_default="the test split is kept"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed for equally suitable choices.")] = 0,
    images: Annotated[
        Literal["copy", "link"],
        typer.Option(help="How the images get into OUT: as copies, or as links to those in DATA."),
    ] = "copy",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Only search for images, works, pieces and writers that are in several splits.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT if omr wrote all files in it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Divide a data set into new splits that share no work, or check the splits it has.

    Each split gets its fraction of every class, as far as whole works allow, rare classes
    first. Images and label files stay as they are. With --check, nothing is written, and
    the exit status is 1 if anything is in several splits, even as a scaled or re-encoded
    copy of an image.

    Examples:
        omr split data divided --by work --val 0.1 --test 0.1
        omr split divided --check
    """
    if check:
        _check(data, out, {"--val": val, "--test": test}, as_json=as_json)
        return
    from converters.splitting.dataset import split_dataset
    from converters.splitting.plan import SplitOptions
    from omr.split_summary import print_result, to_json

    options = SplitOptions(by=by, val=val, test=test, seed=seed)
    result = split_dataset(data, out, options, image_mode=images, force=force)
    print_result(result, out or data, options, to=results(as_json=as_json))
    if as_json:
        print_json(to_json(result))


def _check(data: Path, out: Path | None, given: dict[str, Any], *, as_json: bool) -> None:
    """Print what is in several splits; exit with status 1 if anything is."""
    unused = [name for name, value in given.items() if value is not None]
    if out:
        unused.append(f"OUT {out}")
    if unused:
        raise ConfigError(f"--check: writes nothing; omit {' and '.join(unused)}")
    from converters.formats.datasets import open_dataset
    from converters.splitting.images import read_split_images
    from converters.splitting.leaks import find_leaks
    from omr.split_summary import print_leaks

    dataset = open_dataset(data)
    for warning in dataset.warnings:
        note(warning)
    images = read_split_images(dataset)
    leaks = find_leaks(images, track=lambda hashes, n: progress(hashes, "Comparing images", n))
    splits = list(dict.fromkeys(image.split for image in images))
    print_leaks(leaks, splits, len(images), to=results(as_json=as_json))
    if as_json:
        print_json({"images": len(images), "leaks": [leak.to_json() for leak in leaks]})
    if leaks:
        raise typer.Exit(1)
