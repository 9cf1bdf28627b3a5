"""Reader of YOLO folders without a ``data.yaml``, as labelling tools export them.

Darknet's layout, CVAT's YOLO 1.1: ``obj.data`` names the file with the class names and, per split,
a text file that lists the images, with paths that begin with ``data/``. Label files are next to the
images. Label Studio's layout: ``classes.txt``, ``images`` and ``labels``.
"""

from pathlib import Path

from class_maps import InputError, shown
from class_maps.text_files import read_text
from class_maps.yaml_files import MAX_BYTES
from converters.formats.data_yaml import SPLITS, DataYaml, listed_images, located
from converters.names import IMAGE_FOLDER, LABELS

OBJ_DATA = "obj.data"
CLASSES = "classes.txt"
"""File with one class name per line, which labelling tools write beside a YOLO folder's labels."""


def export_file(folder: Path) -> Path | None:
    """Return the file that names the classes of an exported folder; None if there is none."""
    if (folder / OBJ_DATA).is_file():
        return folder / OBJ_DATA
    has_classes = (folder / CLASSES).is_file() and (folder / LABELS).is_dir()
    return folder / CLASSES if has_classes else None


def read_export(path: Path) -> DataYaml:
    """Read the class names and the splits of an exported folder.

    Args:
        path: ``obj.data`` or ``classes.txt``.

    Raises:
        InputError: The file is malformed, or images are missing.
    """
    if path.name == OBJ_DATA:
        return _darknet(path)
    images = path.parent / IMAGE_FOLDER
    if not images.is_dir():
        reason = (
            f"no folder {IMAGE_FOLDER} next to it; export the data set together with its images"
        )
        raise InputError(reason, path=path)
    return DataYaml(path=path, names=_names(path), splits={"train": (images,)})


def _darknet(path: Path) -> DataYaml:
    root = path.parent
    entries: dict[str, str] = {}
    for i, line in enumerate(read_text(path, OBJ_DATA, max_bytes=MAX_BYTES).splitlines()):
        key, equals, value = line.partition("=")
        if line.strip() and not equals:
            reason = f"expected key = value, got: {shown(line)}"
            raise InputError(reason, path=path, where=f"line {i + 1}")
        entries[key.strip().lower()] = value.strip()
    names = _names(
        _entry(entries["names"], root, path) if "names" in entries else root / "obj.names"
    )
    splits = {
        split: tuple(listed_images(_entry(entries[key], root, path, key), root))
        for split, keys in SPLITS.items()
        for key in [key for key in keys if entries.get(key)][:1]
    }
    if not any(splits.values()):
        raise InputError("names no images; expected train = data/train.txt", path=path)
    return DataYaml(path=path, names=names, splits={s: i for s, i in splits.items() if i})


def _entry(name: str, root: Path, path: Path, key: str = "names") -> Path:
    file = located(name.replace("\\", "/"), root)
    if file is None:
        raise InputError(f"no such file: {shown(name)}", path=path, where=key)
    return file


def _names(path: Path) -> tuple[str, ...]:
    """Read the class names, one per line, in the order of the labels."""
    text = read_text(path, "list of classes", max_bytes=MAX_BYTES)
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines or not all(lines):
        where = f"line {lines.index('') + 1}" if lines else ""
        raise InputError("missing class name", path=path, where=where)
    return tuple(lines)
