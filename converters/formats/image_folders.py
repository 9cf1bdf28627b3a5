"""Files of a YOLO data set: images in folders and linked folders, and skipped files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from class_maps import InputError
from converters.formats.yolo_labels import label_path
from converters.image_headers import IMAGE_SUFFIXES
from converters.names import count_of, is_hidden

OTHER_IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".dng", ".exr", ".gif", ".heic", ".heif", ".jfif"),
        *(".jp2", ".jpe", ".jpeg2000", ".jxl", ".mpo", ".pbm", ".pdf"),
        *(".pfm", ".pgm", ".pnm", ".ppm", ".psd", ".svg", ".tga"),
    }
)
"""Suffixes of images that are reported because they are not read."""


def files_in(folder: Path, *, hidden: bool = False) -> Iterator[Path]:
    """Yield the files below a folder; links to folders are followed.

    Args:
        folder: Folder to search.
        hidden: Whether to yield only hidden files and files in hidden folders, instead of all
            others.

    Raises:
        InputError: A folder cannot be read, or a file is a pipe or a device, which may be endless.
    """
    for current, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        here = Path(current)
        in_hidden = any(is_hidden(part) for part in here.relative_to(folder).parts)
        folders[:] = [
            name
            for name in folders
            if (hidden or not is_hidden(name)) and not _is_loop(here / name)
        ]
        for name in names:
            if (in_hidden or is_hidden(name)) == hidden:
                _check_regular(here / name)
                yield here / name


def _refuse(error: OSError) -> None:
    raise InputError(f"cannot be read: {error.strerror}", path=Path(error.filename)) from error


def _check_regular(path: Path) -> None:
    if not path.is_file() and path.exists():
        raise InputError("is not a regular file", path=path)


def _is_loop(folder: Path) -> bool:
    """Check whether a link leads back to a folder that contains it."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def skipped_files(folder: Path, images: Sequence[Path], *, is_complete: bool) -> Iterator[str]:
    """Yield remarks on the files of a split that are not read.

    Args:
        folder: Image folder of the split.
        images: Images that are read.
        is_complete: Whether ``images`` contains all images of the folder, so that every label file
            should belong to one of these images.
    """
    hidden = [f for f in files_in(folder, hidden=True) if f.suffix.lower() in IMAGE_SUFFIXES]
    if hidden:
        yield f"skipped in {folder}: {_named(hidden, folder, 'hidden image')}"
    others = [f for f in files_in(folder) if f.suffix.lower() in OTHER_IMAGE_SUFFIXES]
    if others:
        yield f"skipped in {folder}: {_named(others, folder, 'image')} in an unsupported format"
    label_folder = label_path(folder / "x").parent
    beside = [i.with_suffix(".txt") for i in images if i.with_suffix(".txt") != label_path(i)]
    if unread := [file for file in beside if file.is_file() and _contains_labels(file)]:
        names = _named(unread, folder, "label file")
        yield f"skipped in {folder}: {names} beside the images; expected in {label_folder}"
    if is_complete and label_folder.is_dir():
        known = {label_path(image) for image in images}
        texts = [f for f in files_in(label_folder) if f.suffix.lower() == ".txt"]
        orphans = [f for f in texts if f not in known and _contains_labels(f)]
        if orphans:
            names = _named(orphans, label_folder, "label file")
            yield f"skipped in {label_folder}: {names} without an image of this name"


def several_frames(n_frames: Mapping[str, int]) -> list[str]:
    """Warn about images of which only a part is read.

    Args:
        n_frames: Number of pages or frames of each image of a data set, by its name.
    """
    images = [f"{name}: {n}" for name, n in sorted(n_frames.items()) if n > 1]
    if not images:
        return []
    return [f"only the first page or frame is read of {count_of(images, 'image', most=1)}"]


def unlabelled_images(folder: Path, images: Sequence[Path]) -> Iterator[str]:
    """Yield a remark on the images without a label file, which are read as pages without symbols.

    Args:
        folder: Image folder of the split.
        images: Images that are read.
    """
    if unlabelled := [image for image in images if not label_path(image).is_file()]:
        names = _named(unlabelled, folder, "image")
        yield f"read without symbols in {folder}: {names} without a label file"


def _named(files: Sequence[Path], folder: Path, noun: str) -> str:
    return count_of(sorted(file.relative_to(folder).as_posix() for file in files), noun)


def _contains_labels(file: Path) -> bool:
    """Check whether a text file begins with a number, unlike lists of classes and notes."""
    with suppress(OSError, ValueError, IndexError):
        with file.open("rb") as content:
            float(content.read(256).removeprefix(b"\xef\xbb\xbf").split()[0].split(b",")[0])
        return True
    return False
