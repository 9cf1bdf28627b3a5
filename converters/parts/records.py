"""Records of finished parts, in the folder ``.omr-parts`` of an incomplete data set."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from class_maps import OmrError
from converters.conversion_options import ConversionOptions
from converters.files.atomic_files import atomic_file
from converters.files.kept_work import DONE, RECORDS
from converters.files.output_lock import locked_path
from converters.files.packed import pack
from converters.formats.yolo_labels import label_path
from converters.names import IMAGE_FOLDER, LABELS, TILE
from converters.parts.packing import tars_of
from converters.parts.plan import Part
from converters.parts.store import decode, stored_pages
from converters.tally import Tally


@dataclass(frozen=True, kw_only=True, slots=True)
class PartRecord:
    """A finished part."""

    fingerprint: str
    """See :meth:`~converters.parts.plan.Part.fingerprint`."""
    sha256: tuple[str, ...]
    """Hash of each of its annotation files."""
    counts: Tally = field(default_factory=Tally)
    """Symbols that the readers counted and dropped, in all files."""


def record_path(folder: Path, number: int) -> Path:
    """Return the file of a part's record."""
    return folder / RECORDS / f"{number:05d}{DONE}"


def pages_path(folder: Path, number: int) -> Path:
    """Return the file of a part's pages."""
    return folder / RECORDS / f"{number:05d}.pages"


def write_record(folder: Path, part: Part, record: PartRecord) -> None:
    """Record that a part is finished: its images, labels and pages are complete.

    Raises:
        OSError: The record cannot be written.
    """
    with atomic_file(record_path(folder, part.number)) as path:
        path.write_bytes(pack(record))


def read_record(folder: Path, number: int) -> PartRecord:
    """Read the record of a finished part.

    Raises:
        OmrError: It is damaged.
    """
    path = record_path(folder, number)
    record: PartRecord = decode(path.read_bytes(), PartRecord, path)
    return record


def is_finished(folder: Path, part: Part, options: ConversionOptions) -> bool:
    """Check whether a part was made with the same options from the same files.

    Reads its annotation files, because their content is what counts, not their time.
    """
    if not record_path(folder, part.number).is_file():
        return False
    record = read_record(folder, part.number)
    return record.fingerprint == part.fingerprint(options) and record.sha256 == tuple(
        entry.file.sha256() for entry in part.files
    )


def finished_parts(
    folder: Path, parts: Sequence[Part], options: ConversionOptions
) -> frozenset[int]:
    """Return the numbers of the finished parts, and remove the records of the others.

    Raises:
        OmrError: A record is damaged.
    """
    finished = set()
    for part in parts:
        if is_finished(folder, part, options):
            finished.add(part.number)
        else:
            record_path(folder, part.number).unlink(missing_ok=True)
    return frozenset(finished)


def locked_part(folder: Path, number: int) -> AbstractContextManager[None]:
    """Hold the lock of a part while it is made, or raise a ConfigError if another process does."""
    path = record_path(folder, number)
    return locked_path(path, path, option="--shard")


def keep_parts(folder: Path, finished: Sequence[Part], options: ConversionOptions) -> None:
    """Remove everything but the finished parts from an incomplete data set.

    Raises:
        OmrError: An image, tar file or label file of a finished part is missing.
    """
    kept = {IMAGE_FOLDER, LABELS, RECORDS} if finished else set()
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in (folder / RECORDS).glob(f"[0-9]*{DONE}"):  # of a larger data set
        if int(path.stem) not in {part.number for part in finished}:
            path.unlink()
    if options.image_mode == "tar":
        tars = {tar for part in finished for tar in tars_of(folder, part)}
        _keep_only(tars, folder / IMAGE_FOLDER)
        return
    images = set(_images(folder, finished))
    _keep_only(images, folder / IMAGE_FOLDER)
    _keep_only({*map(label_path, images)}, folder / LABELS)


def _keep_only(expected: set[Path], folder: Path) -> None:
    """Remove all files but those expected from a folder, which need not exist."""
    if not folder.is_dir():
        return
    found = set(_files(folder))
    if missing := expected - found:
        raise OmrError(
            f"{min(missing)}: missing, so the conversion cannot be continued; remove "
            f"{folder.parent}"
        )
    for path in found - expected:
        path.unlink()


def _images(folder: Path, parts: Sequence[Part]) -> Iterator[Path]:
    for part in parts:
        for page in stored_pages(pages_path(folder, part.number)):
            for output in page.outputs:
                yield folder / IMAGE_FOLDER / page.split / output.image


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if not path.is_dir())


def remove_unfinished(folder: Path, parts: Sequence[Part]) -> None:
    """Remove the images and labels of parts that were begun but not finished, beside others."""
    if not any(pages_path(folder, part.number).exists() for part in parts):
        return
    pages = {
        PurePosixPath(entry.split_of(image), entry.output_name(image).with_suffix(""))
        for part in parts
        for entry in part.files
        for image in entry.file.images
    }
    for kind in (IMAGE_FOLDER, LABELS):
        for path in _files(folder / kind):
            page = PurePosixPath(path.relative_to(folder / kind)).with_suffix("")
            if page in pages or page.with_name(TILE.sub("", page.name)) in pages:
                path.unlink()
