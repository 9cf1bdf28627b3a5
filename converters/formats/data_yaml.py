"""Reader of ``data.yaml``, the file of a YOLO data set that names its classes and image folders.

The file is read as by Ultralytics: ``path`` may be missing or empty, a folder may begin with
``../`` although it is beside the file, and a split may be a folder, a text file that lists images,
or a list of folders. Names such as ``on``, ``8`` or ``3:4`` are read as text, as written.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from class_maps import InputError, shown, yaml_files
from class_maps.text_files import read_text
from converters.image_headers import IMAGE_SUFFIXES
from converters.names import PARQUET_FOLDER, count_of

DATA_YAML = "data.yaml"
SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "validation", "valid"),
    "test": ("test",),
}
"""Keys of each split; the first one that exists is read."""
MAX_LIST_BYTES, MAX_LISTED = 1 << 27, 2_000_000
"""Size of the largest list of images, and the maximum number of its lines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataYaml:
    """The content of a ``data.yaml``."""

    path: Path
    names: tuple[str, ...]
    """Name of the class with label ``i`` at index ``i``."""
    splits: Mapping[str, tuple[Path, ...]]
    """Folders of each split, and images that its text files list."""
    warnings: tuple[str, ...] = ()
    """Remarks about skipped content."""


def read_data_yaml(path: Path) -> DataYaml:
    """Read a ``data.yaml``.

    Raises:
        InputError: The file is missing or malformed, or the folder of a split is missing.
    """
    if not path.exists():
        raise _missing_file(path)
    data = yaml_files.read_any(path, "data.yaml", as_written="names")
    if not isinstance(data, dict):
        raise InputError("expected a mapping with train, val and names", path=path)
    if "kpt_shape" in data:
        raise InputError("keypoints are not supported; export boxes", path=path, where="kpt_shape")
    splits: dict[str, tuple[Path, ...]] = {}
    warnings, read = [], set()
    for split, keys in SPLITS.items():
        key = next((key for key in keys if data.get(key)), None)
        if key is None:
            continue
        read.add(key)
        try:
            splits[split] = tuple(_images(data[key], _root(data, path), path, key))
        except _MissingError as error:
            if split != "test" or not splits:  # some exports name a test set that does not exist
                raise
            warnings.append(f"{path.name}: {error.where} was skipped: {error.reason}")
    warnings += [
        f"{path.name}: skipped {key}; only one train, one val and one test split are read"
        for key, value in data.items()
        if key not in read and _is_folder(value, _root(data, path))
    ]
    warnings += [*_other_files(splits, path), *_repeated(splits, path)]
    return DataYaml(path=path, names=_names(data, path), splits=splits, warnings=tuple(warnings))


def _missing_file(path: Path) -> InputError:
    reason = "no such file; expected a YOLO folder; convert other formats first with `omr convert`"
    if any((path.parent / PARQUET_FOLDER).glob("images_*")):
        reason = (
            f"no such file, but Parquet tables; convert them with `omr convert {path.parent} OUT "
            "--format yolo --classes FILE`, and use OUT"
        )
    return InputError(reason, path=path)


def _is_folder(value: object, root: Path) -> bool:
    """Check whether a value is or contains a folder in ``root``, like the value of a split."""
    paths = value if isinstance(value, list) else [value]
    named = [path for path in paths if isinstance(path, str) and path.strip("./")]
    existing = [located(path.replace("\\", "/"), root) for path in named]
    return any(path and (path.is_dir() or path.suffix == ".txt") for path in existing)


def _other_files(splits: Mapping[str, Sequence[Path]], path: Path) -> Iterator[str]:
    """Yield a warning for each split that lists files other than images."""
    for split, paths in splits.items():
        others = [p for p in paths if p.suffix.lower() not in IMAGE_SUFFIXES and not p.is_dir()]
        if others:
            names = count_of([other.name for other in others], "listed image")
            yield f"{path.name}: {split}: skipped {names} in an unsupported format"


