"""Making of parts: reading, preparing and storing their pages, in one process or in many."""

import pickle
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from converters.conversion_options import ConversionOptions
from converters.files.process_pool import in_order
from converters.formats import AnnotationSource
from converters.names import IMAGE_FOLDER, LABELS
from converters.parts.cluster import on_cluster
from converters.parts.packing import PageTars
from converters.parts.plan import Part, PartFile
from converters.parts.records import (
    PartRecord,
    pages_path,
    read_record,
    remove_unfinished,
    write_record,
)
from converters.parts.store import stored, stored_pages
from converters.prepare.preparation import Job, PreparedPage, prepare
from converters.tally import Tally

PARTS_PER_WORKER = 2
"""Parts per worker process from which each process makes whole parts, and not single pages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """Where the work is done; does not change the bytes written."""

    workers: int = 1
    """Number of processes on this machine."""
    scheduler: str = ""
    """Address of a Dask scheduler, whose workers do the work; empty for this machine."""


@dataclass(kw_only=True, slots=True)
class PartsMade:
    """Counts and hashes of the parts that have been made so far."""

    counts: Tally
    """Receives what the readers count and drop."""
    sha256: dict[AnnotationSource, str] = field(default_factory=dict)
    """Hash of each annotation file that is in a single part."""

    def add(self, part: Part, record: PartRecord) -> None:
        """Add a finished part."""
        self.counts.update(record.counts)
        files = (entry.file for entry in part.files)
        self.sha256.update(zip(files, record.sha256, strict=True))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Task:
    """A part to make in a worker process."""

    part: bytes
    """The part, pickled: its files are opened again when it is unpickled."""
    folder: Path
    options: ConversionOptions

    @classmethod
    def of(cls, part: Part, folder: Path, options: ConversionOptions) -> "_Task":
        """Create the task of making a part."""
        content = pickle.dumps(part)
        return cls(part=content, folder=folder.absolute(), options=options)


def make_split_folders(folder: Path, splits: Sequence[str], options: ConversionOptions) -> None:
    """Create the output folders of splits; those of an incomplete data set may exist already."""
    for split in splits:
        for out in filter(None, _split_folders(folder, split, options)):
            out.mkdir(parents=True, exist_ok=True)


def _split_folders(
    folder: Path, split: str, options: ConversionOptions
) -> tuple[Path | None, Path | None]:
    """Return the output folders of a split's images and label files; None if not needed."""
    root = folder.absolute()  # a worker may have a different working directory
    has_images = not options.labels_only and options.image_mode != "reference"
    image_out = root / IMAGE_FOLDER / split if has_images else None
    return image_out, root / LABELS / split if "yolo" in options.formats else None


def made_pages(
    parts: Sequence[Part],
    folder: Path,
    options: ConversionOptions,
    execution: Execution,
    made: PartsMade,
    *,
    finished: frozenset[int] = frozenset(),
    is_kept: bool = True,
) -> Generator[PreparedPage, None, None]:
    """Yield the pages of all parts, in order.

    Args:
        parts: All parts.
        folder: Folder of the incomplete data set.
        options: Options of the conversion.
        execution: Where parts are made.
        made: Receives what the parts contained.
        finished: Numbers of the parts that were made before.
        is_kept: Whether finished parts are recorded, so that they need not be made again.

    Raises:
        OmrError: A page cannot be read or written.
    """
    missing = [part for part in parts if part.number not in finished]
    by_parts = execution.scheduler or (
        execution.workers > 1 and len(missing) >= PARTS_PER_WORKER * execution.workers
    )
    if not by_parts:
        for part in parts:
            if part.number in finished:
                yield from _stored(part, folder, made)
            else:
                yield from make_part(
                    part, folder, options, made, workers=execution.workers, is_kept=is_kept
                )
        return
    tasks = (_Task.of(part, folder, options) for part in missing)
    numbers = (
        on_cluster(_make, tasks, execution.scheduler)
        if execution.scheduler
        else in_order(_make, tasks, execution.workers)
    )
    with closing(numbers):
        for part in parts:
            if part.number not in finished:
                next(numbers)
            yield from _stored(part, folder, made)


def _stored(part: Part, folder: Path, made: PartsMade) -> Generator[PreparedPage, None, None]:
    yield from stored_pages(pages_path(folder, part.number))
    made.add(part, read_record(folder, part.number))


def _make(task: _Task) -> int:
    """Make a part in a worker process; return its number.

    A cluster repeats the task of a worker that has died, and left some of its files.
    """
    part: Part = pickle.loads(task.part)
    remove_unfinished(task.folder, [part])
    for _ in make_part(part, task.folder, task.options, PartsMade(counts=Tally())):
        pass
    return part.number


def make_part(
    part: Part,
    folder: Path,
    options: ConversionOptions,
    made: PartsMade,
    *,
    workers: int = 1,
    is_kept: bool = True,
) -> Generator[PreparedPage, None, None]:
    """Make a part: yield its pages once their images and labels are written.

    Args:
        part: Part to make.
        folder: Folder of the incomplete data set, in which the folders of the splits exist.
        options: Options of the conversion.
        made: Receives what the part contained, after its last page.
        workers: Number of processes that prepare its pages.
        is_kept: Whether to store its pages and record that it is finished.
    """
    counts = Tally()
    fingerprint = part.fingerprint(options) if is_kept else ""  # before anything is read
    jobs = jobs_of(part, folder, options, counts, workers)
    tars = PageTars()
    with closing(in_order(prepare, jobs, workers)) as prepared:
        pages = stored(prepared, pages_path(folder, part.number)) if is_kept else prepared
        yield from tars.noted(pages)
    if options.image_mode == "tar":
        tars.join(folder, part)
    record = PartRecord(
        fingerprint=fingerprint,
        sha256=tuple(entry.file.sha256() for entry in part.files),
        counts=counts,
    )
    if is_kept:
        write_record(folder, part, record)
    made.add(part, record)


def jobs_of(
    part: Part, folder: Path, options: ConversionOptions, counts: Tally, workers: int = 1
) -> Iterator[Job]:
    """Read the pages of a part.

    Args:
        part: Part to read.
        folder: Folder of the incomplete data set.
        options: Options of the conversion.
        counts: Receives the symbols that the readers count and drop.
        workers: Number of processes, for formats that are decoded in parallel.

    Raises:
        InputError: The annotations are malformed or inconsistent.
    """
    for entry in part.files:
        yield from _jobs_of_file(entry, folder, options, counts, workers)


def _jobs_of_file(
    entry: PartFile, folder: Path, options: ConversionOptions, counts: Tally, workers: int
) -> Iterator[Job]:
    labels, clip = options.class_map.labels, options.preparation.cleaning.clip
    file, folders = entry.file, dict[str, tuple[Path | None, Path | None]]()
    for page in file.pages(entry.mapping, labels, counts, clip=clip, workers=workers):
        split = entry.split_of(page.image)
        if split not in folders:
            folders[split] = _split_folders(folder, split, options)
        image_out, label_out = folders[split]
        name, work = entry.output_name(page.image), file.works.get(page.image, "")
        yield Job(
            page=replace(page, image=name, work=work),
            image=page.image,
            split=split,
            source=entry.source,
            image_folder=None if options.labels_only else file.image_folder.absolute(),
            image_out=image_out,
            image_mode=options.image_mode,
            label_out=label_out,
            return_symbols=set(options.formats) != {"yolo"},
            names=options.class_map.names,
            options=options.preparation,
            candidates=options.candidates,
        )
