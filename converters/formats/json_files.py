"""JSON annotation files of a source: their root keys, splits and image folders."""

import mmap
import os
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Generic, NamedTuple, TypeVar
from unicodedata import normalize

import msgspec

from class_maps import InputError
from converters.files.atomic_folder import MANIFEST
from converters.formats.data_yaml import DATA_YAML
from converters.image_headers import in_other_case
from converters.image_tars import is_image
from converters.json_text import decode
from converters.names import count_of, is_hidden, percent_decoded

HEAD_BYTES = 4096
"""Number of bytes at the start of a file that are searched for ``annotation_sets`` before all of it
is decoded."""

INSTANCES = "instances_"
"""Start of the names of COCO's annotation files that contain boxes."""
UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""Prefix of a file that was uploaded to Label Studio: ``1a2b3c4d-page.png``."""
N_SEARCHED = 20
"""Number of images looked up to find the image folder."""
SPLIT_OF_WORD = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Split denoted by a word in the name of an annotation file or its folder."""

K = TypeVar("K", bound=Hashable)

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


class AnnotationFile(NamedTuple):
    """An annotation file of a source."""

    path: Path
    split: str
    """Split of the file's pages: train, val or test."""
    warnings: tuple[str, ...]
    """Remarks about assumptions and skipped files."""


def annotation_files(path: Path) -> list[AnnotationFile]:
    """List the annotation files of a source with their splits; the list may be empty.

    Args:
        path: JSON file or folder, see :func:`json_files`.

    Raises:
        InputError: The name of a file contains two splits, or no split although that of another
            file contains one.
    """
    files = json_files(path)
    splits = [split_of(file) for file in files]
    named = [file for file, split in zip(files, splits, strict=True) if split]
    for file, split in zip(files, splits, strict=True):
        if named and not split:
            raise InputError(
                f"no split in its name, but there is one in that of {named[0].name}; rename it "
                "with one of the words train, val and test",
                path=file,
            )
    others = _unread(path, files)
    skipped = [f"{path}: skipped {count_of(others, 'file')}"] if others else []
    return [
        AnnotationFile(
            file, split or "train", (*_split_notes(file, split), *(skipped if not i else ()))
        )
        for i, (file, split) in enumerate(zip(files, splits, strict=True))
    ]


def _unread(path: Path, files: Sequence[Path]) -> list[str]:
    """List the files of a folder and its subfolders that may be data but are not read."""
    if path.is_file():
        return []
    folders = sorted(p for p in path.glob("*") if p.is_dir() and not is_hidden(p.name))
    files_in = [file for folder in (path, *folders) for file in _json_files_in(folder)]
    unread = [file for file in files_in if file not in files]
    unread += [path / DATA_YAML] if (path / DATA_YAML).is_file() else []
    return [file.relative_to(path).as_posix() for file in unread]


def _split_notes(path: Path, split: str | None) -> list[str]:
    """Return a note about the origin of a file's split; none if the name contains the split."""
    if split is None:
        return [f"{path.name}: split train, because its name contains none"]
    if _split_words(path.stem):
        return []
    return [f"{path.name}: split {split}, after the folder {path.absolute().parent.name}"]


def json_files(path: Path) -> list[Path]:
    """List the annotation files of a source; the list may be empty.

    Args:
        path: JSON file, or folder of JSON files. If the folder contains none, its subfolder
            ``annotations`` is searched, as in COCO, or the folders of its splits, as in Roboflow's
            exports. If any file is named like a DeepScoresV2 shard, or failing that
            ``instances_*``, all others are ignored, as are hidden files.

    Returns:
        The files, sorted by name; shard 10 comes after shard 9.
    """
    if path.is_file():
        return [path] if path.suffix.lower() not in {".yaml", ".yml", ".xml", ".parquet"} else []
    files = _json_files_in(path)
    if not files and not (path / DATA_YAML).is_file():
        folders = sorted(p for p in path.glob("*") if p.is_dir())
        of_splits = [p for p in folders if _split_words(p.name, whole=True)]
        files = _json_files_in(path / "annotations")
        files = files or [file for folder in of_splits for file in _json_files_in(folder)]
    for is_chosen in (_is_tar, _is_instances_file):
        if chosen := [file for file in files if is_chosen(file)]:
            return sorted(chosen, key=_natural_order)
    return files


