"""Images of annotation files that name them without suffix, or only by their own name."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from class_maps import InputError, listed
from converters.formats.json_files import on_disk, split_of_folder
from converters.image_headers import IMAGE_SUFFIXES, NAME_FOLDER
from converters.names import IMAGE_FOLDER, count_of, is_hidden

_FOLDERS = (IMAGE_FOLDER, "Images", "JPEGImages", "images_png")
"""Names of image folders next to those of annotations, as in DoReMi, Pascal VOC and DeepScores."""
_SUFFIXES = sorted(IMAGE_SUFFIXES, key=lambda suffix: (suffix != ".png", suffix))
_N_ABOVE = 2
"""Number of folders above the source in which image folders are searched."""


def split_in(file: Path, root: Path) -> str:
    """Return the split of an annotation file: that of the first folder named after one, or train.

    Args:
        file: Annotation file.
        root: Folder of the data set; its own name is the last to be tried.
    """
    folders = [*file.parent.relative_to(root).parts, root.absolute().name]
    return next(filter(None, map(split_of_folder, folders)), "train")


def image_folders(file: Path, root: Path, chosen: Path | None = None) -> list[Path]:
    """List the folders that may contain the images of an annotation file, the most likely first.

    Args:
        file: Annotation file.
        root: Folder of the data set, which contains the file.
        chosen: Folder that the user named; None to search next to the file and above it.
    """
    parts = file.parent.relative_to(root).parts
    splits = [part for part in (*parts, root.absolute().name) if split_of_folder(part)]
    inside = [root.joinpath(*parts[:i]) for i in range(len(parts), -1, -1)]
    bases = [chosen] if chosen else [*inside, *root.absolute().parents[:_N_ABOVE]]
    of_splits = [base / folder / split for base in bases for folder in _FOLDERS for split in splits]
    of_splits += [base / split for base in bases if chosen for split in splits]
    plain = [folder for base in bases for folder in (base, *(base / name for name in _FOLDERS))]
    return list(dict.fromkeys((*of_splits, *plain)))


def find_named(
    name: PurePosixPath, folders: Iterable[Path], file: Path, where: str = ""
) -> tuple[Path, PurePosixPath]:
    """Find the image with a name, to which any image suffix is added.

    Args:
        name: Name of the image without suffix, possibly in subfolders.
        folders: Folders to search, the most likely one first.
        file: Annotation file, for error messages.
        where: Location of the name in that file.

    Returns:
        Folder, and the name of the image in it.

    Raises:
        InputError: No folder contains such an image, or one contains several.
    """
    searched = list(folders)
    for folder in searched:
        forms = (name.with_name(name.name + suffix) for suffix in _suffixes())
        if matches := [actual for form in forms if (actual := on_disk(folder, form))]:
            if len(matches) > 1:
                names = listed(match.name for match in matches)
                reason = f"several images in {folder}: {names}; keep one of them"
                raise InputError(reason, path=file, where=where)
            return folder, matches[0]
    raise missing_image(f"{name}.png or with another image suffix", searched, file, where)


def missing_image(name: str, searched: Sequence[Path], file: Path, where: str) -> InputError:
    """Describe an image that is in none of some folders."""
    first = ", ".join(str(folder) for folder in searched[:2])
    more = f" and {len(searched) - 2} more folders" if len(searched) > 2 else ""
    remedy = NAME_FOLDER.partition(",")[0]
    return InputError(f"no image {name} in {first}{more}; {remedy}", path=file, where=where)


def _suffixes() -> Iterable[str]:
    for suffix in _SUFFIXES:
        yield from (suffix, suffix.upper())


def skipped(files: Sequence[Path], folder: Path, noun: str, reason: str) -> list[str]:
    """Return a remark on files in a folder that are not read; empty without such files."""
    if not files:
        return []
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    return [f"skipped in {folder}: {count_of(names, noun)} {reason}"]


def images_without(document: str, read: Iterable[Path], folders: Iterable[Path]) -> Iterator[str]:
    """Yield a remark on the images in each folder that no annotation file names.

    Args:
        document: Document that they lack: ``MuNG document``.
        read: Images that are named.
        folders: Image folders, whose subfolders are not searched.
    """
    known = set(read)
    for folder in dict.fromkeys(folders):
        files = (file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        unread = [file for file in files if file not in known and not is_hidden(file.name)]
        yield from skipped(unread, folder, "image", f"without a {document}")
