"""Division of a YOLO folder into new splits, without changing an image or a label.

Main path: :func:`split_dataset` reads all images, plans their splits, and writes them to a new
folder, or replaces the data set in one step.
"""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from class_maps import ConfigError, listed
from converters.files.atomic_folder import LIST, MANIFEST, atomic_folder
from converters.files.overwriting import is_worthless
from converters.files.placing import link, link_or_copy
from converters.formats.data_yaml import DATA_YAML
from converters.formats.image_folders import files_in
from converters.formats.yolo import write_data_yaml
from converters.formats.yolo_dataset import YoloDataset, open_yolo_folder
from converters.formats.yolo_labels import label_path
from converters.names import IMAGE_FOLDER, LABELS, SHEETS, count_of
from converters.splitting.images import SplitImage, read_split_images
from converters.splitting.leaks import Leak, find_leaks
from converters.splitting.plan import SplitCounts, SplitOptions, count_splits, plan
from converters.versions import OPENCV, TOOLKIT, installed_versions

_WRITTEN = {IMAGE_FOLDER, LABELS, DATA_YAML, MANIFEST, LIST}
"""Files and folders of a data set that are divided."""
_PLACE: Mapping[str, Callable[[Path, Path], object]] = {"copy": shutil.copyfile, "link": link}
"""How images get into the output."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitResult:
    """Counts of the new splits, and remarks."""

    counts: SplitCounts
    leaks: Sequence[Leak]
    """Works, pieces and writers that occur in several of the new splits."""
    left_out: Sequence[str]
    """Files and folders of the data set that the output does not contain."""


def split_dataset(
    data: Path,
    out: Path | None,
    options: SplitOptions,
    *,
    image_mode: Literal["copy", "link"] = "copy",
    force: bool = False,
) -> SplitResult:
    """Divide a data set into new splits.

    Args:
        data: YOLO folder or its ``data.yaml``.
        out: Folder to create; None to replace ``data``, whose images are kept as hard links.
        options: How to divide it.
        image_mode: Whether images in ``out`` are copies or links.
        force: Whether to replace ``out`` if omr created it.

    Raises:
        OmrError: The data set, the options or the output is invalid, or writing failed.
    """
    dataset = open_yolo_folder(data)
    left_out = sorted(p.name for p in dataset.root.iterdir() if p.name not in _WRITTEN)
    left_out = [name for name in left_out if not name.startswith(".")]
    if out is None:
        _check_replaceable(dataset, [name for name in left_out if name != SHEETS])
    target, inputs = (out, [dataset.root]) if out else (dataset.root, [])
    with atomic_folder(target, force=force or out is None, inputs=inputs) as folder:
        images = read_split_images(dataset)
        splits = plan(images, len(dataset.names), options)
        names = _new_names(images)
        _write(images, splits, names, folder, _PLACE[image_mode] if out else link_or_copy)
        write_data_yaml(folder, dataset.names, set(splits))
        manifest = _new_manifest(dataset, images, splits, names, options)
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
        divided = [replace(image, split=split) for image, split in zip(images, splits, strict=True)]
        return SplitResult(
            counts=count_splits(images, splits, dataset.names, options.by),
            leaks=find_leaks(divided, similar=False),
            left_out=left_out,
        )


def _check_replaceable(dataset: YoloDataset, left_out: Sequence[str]) -> None:
    """Check that a data set consists of the files that are divided, so that none would be lost.

    Raises:
        ConfigError: The folder contains other files, or images are elsewhere.
    """
    root, remedy = dataset.root, "give a folder OUT for the new splits"
    if dataset.file.name != DATA_YAML:
        raise ConfigError(f"{dataset.file}: only a {DATA_YAML} is replaced; {remedy}")
    if left_out:
        raise ConfigError(
            f"{root}: contains {listed(left_out)}, which would not be divided and therefore lost; "
            f"{remedy}"
        )
    images = [path for split in dataset.own_splits() for path in dataset.image_paths(split)]
    divided = {path.resolve() for path in images}
    divided |= {label_path(path).resolve() for path in images}
    if outside := [str(path) for path in images if not path.is_relative_to(root / IMAGE_FOLDER)]:
        names = count_of(outside, "image")
        raise ConfigError(f"{root}: {names} outside of {IMAGE_FOLDER}; {remedy}")
    files = (
        f
        for name in (IMAGE_FOLDER, LABELS)
        for f in files_in(root / name)
        if not is_worthless(f.name)
    )
    if others := sorted(
        f.relative_to(root).as_posix() for f in files if f.resolve() not in divided
    ):
        raise ConfigError(f"{root}: {count_of(others, 'file')} in no split; {remedy}")


def _new_names(images: Sequence[SplitImage]) -> list[PurePosixPath]:
    """Name the images; those of pages whose names collide get a folder named after their split."""
    stems = defaultdict[str, list[SplitImage]](list)
    for image in images:
        stems[image.name.with_suffix("").as_posix().casefold()].append(image)
    colliding = {
        (image.split, image.page) for same in stems.values() for image in same if len(same) > 1
    }
    return [
        PurePosixPath(image.split, image.name)
        if (image.split, image.page) in colliding
        else image.name
        for image in images
    ]


def _write(
    images: Sequence[SplitImage],
    splits: Sequence[str],
    names: Sequence[PurePosixPath],
    folder: Path,
    place: Callable[[Path, Path], object],
) -> None:
    """Place the images, and copy their label files byte for byte."""
    for image, split, name in zip(images, splits, names, strict=True):
        target = folder / IMAGE_FOLDER / split / name
        target.parent.mkdir(parents=True, exist_ok=True)
        place(image.path, target)
        if (labels := label_path(image.path)).is_file():
            new_labels = folder / LABELS / split / name.with_suffix(".txt")
            new_labels.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(labels, new_labels)


def _new_manifest(
    dataset: YoloDataset,
    images: Sequence[SplitImage],
    splits: Sequence[str],
    names: Sequence[PurePosixPath],
    options: SplitOptions,
) -> dict[str, Any]:
    """Return the manifest of the data set, with its pages under their new splits and names."""
    new_pages: dict[tuple[str, str], tuple[str, str]] = {}
    new_names: dict[tuple[str, str], str] = {}
    for image, split, name in zip(images, splits, names, strict=True):
        folder = dataset.folder_name(image.split)
        new_names[folder, str(image.name)] = str(name)
        for page in (image.name, image.page):
            new_page = page if name == image.name else PurePosixPath(image.split, page)
            new_pages[folder, str(page)] = split, str(new_page)
    manifest = _own_manifest(dataset.root / MANIFEST)
    for folder, tiled in manifest.get("tiles", {}).items():
        for page in tiled.values():
            tiles = page["tiles"].items()
            page["tiles"] = {new_names.get((folder, tile), tile): at for tile, at in tiles}
    for part in {"annotations", "properties", "tiles"} & manifest.keys():
        moved: dict[str, dict[str, Any]] = {}
        for folder, pages in manifest[part].items():
            for name, value in pages.items():  # a page whose tiles were all blank has no image
                split, new_name = new_pages.get((folder, name), (folder, name))
                moved.setdefault(split, {})[new_name] = value
        manifest[part] = moved
    manifest["splits"] = _split_entries(images, splits, manifest.get("annotations", {}))
    manifest["divided"] = asdict(options)
    return {**manifest, "versions": installed_versions(TOOLKIT, "numpy", *OPENCV, "polars")}


def _own_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest of omr; empty if it is missing, or from another program."""
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        if TOOLKIT in manifest["versions"]:
            return manifest
    return {}


def _split_entries(
    images: Sequence[SplitImage],
    splits: Sequence[str],
    annotations: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """Return the numbers of pages and images of each split, as in the manifest of a conversion."""
    n_images = Counter(splits)
    n_empty = Counter(s for i, s in zip(images, splits, strict=True) if not len(i.labels))
    pages = defaultdict[str, set[PurePosixPath]](set)
    for image, split in zip(images, splits, strict=True):
        pages[split].add(image.page)
    return {
        split: {
            "pages": len(annotations.get(split, pages[split])),
            "images": n_images[split],
            "empty_images": n_empty[split],
        }
        for split in sorted(n_images)
    }