def _json_files_in(folder: Path) -> list[Path]:
    entries = (p for p in folder.glob("*") if p.suffix.lower() == ".json" and p.is_file())
    return sorted(p for p in entries if p.name != MANIFEST and not is_hidden(p.name))


def _is_tar(path: Path) -> bool:
    return path.name.startswith("deepscores") and path.stem.endswith(("_train", "_test", "_val"))


def _is_instances_file(path: Path) -> bool:
    return path.name.startswith(INSTANCES)


def _natural_order(path: Path) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", path.name)]


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
    except (OSError, ValueError) as error:
        raise InputError("is empty or cannot be read; expected JSON", path=path) from error
    root = decode(text, dict[str, msgspec.Raw], path)
    sets, annotations = root.get("annotation_sets", b""), root.get("annotations", b"")
    return _root_keys(root, bytes(sets), bytes(memoryview(annotations)[:1]))


def _root_keys(names: Iterable[str], sets: bytes, annotations: bytes) -> RootKeys:
    return RootKeys(
        names=frozenset(names),
        annotation_sets=b"".join(sets.split()),
        has_annotations_by_id=annotations == b"{",
    )


def split_of(path: Path) -> str | None:
    """Return the split in a file's name, or else in its folder's name; None without a split.

    A folder counts only if its name is nothing but the split: ``valid``, ``val2017``.

    Raises:
        InputError: The name contains two splits.
    """
    splits = _split_words(path.stem)
    if len(splits) > 1:
        raise InputError(
            f"contains two splits in its name: {' and '.join(splits)}; rename it", path=path
        )
    splits = splits or _split_words(path.absolute().parent.name, whole=True)
    return splits[0] if splits else None


def split_of_folder(name: str) -> str | None:
    """Return the split that a folder's name denotes; None if the name is not only a split."""
    return next(iter(_split_words(name, whole=True)), None)


def _split_words(name: str, *, whole: bool = False) -> list[str]:
    """List the splits denoted by the words of a name, without repetition.

    Args:
        name: Name of a file without suffix, or of a folder.
        whole: Whether the whole name must be this one word plus optional digits.
    """
    if whole and not re.fullmatch(r"[A-Za-z]+[0-9]*", name):
        return []
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    if whole and len(parts) > 1:
        return []
    splits = (SPLIT_OF_WORD.get(word.lower().removesuffix("set")) for word in parts)
    return list(dict.fromkeys(split for split in splits if split))


class LocatedImages(NamedTuple, Generic[K]):
    """The images of an annotation file, as found on the disk."""

    folder: Path
    images: dict[K, tuple[PurePosixPath, int, int]]
    """Image name, width and height by id, with names as on the disk, where accents may be encoded
    differently."""
    warnings: list[str]
    """Warning if several folders contain images of the same names; otherwise empty."""


def referenced_images(names: Sequence[str], path: Path) -> tuple[Path, list[str]] | None:
    """Find the images of an annotation file that ``omr convert --images reference`` wrote.

    It names them by paths outside its own folder, which are refused in other files: a data set of
    somebody else must not choose which files of this machine are read.

    Args:
        names: Names of the images, absolute or relative to the file.
        path: Annotation file.

    Returns:
        Folder that contains all images, and their names in it. None if another program wrote the
        file, a name is relative to an image folder, or the path of a missing file.
    """
    if not names or not all(name.startswith(("/", "../")) for name in names):
        return None
    if not _refers_to_images(path.parent.parent / MANIFEST):
        return None
    files = [os.path.normpath(path.absolute().parent / name) for name in names]
    if not all(map(os.path.isfile, files)):
        return None
    folder = os.path.commonpath([Path(file).parent for file in files])
    return Path(folder), [os.path.relpath(file, folder) for file in files]


class _Options(msgspec.Struct):
    images: str = "copy"


class _Manifest(msgspec.Struct):
    options: _Options = msgspec.field(default_factory=_Options)


