"""Conversion of data sets: every symbol that is read is either written or counted as dropped."""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from class_maps import OmrError, short_list
from converters.conversion_checks import (
    check_images,
)
from converters.conversion_options import ConversionOptions
from converters.conversion_output import OpenedData, SheetWriter, write_manifest, write_pages
from converters.files.atomic_folder import atomic_folder, parts_folder, take_kept
from converters.files.kept_work import RECORDS, make_records_folder, said_if_kept
from converters.files.overwriting import check_inputs
from converters.files.process_pool import warm_up
from converters.formats import AnnotationSource
from converters.formats.annotation_spans import shared_spans
from converters.formats.losses import Losses
from converters.image_headers import CORRECT_FOLDER, NAME_FOLDER
from converters.manifest import (
    ManifestBuilder,
)
from converters.opened_sources import open_all
from converters.parts.estimate import estimate
from converters.parts.making import (
    Execution,
    PartsMade,
    made_pages,
    make_split_folders,
)
from converters.parts.packing import write_indexes
from converters.parts.plan import Part, plan_parts
from converters.parts.records import (
    finished_parts,
    keep_parts,
    locked_part,
    remove_unfinished,
)
from converters.prepare.preparation import PreparedPage
from converters.split_assignment import assign_splits
from converters.tally import Tally
from converters.tracking import Say, Track, unsaid, untracked

SPANS = "spans.json"
"""Index of the annotation files in the folder of records, which the jobs of a conversion share."""
MOST_PARTS = 5
"""Maximum number of missing parts in a message."""

