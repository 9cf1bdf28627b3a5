"""Follow a recipe: engrave and convert pages, train, and write OUT/NAME.safetensors.

    python -m recipes.run recipes/harmony-tiny.yaml OUT [--device 0]

Steps whose output exists are skipped, and an interrupted training is resumed, so that the command
can be stopped and repeated. The confidence thresholds are chosen on the validation pages. The same
recipe gives the same data everywhere; weights differ in their last digits between machines.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from class_maps import ConfigError
from converters.files.hashes import sha256
from settings.run_files import LAST_WEIGHTS, STATE_FILE, WEIGHTS_FOLDER

STATE = Path(WEIGHTS_FOLDER) / STATE_FILE
"""File in the run folder while a training is not finished."""
LAST = Path(WEIGHTS_FOLDER) / LAST_WEIGHTS


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the commands that make a model."""

    name: str
    classes: str
    """Class map."""
    tiles: str
    """Options of ``omr convert`` for the training pages."""
    train: dict[str, str]
    """Options of ``omr engrave`` for each set of training pages."""
    val: dict[str, str]
    """Options of ``omr engrave`` for each set of validation pages."""
    training: str
    """Options of ``omr train``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """An ``omr`` command and the folder that it creates."""

    arguments: tuple[str, ...]
    output: Path


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigError: The file is not a recipe.
    """
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=Recipe)
    except (msgspec.MsgspecError, OSError) as error:
        raise ConfigError(f"{path}: is not a recipe: {error}") from error


def steps(recipe: Recipe, out: Path, device: Sequence[str]) -> list[Step]:
    """List the commands of a recipe, in order.

    Args:
        recipe: The recipe.
        out: Folder of all outputs.
        device: Further options of ``omr train``.
    """
    result = [
        *_pages(recipe, recipe.train, out / "train", recipe.tiles),
        *_pages(recipe, recipe.val, out / "val", ""),
    ]
    data = [str(out / "train" / "data" / name) for name in recipe.train]
    run = out / "run"
    arguments = ["train", *data, "--out", str(run), *shlex.split(recipe.training), *device]
    if (run / STATE).is_file():
        arguments = ["train", *data, "--out", str(run), "--resume", *device]
    return [*result, Step(arguments=tuple(arguments), output=run)]


def _pages(recipe: Recipe, sets: Mapping[str, str], out: Path, options: str) -> list[Step]:
    """List the commands that engrave and convert sets of pages."""
    result = []
    for name, engraving in sets.items():
        pages, data = out / "pages" / name, out / "data" / name
        arguments = ("engrave", str(pages), *shlex.split(engraving))
        result.append(Step(arguments=arguments, output=pages))
        arguments = ("convert", str(pages), str(data), "--classes", recipe.classes)
        result.append(Step(arguments=(*arguments, *shlex.split(options)), output=data))
    return result


def is_done(step: Step) -> bool:
    """Return whether the output of a step is complete."""
    if step.arguments[0] == "train":
        return (step.output / LAST).is_file() and not (step.output / STATE).is_file()
    return step.output.is_dir()


def main() -> None:
    """Run the steps that are not done yet."""
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path, help="folder of pages, data, run and weights")
    parser.add_argument("--device", help="cpu, or a GPU index")
    options = parser.parse_args()
    recipe, digest = read_recipe(options.recipe), sha256(options.recipe)
    device = ["--device", options.device] if options.device else []
    print(f"{recipe.name}: {options.recipe}, sha256 {digest}")
    for step in steps(recipe, options.out, device):
        line = shlex.join(["omr", *step.arguments])
        if is_done(step):
            print(f"done: {line}")
            continue
        print(line, flush=True)
        status = subprocess.run(
            [sys.executable, "-m", "omr", *step.arguments], check=False
        ).returncode
        if status:
            sys.exit(status)
    _publish(recipe, options.out, digest, options.device or "")


def _publish(recipe: Recipe, out: Path, digest: str, device: str) -> None:
    """Write the weights to share, unless that was done after the training."""
    weights, file = out / "run" / LAST, out / f"{recipe.name}.safetensors"
    if file.is_file() and file.stat().st_mtime_ns > weights.stat().st_mtime_ns:
        print(f"done: {file}")
        return
    from recipes.publish import publish

    val = [out / "val" / "data" / name for name in recipe.val]
    publish(weights, val, file, recipe=f"{recipe.name} {digest}", device=device)
    print(f"written: {file}")


if __name__ == "__main__":
    main()