def _refers_to_images(manifest: Path) -> bool:
    """Check whether a manifest is that of a data set whose images are elsewhere."""
    try:
        content = msgspec.json.decode(manifest.read_bytes(), type=_Manifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return content.options.images == "reference"


def find_images(
    path: Path,
    images: Mapping[K, tuple[PurePosixPath, int, int]],
    chosen: Path | None = None,
    folders: Sequence[Path] = (),
) -> LocatedImages[K]:
    """Find the image folder of an annotation file, and its images in that folder.

    The folder is the one that contains most of the first images; among several such folders, one
    named after the split or subset of the file comes first.

    Args:
        path: Annotation file.
        images: Image name, width and height by id.
        chosen: Folder that the user named; None to search the layouts of DeepScoresV2, COCO, CVAT,
            Datumaro, FiftyOne, Label Studio, Roboflow and ``omr convert``.
        folders: Folders to search instead, the most likely one first.
    """
    first = [name for name, _, _ in islice(images.values(), N_SEARCHED)]
    matches = {
        candidate: [candidate / name for name in map(partial(on_disk, candidate), first) if name]
        for candidate in folders or _candidates(path, chosen)
    }
    folder = max(matches, key=lambda candidate: len(matches[candidate]))
    if not matches[folder]:
        similar = (c for c in matches if any(in_other_case(c / name) for name in first))
        folder = next(similar, folders[0] if folders else chosen or path.parent / "images")
    names = {name for name, _, _ in images.values()}
    located = {}
    for image_id, (name, width, height) in images.items():
        is_plain = str(name).isascii() and "%" not in str(name) and not UPLOADED.match(name.name)
        actual = name if is_plain else on_disk(folder, name) or name
        if actual != name and actual in names:
            actual = name  # an image of its own
        names.add(actual)
        located[image_id] = actual, width, height
    return LocatedImages(folder, located, _ambiguities(path, folder, matches))


def _ambiguities(path: Path, folder: Path, matches: Mapping[Path, Sequence[Path]]) -> list[str]:
    """Return a warning if another folder contains as many of the images as the chosen one."""
    files = {file.resolve() for file in matches[folder]} if folder in matches else set()
    others = [
        other
        for other, paths in matches.items()
        if len(paths) == len(files) > 0 and files.isdisjoint(path.resolve() for path in paths)
    ]
    if not others:
        return []
    return [
        f"{path.name}: {folder} and {others[0]} contain images of the same names; read the first "
        "folder, use --image-folder for the other one"
    ]


def _candidates(path: Path, chosen: Path | None) -> list[Path]:
    """List the folders that may contain the images of a file, the most specific one first."""
    folder, above = path.parent, path.parent.parent
    subsets = dict.fromkeys([*_subsets(path), split_of(path) or "train"])
    if chosen:
        return [
            *(chosen / subset for subset in subsets),
            chosen,
            chosen / "images",
            chosen / "data",
        ]
    here = [folder / "images", folder]
    parents = (above / "images", above, folder / "images", folder)
    of_subsets = [parent / subset for subset in subsets for parent in parents]
    if _split_words(folder.name, whole=True):
        of_subsets = [*here, *of_subsets]
    return [*of_subsets, *here, folder / "data", above / "images", above / "data", above]


def _subsets(path: Path) -> list[str]:
    """Return possible names of the folder with a file's images, the most specific name first."""
    stem = path.stem
    return [stem.removeprefix(INSTANCES), stem, stem.rpartition("_")[2]]


def on_disk(folder: Path, name: PurePosixPath) -> PurePosixPath | None:
    """Return the name of an existing file as on the disk, where accents may be encoded differently.

    If no file has the name itself, percent-encoded names are decoded, and the prefix that Label
    Studio adds to uploaded files is removed. None if no such file exists either.
    """
    decoded = percent_decoded(name)
    original = name.with_name(UPLOADED.sub("", name.name))
    names = dict.fromkeys([str(name), str(decoded), str(original)])
    forms = [form for n in names for form in (n, normalize("NFC", n), normalize("NFD", n))]
    for actual in dict.fromkeys(forms):
        with suppress(OSError):
            if is_image(folder / actual):
                return PurePosixPath(actual)
    return None
