"""Rewrites a data set: every symbol that is read is written or counted under a reason."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from class_maps import ClassMap, ConfigError, InputError, Source, with_nearest
from converters import images
from converters.files.atomic_folder import atomic_folder, check_target
from converters.files.process_pool import in_order, warm_up
from converters.formats.coco import CocoWriter
from converters.formats.parquet import ParquetWriter
from converters.formats.sources import SourceFile, open_source
from converters.formats.yolo import IMAGES, LABELS, YoloWriter
from converters.manifest import Manifest, sha256
from converters.names import work_of
from converters.prepare.preparation import Job, PreparationOptions, Prepared, prepare
from converters.prepare.splits import SplitBy, group_of, held_out, shared_works

WRITERS: dict[str, type[YoloWriter] | type[CocoWriter] | type[ParquetWriter]] = {
    "yolo": YoloWriter,
    "coco": CocoWriter,
    "parquet": ParquetWriter,
}


class Track(Protocol):
    """Shows progress."""

    def __call__(self, pages: Iterable[Prepared], total: int) -> Iterable[Prepared]:
        """Yield each of ``total`` pages as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversionOptions:
    """Everything that decides what is written; the number of workers does not."""

    class_map: ClassMap
    formats: tuple[str, ...] = ("yolo",)
    annotation_set: str | None = None
    """Instead of the one that the class map names."""
    preparation: PreparationOptions = field(default_factory=PreparationOptions)
    val: float = 0.0
    """Share of the training pages that is held out."""
    split_by: SplitBy = "work"
    seed: int = 0
    labels_only: bool = False
    """Neither read nor write images."""

    def __post_init__(self) -> None:
        """Reject formats that there are not, and shares that are none."""
        if unknown := set(self.formats) - set(WRITERS):
            raise ConfigError(
                f"no format is called {with_nearest(unknown, WRITERS)}; it is {', '.join(WRITERS)}"
            )
        if not 0 <= self.val < 1:
            raise ConfigError(f"--val must be from 0 to below 1, got {self.val:g}")


def _untracked(pages: Iterable[Prepared], total: int) -> Iterable[Prepared]:
    return pages


