"""JSON annotation files of a source: their root keys, splits and image folders."""

import mmap
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import msgspec

from class_maps import InputError
from converters.files.atomic_folder import MANIFEST

HEAD_BYTES = 4096
"""Number of bytes at the start of a file that are searched for ``annotation_sets`` before all of it
is decoded."""

_SETS_AT_HEAD = re.compile(rb'"annotation_sets"\s*:\s*(\[[^\]]*\])')


@dataclass(frozen=True, kw_only=True, slots=True)
class RootKeys:
    """The keys at the root of a JSON file, as far as they identify its format."""

    names: frozenset[str]
    """All keys, or only ``annotation_sets`` if the head of the file contains it."""
    annotation_sets: bytes
    """Undecoded value of ``annotation_sets``, without whitespace; empty if the key is missing."""
    has_annotations_by_id: bool
    """Whether ``annotations`` is an object rather than a list."""


def json_files(path: Path) -> list[Path]:
    """List the annotation files of a source; the list may be empty.

    Args:
        path: JSON file, or folder of JSON files. If the folder contains files with names like those
            of DeepScoresV2, all other files are ignored.

    Returns:
        The files, sorted by name; shard 10 comes after shard 9.
    """
    if path.is_file():
        return [path] if path.suffix not in {".yaml", ".yml"} else []
    files = sorted(p for p in path.glob("*.json") if p.name != MANIFEST)
    shards = [
        p
        for p in files
        if p.name.startswith("deepscores") and p.stem.endswith(("_train", "_test", "_val"))
    ]
    return sorted(shards, key=_natural_order) or files


def _natural_order(path: Path) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def root_keys(path: Path) -> RootKeys:
    """Read the keys at the root of a JSON file, once for all formats that are tried.

    Raises:
        InputError: The file cannot be read or is not a JSON object.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    return _read_root_keys(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _read_root_keys(path: Path, _modified_ns: int, _size: int) -> RootKeys:
    try:
        with path.open("rb") as file:
            if match := _SETS_AT_HEAD.search(file.read(HEAD_BYTES)):
                return _root_keys(["annotation_sets"], match[1], b"")
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            root = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise InputError(
            "expected a JSON object with images and annotations at the root", path=path
        ) from error
    except msgspec.DecodeError as error:
        raise InputError(f"not valid JSON, truncated or damaged: {error}", path=path) from error
    except (OSError, ValueError) as error:
        raise InputError("is empty or cannot be read; expected JSON", path=path) from error
    sets, annotations = root.get("annotation_sets", b""), root.get("annotations", b"")
    return _root_keys(root, bytes(sets), bytes(memoryview(annotations)[:1]))


def _root_keys(names: Iterable[str], sets: bytes, annotations: bytes) -> RootKeys:
    return RootKeys(
        names=frozenset(names),
        annotation_sets=b"".join(sets.split()),
        has_annotations_by_id=annotations == b"{",
    )


def split_of(path: Path) -> str:
    """Return the split in a file's name, such as ``deepscores-complete-7_test``; default: train."""
    parts = re.split(r"[^a-z]+", path.stem.lower())
    return next((split for split in ("test", "val") if split in parts), "train")


def image_folder(path: Path, images: Iterable[PurePosixPath]) -> Path:
    """Find the image folder of an annotation file.

    Args:
        path: Annotation file.
        images: Its images; the folder that contains the first one is chosen.

    Returns:
        The folder of the layouts of DeepScoresV2, COCO or ``omr convert`` that contains the image;
        that of DeepScoresV2 if none does.
    """
    folder, first = path.parent, next(iter(images), PurePosixPath())
    candidates = [folder / "images", folder, folder.parent / "images" / split_of(path)]
    candidates.append(folder.parent / path.stem.removeprefix("instances_"))
    return next((c for c in candidates if (c / first).is_file()), candidates[0])
