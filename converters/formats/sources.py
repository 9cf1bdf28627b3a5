"""Finds out what a source is, by looking at it: its format, its files, its images."""

import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import msgspec

from class_maps import ClassMap, ConfigError, InputError, Source, catalogue, with_nearest
from class_maps.catalogues import ENGRAVED
from converters.files.atomic_folder import MANIFEST
from converters.formats import deepscoresv2
from converters.formats.coco import CocoFile
from converters.formats.deepscoresv2 import DeepScoresFile

READERS: dict[str, type[DeepScoresFile] | type[CocoFile]] = {
    "deepscoresv2": DeepScoresFile,
    ENGRAVED: DeepScoresFile,
    "coco": CocoFile,
}
HEAD_BYTES = 4096
"""A key that stands at the head of a file need not be looked for in all of it."""

_SETS_AT_HEAD = re.compile(rb'"annotation_sets"\s*:\s*(\[[^\]]*\])')


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceFile:
    """One opened file of annotations and the images that it speaks of."""

    file: DeepScoresFile | CocoFile
    split: str
    """train, val or test, as the file's name says."""
    image_folder: Path


def open_source(path: Path, source: str | None = None) -> tuple[str, list[SourceFile]]:
    """Open a folder or a single file.

    Args:
        path: A DeepScoresV2 folder (dense or shards) or an engraved one, one of its files, or a
            COCO file.
        source: The format, one of :data:`READERS`, instead of looking.

    Returns:
        The format, and the opened files in the order of their names.

    Raises:
        ConfigError: There is no such format.
        InputError: There is nothing here, nothing of a known format, or no page in it.
    """
    if source is not None and source not in READERS:
        known = ", ".join(READERS)
        raise ConfigError(f"no source is called {with_nearest([source], READERS)}; it is {known}")
    paths = _json_files(path)
    found = source or format_of(paths[0])
    files = [READERS[found](p) for p in paths]
    if not any(file.images for file in files):
        raise InputError("no images: an empty set", path=path)
    opened = [
        SourceFile(file=file, split=_split(file.path), image_folder=_image_folder(file))
        for file in files
    ]
    return found, opened


def identity_map(
    found: str, files: Sequence[SourceFile], annotation_set: str | None = None
) -> ClassMap:
    """Take every category as a class of its own name, to look at all that there is.

    Args:
        found: The format, as :func:`open_source` tells it.
        files: That were opened.
        annotation_set: Instead of the data set's first.
    """
    sets = catalogue(found).annotation_sets
    source = Source(
        name=found, annotation_set=annotation_set or next(iter(sets), None), class_of={}
    )
    names = tuple(dict.fromkeys(name for f in files for name in _categories(f.file, source)))
    source = replace(source, class_of={name: name for name in names})
    path = files[0].file.path
    return ClassMap(name="own names", names=names, sources={found: source}, path=path)


class _CocoCategory(msgspec.Struct):
    id: int
    name: str


class _CocoVocabulary(msgspec.Struct):
    categories: list[_CocoCategory]


def _categories(file: DeepScoresFile | CocoFile, source: Source) -> tuple[str, ...]:
    """Names of a file's categories, by their ids."""
    if isinstance(file, DeepScoresFile):
        return file.categories(source)
    table = msgspec.json.decode(file.path.read_bytes(), type=_CocoVocabulary)
    return tuple(c.name for c in sorted(table.categories, key=lambda c: c.id))


def format_of(path: Path) -> str:
    """Tell the format of a JSON file by its keys.

    Raises:
        InputError: It is not JSON, or none that is known.
    """
    try:
        with path.open("rb") as file:
            if sets := _SETS_AT_HEAD.search(file.read(HEAD_BYTES)):
                return _name_of_form(sets[1])
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            root = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (OSError, ValueError) as error:  # a damaged file is told apart by its reader
        if isinstance(error, msgspec.ValidationError):
            raise InputError(
                "expected a JSON object with images and annotations at the root", path=path
            ) from error
        if isinstance(error, msgspec.DecodeError):
            raise InputError(f"not valid JSON, cut short or damaged: {error}", path=path) from error
        raise InputError("is empty or cannot be read; expected JSON", path=path) from error
    if "annotation_sets" in root or bytes(root.get("annotations", b""))[:1] == b"{":
        return _name_of_form(bytes(root.get("annotation_sets", b"")))
    if {"images", "annotations", "categories"} <= set(root):
        return "coco"
    raise InputError(
        f"neither DeepScoresV2 nor COCO: it has {', '.join(sorted(root)[:5]) or 'no keys'}; "
        "expected annotation_sets, images, categories, annotations",
        path=path,
    )


def _name_of_form(annotation_sets: bytes) -> str:
    """Engraved pages have DeepScoresV2's form, and one annotation set, of their own."""
    own = b"".join(annotation_sets.split()) == f'["{ENGRAVED}"]'.encode()
    return ENGRAVED if own else "deepscoresv2"


def _json_files(path: Path) -> list[Path]:
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError("no such file or folder", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    if path.is_file():
        return [path]
    others = sorted(p for p in path.glob("*.json") if p.name != MANIFEST)
    paths = deepscoresv2.shards(path) or others
    if not paths:
        raise InputError(
            "no annotations: expected deepscores_train.json or another .json in this folder",
            path=path,
        )
    return paths


def _split(path: Path) -> str:
    """``deepscores-complete-7_train.json`` is of train, as is what does not say."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    return next((split for split in ("test", "val") if split in words), "train")


def _image_folder(file: DeepScoresFile | CocoFile) -> Path:
    """Where the first image lies: the layouts of DeepScoresV2, of COCO, and of our own output."""
    folder = file.path.parent
    first = next(iter(file.images), PurePosixPath())
    split = _split(file.path)
    places = [folder / "images", folder, folder.parent / "images" / split]
    places.append(folder.parent / file.path.stem.removeprefix("instances_"))
    return next((place for place in places if (place / first).is_file()), places[0])