def convert(
    source: Path,
    target: Path,
    options: ConversionOptions,
    *,
    source_format: str | None = None,
    workers: int = 1,
    force: bool = False,
    track: Track = _untracked,
) -> dict[str, Any]:
    """Rewrite a data set; ``target`` is there whole afterwards, or not at all.

    Args:
        source: Folder or file of annotations.
        target: Folder to make.
        options: What is written.
        source_format: Instead of looking.
        workers: Processes; the bytes written are the same for any number.
        force: Replace ``target``, if omr made it.
        track: Shows progress.

    Returns:
        The manifest's summary.

    Raises:
        OmrError: Anything that the user can put right; see the message.
    """
    check_target(target, force=force, inputs=[source])
    warm_up(workers, "converters.prepare.preparation")
    found, files = open_source(source, source_format)
    reading = options.class_map.source(found, options.annotation_set)
    val = _held_out(files, options)
    _check_images(files, val, options)
    manifest = Manifest(names=options.class_map.names)
    with atomic_folder(target, force=force) as folder, ThreadPoolExecutor(1) as pool:
        writers = [WRITERS[name](folder, options.class_map.names) for name in options.formats]
        jobs = _jobs(files, reading, val, options, manifest, folder, workers)
        n_pages = sum(len(file.file.images) for file in files)
        prepared = in_order(prepare, jobs, workers)
        hashes: list[Future[str]] = []
        try:
            for done in track(prepared, n_pages):
                if not hashes:  # from now on there is a core to spare: decoding took all
                    hashes = [pool.submit(sha256, file.file.path) for file in files]
                for image in done.images:
                    for writer in writers:
                        writer.add(done.split, image)
                manifest.add(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # an error need not wait for hashes
            raise
        _check_counts(manifest, source, options.class_map)
        for writer in writers:
            writer.close()
        _warn(manifest, files, val, options)
        facts = _facts(found, reading, files, [job.result() for job in hashes], options)
        manifest.write(folder, facts)
    return manifest.summary()


def _check_images(
    files: Sequence[SourceFile], val: frozenset[str], options: ConversionOptions
) -> None:
    """Find what is wrong with the images before hours of work, by their names and heads."""
    places: dict[tuple[str, PurePosixPath], Path] = {}
    for file in files:
        for image, (width, height) in file.file.images.items():
            split = _split(image, file.split, val, options)
            other = places.setdefault((split, image.with_suffix("")), file.file.path / image)
            if other != file.file.path / image:
                raise InputError(
                    f"two images would be written to {split}/{image.with_suffix('')}: {image} "
                    f"and {other.name} of {other.parent}; rename one",
                    path=file.file.path,
                )
            if not options.labels_only:
                images.check_size(file.image_folder / image, width, height)


def _held_out(files: Sequence[SourceFile], options: ConversionOptions) -> frozenset[str]:
    if not options.val:
        return frozenset()
    train = [image for file in files if file.split == "train" for image in file.file.images]
    return held_out(train, options.val, options.split_by, options.seed)


def _split(
    image: PurePosixPath, split: str, val: frozenset[str], options: ConversionOptions
) -> str:
    held = split == "train" and val and group_of(image, options.split_by) in val
    return "val" if held else split


def _jobs(
    files: Sequence[SourceFile],
    reading: Source,
    val: frozenset[str],
    options: ConversionOptions,
    manifest: Manifest,
    folder: Path,
    workers: int,
) -> Iterator[Job]:
    labels, clip = options.class_map.labels, options.preparation.cleaning.clip
    outs: dict[str, tuple[Path | None, Path | None]] = {}
    for file in files:
        for page in file.file.pages(reading, labels, manifest.counts, clip=clip, workers=workers):
            split = _split(page.image, file.split, val, options)
            if split not in outs:
                outs[split] = _folders(folder, split, options)
            image_out, label_out = outs[split]
            yield Job(
                page=page,
                split=split,
                image_folder=None if options.labels_only else file.image_folder.absolute(),
                image_out=image_out,
                label_out=label_out,
                hand_back=set(options.formats) != {"yolo"},
                names=options.class_map.names,
                options=options.preparation,
            )


def _folders(
    folder: Path, split: str, options: ConversionOptions
) -> tuple[Path | None, Path | None]:
    """Make the folders of a split's images and label files, those that are wanted."""
    root = folder.absolute()  # a worker may have started in another folder
    image_out = None if options.labels_only else root / IMAGES / split
    label_out = root / LABELS / split if "yolo" in options.formats else None
    for out in filter(None, (image_out, label_out)):
        out.mkdir(parents=True)
    return image_out, label_out


def _check_counts(manifest: Manifest, source: Path, class_map: ClassMap) -> None:
    """The sum must close, and something must be left."""
    manifest.counts.check()
    if not manifest.counts.written:
        reasons = ", ".join(f"{n} {reason}" for reason, n in manifest.counts.by_reason().items())
        raise InputError(
            f"no symbol is left for class map {class_map.name}: {manifest.counts.read} read"
            + (f", {reasons}" if reasons else ""),
            path=source,
        )


def _warn(
    manifest: Manifest, files: Sequence[SourceFile], val: frozenset[str], options: ConversionOptions
) -> None:
    works: dict[str, set[str]] = {}
    for file in files:
        for image in file.file.images:
            split = _split(image, file.split, val, options)
            works.setdefault(split, set()).add(work_of(image) or image.as_posix())
    if shared := shared_works(works):
        manifest.counts.warnings.append(shared)
    if len(manifest.pages) == 1 and "yolo" in options.formats:
        [split] = manifest.pages
        manifest.counts.warnings.append(
            f"no page is held out: data.yaml trains and validates on the {split} pages; --val 0.1 "
            "holds works out of train"
        )


def _facts(
    found: str,
    reading: Source,
    files: Sequence[SourceFile],
    hashes: Sequence[str],
    options: ConversionOptions,
) -> dict[str, Any]:
    """What the manifest says of the run beside its counts."""
    return {
        "source": found,
        "annotation_set": reading.annotation_set,
        "files": [
            {
                "name": file.file.path.name,
                "bytes": file.file.path.stat().st_size,
                "sha256": digest,
                "split": file.split,
                "pages": len(file.file.images),
            }
            for file, digest in zip(files, hashes, strict=True)
        ],
        "class_map": {
            "name": options.class_map.name,
            "sha256": sha256(options.class_map.path),
            "unlabelled": list(reading.unlabelled),
        },
        "options": {
            "formats": list(options.formats),
            **asdict(options.preparation),
            "val": options.val,
            "split_by": options.split_by,
            "seed": options.seed,
            "labels_only": options.labels_only,
        },
    }