__all__ = ["ConversionOptions", "MadeShard", "SheetWriter", "convert", "convert_shard"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """The data sets to convert."""

    paths: tuple[Path, ...]
    """Folders or files of annotations. The images of each of several data sets are in a folder of
    their own, see :mod:`converters.opened_sources`."""
    format_name: str | None = None
    """Format of all of them, one of :data:`converters.formats.READERS`; None to detect it."""
    images: Path | None = None
    """Folder of the images that JSON files name; None to find it, see
    :func:`~converters.formats.json_files.find_images`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeShard:
    """Parts of a shard."""

    n_parts: int
    """Number of its parts."""
    n_before: int
    """Number of its parts that had been made before."""
    n_in_all: int
    """Number of the parts of all shards."""


def convert(
    source: Path | Sequence[Path],
    target: Path,
    options: ConversionOptions,
    *,
    source_format: str | None = None,
    images: Path | None = None,
    workers: int = 1,
    scheduler: str = "",
    only_merge: bool = False,
    force: bool = False,
    track: Track[PreparedPage] = untracked,
    say: Say = unsaid,
    sheets: SheetWriter | None = None,
) -> dict[str, Any]:
    """Convert data sets to one; ``target`` appears only after everything has been written.

    A conversion of several parts (:mod:`converters.parts`) that does not finish leaves the parts
    that are finished beside ``target``; the next conversion to ``target`` continues with them.

    Args:
        source: Folder or file of annotations, or several of them, see :class:`Inputs`.
        target: Folder to create.
        options: Everything that determines the output.
        source_format: Format of the source, see :class:`Inputs`.
        images: Folder of the images that JSON files name, see :class:`Inputs`.
        workers: Number of worker processes; does not change the bytes written.
        scheduler: Address of a Dask scheduler whose workers make the parts; empty for worker
            processes on this machine.
        only_merge: Whether all parts must have been made already, by :func:`convert_shard`.
        force: Whether to replace ``target`` if omr created it.
        track: Progress display.
        say: Receives lines about large conversions: an estimate, and which parts are used or kept.
        sheets: Writer of contact sheets from the candidates that the options request; needs images
            in ``target``.

    Returns:
        The counts in the manifest.

    Raises:
        OmrError: The source, the options or the target is invalid, or writing failed.
    """
    inputs = Inputs(paths=_paths(source), format_name=source_format, images=images)
    with (
        atomic_folder(
            target,
            force=force,
            inputs=(*inputs.paths, options.class_map.path),
        ) as folder,
        said_if_kept(folder, target, "parts", say),
    ):
        if not scheduler:
            warm_up(workers, "converters.parts.making")
        opened = _open(inputs, target, options, workers)
        finished = _take_over(folder, opened.parts, options, say)
        if only_merge and len(finished) < len(opened.parts):
            raise _missing_parts(opened.parts, finished)
        execution = Execution(workers=workers, scheduler=scheduler)
        if len(opened.parts) > 1 and not finished:
            _say_estimate(opened.parts, folder, options, execution, say)
        manifest = ManifestBuilder(names=options.class_map.names, scratch=folder / RECORDS)
        manifest.counts.warnings += opened.remarks
        made = PartsMade(counts=manifest.counts)
        make_split_folders(folder, opened.split_names, options)
        pages = made_pages(
            opened.parts,
            folder,
            options,
            execution,
            made,
            finished=finished,
            is_kept=len(opened.parts) > 1 or bool(scheduler) or only_merge,
        )
        n_pages = sum(part.n_pages for part in opened.parts)
        losses = Losses(options.formats)
        with closing(pages):  # made as they are asked for
            write_pages(track(pages, n_pages), folder, opened, manifest, options, losses, sheets)
        if options.image_mode == "tar":
            write_indexes(folder, opened.parts)
        write_manifest(folder, opened, manifest, made, options, losses)
        if sheets:
            sheets.write(folder)
    return manifest.summary()


def convert_shard(
    source: Path | Sequence[Path],
    target: Path,
    options: ConversionOptions,
    shard: tuple[int, int],
    *,
    source_format: str | None = None,
    images: Path | None = None,
    workers: int = 1,
    track: Track[PreparedPage] = untracked,
) -> MadeShard:
    """Make some of the parts of a conversion, beside other processes that make the others.

    When all shards are done, :func:`convert` with the same arguments merges them to ``target``.

    Args:
        source: Folder or file of annotations, or several of them, see :class:`Inputs`.
        target: Folder that the conversion will create; the parts are in ``.NAME.parts`` beside it.
        options: Everything that determines the output.
        shard: Number of the shard, from 1, and number of shards.
        source_format: Format of the source, see :class:`Inputs`.
        images: Folder of the images that JSON files name, see :class:`Inputs`.
        workers: Number of worker processes.
        track: Progress display.

    Raises:
        OmrError: The source, the options or the target is invalid, or writing failed.
    """
    inputs = Inputs(paths=_paths(source), format_name=source_format, images=images)
    with parts_folder(target, inputs=(*inputs.paths, options.class_map.path)) as folder:
        make_records_folder(folder)
        with shared_spans(folder / RECORDS / SPANS):
            opened = _open(inputs, target, options, workers, shard)
        own = _of_shard(opened.parts, shard)
        make_split_folders(folder, opened.split_names, options)
        with contextlib.ExitStack() as locks:
            for part in own:
                locks.enter_context(locked_part(folder, part.number))
            finished = finished_parts(folder, own, options)
            missing = [part for part in own if part.number not in finished]
            remove_unfinished(folder, missing)
            execution, made = Execution(workers=workers), PartsMade(counts=Tally())
            n_pages = sum(part.n_pages for part in missing)
            with closing(made_pages(missing, folder, options, execution, made)) as pages:
                for _ in track(pages, n_pages):
                    pass
    return MadeShard(n_parts=len(own), n_before=len(finished), n_in_all=len(opened.parts))


def _paths(source: Path | Sequence[Path]) -> tuple[Path, ...]:
    return (source,) if isinstance(source, Path) else tuple(source)


def _open(
    inputs: Inputs,
    target: Path,
    options: ConversionOptions,
    workers: int,
    shard: tuple[int, int] = (1, 1),
) -> OpenedData:
    """Open the data sets, and check all names, but only the images of a shard."""
    sources = open_all(
        inputs.paths,
        options.class_map,
        source_format=inputs.format_name,
        images=inputs.images,
        annotation_set=options.annotation_set,
    )
    files = [file for opened in sources for file in opened.files]
    splits = assign_splits(sources, options)
    remedy = CORRECT_FOLDER if inputs.images else NAME_FOLDER
    parts = plan_parts(sources, splits, workers)
    own = {
        (entry.whole, image)
        for part in _of_shard(parts, shard)
        for entry in part.files
        for image in entry.file.images
    }
    remarks = check_images(sources, splits, options, remedy, own)
    check_inputs(target, _input_files(files))
    return OpenedData(sources=sources, files=files, splits=splits, parts=parts, remarks=remarks)


def _of_shard(parts: Sequence[Part], shard: tuple[int, int]) -> Sequence[Part]:
    """Return the parts of a shard, given by its number from 1 and the number of shards."""
    number, n_shards = shard
    return parts[number - 1 :: n_shards]


def _take_over(
    folder: Path, parts: Sequence[Part], options: ConversionOptions, say: Say
) -> frozenset[int]:
    """Continue with the parts that an earlier conversion to the same folder has finished."""
    finished = frozenset[int]()
    if take_kept(folder):
        finished = finished_parts(folder, parts, options)
        if finished:
            say(f"continuing: {len(finished)} of {len(parts)} parts were made before")
        else:
            say("starting anew: the parts that were made before have other options or inputs")
        keep_parts(folder, [part for part in parts if part.number in finished], options)
    make_records_folder(folder)
    return finished


def _say_estimate(
    parts: Sequence[Part],
    folder: Path,
    options: ConversionOptions,
    execution: Execution,
    say: Say,
) -> None:
    """Say what a large conversion will take."""
    expected = estimate(parts, folder, options)
    say(expected.line(execution))
    if expected.n_bytes > expected.free_bytes:
        say("the disk will probably be full before the end; parts that are finished are kept then")


def _missing_parts(parts: Sequence[Part], finished: frozenset[int]) -> OmrError:
    missing = [str(part.number + 1) for part in parts if part.number not in finished]
    return OmrError(
        f"{len(missing)} of {len(parts)} parts are missing ({short_list(missing, MOST_PARTS)}), or "
        "were made with other options or inputs; make them with --shard, or omit --merge to make "
        "them here"
    )


def _input_files(files: Sequence[AnnotationSource]) -> Iterator[Path]:
    """Yield the annotation files and images of a data set."""
    for file in files:
        yield file.path
        yield from (file.image_folder / image for image in file.images)