def _repeated(splits: Mapping[str, Sequence[Path]], path: Path) -> Iterator[str]:
    """Yield a warning for each split with duplicate images or folders."""
    for split, paths in splits.items():
        if repeated := [entry.name for entry, n in Counter(paths).items() if n > 1]:
            names = count_of(repeated, "repeated entry")
            yield (
                f"{path.name}: {split}: {names} read only once; to train on pages more often, make "
                "them a data set of their own and use --sampling-weights"
            )


class _MissingError(InputError):
    """A folder or file of a split that does not exist."""


def _root(data: Mapping[str, Any], path: Path) -> Path:
    """Return the folder that the folders of the splits are relative to."""
    named = data.get("path") or ""
    if not isinstance(named, str):
        raise InputError(f"expected a folder, got {shown(named)}", path=path, where="path")
    beside = path.parent / named
    return Path(named) if not beside.is_dir() and Path(named).is_dir() else beside


def _images(value: object, root: Path, path: Path, key: str) -> list[Path]:
    """Return the folders and images that the value of a split stands for."""
    images: list[Path] = []
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, str):
            raise InputError(
                f"expected a folder, a text file, or a list of them, got {shown(entry)}",
                path=path,
                where=key,
            )
        source = located(entry.replace("\\", "/"), root)
        if source is None:
            remedy = f"correct {key if root.is_dir() else 'path'} in this file"
            if _is_converted(path):
                remedy = "convert without --labels-only"
            reason = f"no such folder: {root / entry}; {remedy}"
            raise _MissingError(reason, path=path, where=key)
        images += listed_images(source, root) if source.is_file() else [source]
    return images


def located(entry: str, root: Path) -> Path | None:
    """Return an existing folder or file in a folder; None if there is none.

    A path that begins with ``../`` may be beside the file that contains it. CVAT's paths begin with
    ``data/``, the folder in which it expects the export to be unpacked.
    """
    known = [root / entry, *(root / entry.removeprefix(start) for start in ("../", "data/"))]
    return next((path for path in known if path.exists()), None)


def _is_converted(path: Path) -> bool:
    return (path.parent / "manifest.json").is_file()


def listed_images(file: Path, root: Path) -> list[Path]:
    """Return the images that a text file lists, one per line.

    Args:
        file: Text file.
        root: Folder that the images are relative to, if they are not relative to the file.

    Raises:
        InputError: The file has another suffix, is not text, is too long, or lists a missing image.
    """
    if file.suffix != ".txt":
        raise InputError("expected a folder, or a .txt file that lists images", path=file)
    text = read_text(file, "list of images", max_bytes=MAX_LIST_BYTES)
    if text.count("\n") > MAX_LISTED:
        reason = f"lists more than {MAX_LISTED:,} images; name their folder instead"
        raise InputError(reason, path=file)
    images: dict[str, Path] = {}
    names = [line.strip().replace("\\", "/") for line in text.splitlines()]
    for i, name in enumerate(names):
        if not name or name in images:
            continue
        known = (file.parent / name, located(name, root), Path(name))
        image = next((path for path in known if path and path.is_file()), None)
        if image is None:
            where = f"line {i + 1}"
            raise InputError(
                f"no such image: {shown(name)}; export the data set together with its images",
                path=file,
                where=where,
            )
        images[name] = image
    return [images[name] for name in names if name]


def _names(data: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    names = data.get("names")
    entries = list(enumerate(names)) if isinstance(names, list) else []
    if isinstance(names, dict):
        entries = [(_label(label), name) for label, name in names.items()]
    by_label = dict(entries)
    is_plain = all(isinstance(name, str) for name in by_label.values())
    if not entries or sorted(by_label) != list(range(len(entries))) or not is_plain:
        raise InputError("expected the names of labels 0, 1, 2, ...", path=path, where="names")
    n = data.get("nc", len(entries))
    if n not in (len(entries), str(len(entries))):
        raise InputError(
            f"nc is {shown(n)}, but there are {len(entries)}", path=path, where="names"
        )
    return tuple(by_label[label] for label in range(len(entries)))


def _label(key: object) -> int:
    """Return a label that may be written as text; -1 for anything else."""
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 9:
        return int(key)
    return key if isinstance(key, int) and not isinstance(key, bool) else -1
