"""Splits in the lists of Pascal VOC: ``ImageSets/Main/train.txt`` contains a name per line."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from class_maps import InputError
from class_maps.text_files import read_text
from converters.formats.data_yaml import MAX_LIST_BYTES
from converters.formats.json_files import split_of_folder
from converters.names import count_of

LISTS = Path("ImageSets", "Main")
_ANNOTATIONS = "Annotations"
_TRAINVAL = "trainval"
"""Name of a list that repeats those of train and val, if they exist."""
_N_ABOVE = 2
"""Number of folders above the source in which lists are searched."""


class ListedSplits:
    """Splits of the annotation files of a data set.

    Args:
        files: Annotation files.
        root: Folder of the data set, which contains them.

    Raises:
        InputError: A list cannot be read, or lists of two splits contain the same name.
    """

    def __init__(self, files: Sequence[Path], root: Path) -> None:
        self.of_file: dict[Path, str] = {}
        """Split of each file that is in a list."""
        self._unlisted: dict[Path, list[str]] = {}
        lists: dict[Path, Mapping[str, str]] = {}
        for file in files:
            folder = _data_set(file, root)
            if folder is None:
                continue
            if folder not in lists:
                lists[folder] = _splits(folder / LISTS)
            name = file.absolute().relative_to(folder).with_suffix("").as_posix()
            split = lists[folder].get(name.removeprefix(f"{_ANNOTATIONS}/"))
            if split:
                self.of_file[file] = split
            elif lists[folder]:
                self._unlisted.setdefault(folder / LISTS, []).append(file.name)

    def remarks(self) -> Iterator[str]:
        """Yield a remark on the files that are in no list."""
        for folder, names in self._unlisted.items():
            listed = count_of(names, "XML file")
            yield f"not in the lists of {folder}, and split by folder, otherwise train: {listed}"


def _data_set(file: Path, root: Path) -> Path | None:
    """Return the folder that contains the lists and a file; None without lists."""
    last = [root.absolute(), *root.absolute().parents][: _N_ABOVE + 1][-1]
    for folder in file.absolute().parents:
        if (folder / LISTS).is_dir():
            return folder
        if folder == last:
            break
    return None


def _splits(folder: Path) -> Mapping[str, str]:
    """Return the split of each name in the lists that are called after a split."""
    splits: dict[str, str] = {}
    for path in sorted(folder.glob("*.txt")):
        split = split_of_folder(path.stem)
        for name in _names(path) if split else ():
            if splits.setdefault(name, split or "") != split:
                reason = f"{name} is also in the list of {splits[name]}; keep it in one of them"
                raise InputError(reason, path=path)
    trainval = folder / f"{_TRAINVAL}.txt"
    for name in _names(trainval) if trainval.is_file() else ():
        splits.setdefault(name, "train")
    return splits


def _names(path: Path) -> list[str]:
    """Read the names in a list; blank lines are ignored."""
    text = read_text(path, "list of images", max_bytes=MAX_LIST_BYTES)
    lines = (line.strip().strip('"') for line in text.splitlines())
    return [line for line in lines if line]
