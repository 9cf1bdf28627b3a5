"""Lists of the images of each split in Pascal VOC: ``ImageSets/Main/train.txt``.

Lists of a class, such as ``dog_train.txt``, are not read. ``trainval.txt`` contains the images of
``train.txt`` and ``val.txt``, and is read only without these two.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from class_maps import InputError
from class_maps.text_files import read_text
from converters.names import count_of

FOLDER = "ImageSets"
_LISTS = ("train", "val", "test")
_BOTH = "trainval"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSets:
    """Split of each image that a list names."""

    folder: Path
    """Folder of the lists."""
    split_of: Mapping[str, str] = field(default_factory=dict)
    """Split by the name of an image without suffix; empty without lists."""

    def remarks(self, names: Collection[str]) -> Iterator[str]:
        """Yield remarks on the images of a data set that no list names, and the reverse.

        Args:
            names: Names of the images without suffix.
        """
        if not self.split_of:
            return
        if unlisted := sorted(set(names) - self.split_of.keys()):
            yield f"in none of the lists in {self.folder}: {count_of(unlisted, 'image')}"
        if missing := sorted(self.split_of.keys() - set(names)):
            yield f"listed in {self.folder} without an XML file: {count_of(missing, 'image')}"


def read_image_sets(root: Path) -> ImageSets:
    """Read the lists in a data set, or next to the folder of its annotations.

    Args:
        root: Folder of the data set, or of its annotations.

    Raises:
        InputError: A list cannot be read, or two lists name the same image.
    """
    bases = (root, root.absolute().parent)
    for folder in (base / FOLDER / part for base in bases for part in ("Main", "")):
        files = {split: folder / f"{split}.txt" for split in _LISTS}
        if not files["train"].is_file() and not files["val"].is_file():
            files["train"] = folder / f"{_BOTH}.txt"
        if any(file.is_file() for file in files.values()):
            return ImageSets(folder=folder, split_of=_splits(files))
    return ImageSets(folder=root)


def _splits(files: Mapping[str, Path]) -> dict[str, str]:
    split_of: dict[str, str] = {}
    for split, file in files.items():
        text = read_text(file, "list of images") if file.is_file() else ""
        names = [line.split()[0] for line in text.splitlines() if line.strip()]
        others = [name for name in names if split_of.setdefault(name, split) != split]
        if others:
            other = files[split_of[others[0]]].name
            raise InputError(
                f"also in {other}: {count_of(sorted(set(others)), 'image')}; remove each from one "
                "of the lists",
                path=file,
            )
    return split_of
