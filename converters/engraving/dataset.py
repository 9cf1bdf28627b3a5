"""Engraves a data set: a folder in the format of DeepScoresV2, and what it was made with."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Protocol, cast

import msgspec

from class_maps import ConfigError, InputError, catalogue, with_nearest
from converters import images
from converters.engraving import annotations, child, score_files, scores, smufl
from converters.engraving.pages import PageOptions, engrave_page
from converters.engraving.scores import Piece
from converters.files.atomic_folder import MANIFEST, atomic_folder, check_target
from converters.files.process_pool import in_order, warm_up
from converters.prepare.splits import shuffled
from converters.versions import TOOLKIT, installed_versions

GENERATED, CHORALES = "generated", "chorales"
IMAGES, SEGMENTATION = "images", "segmentation"
CHORALES_CAVEAT = (
    "Engraved from files that come with music21. Many of them credit an encoder and carry no "
    "licence of their own; music21's corpus allows use with possible limits on commercial use. "
    "Do not pass these pages on before you have looked into that."
)


DESCRIPTION = "pages engraved by omr"
LICENCE = {
    False: "Made up by omr: no score and no data set went into it.",
    True: "Engraved from your files, whose licences hold for these pages too.",
}
"""By whether there were files."""
MIN_SIDE = 200
"""Pixels: hardly a bar fits on less."""
MAX_SIDE = 20_000
"""Pixels: four times a sheet of paper at 600 dpi."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngravingOptions:
    """Everything that decides what is written; the number of workers does not."""

    pages: int
    page: PageOptions = field(default_factory=PageOptions)
    """Everything about single pages; :attr:`PageOptions.fonts` are those of all pages."""
    scores: str = GENERATED
    """generated, chorales, or a folder of score files."""
    holdout_font: str | None = None
    """Used on the pages held out only, and they use no other."""
    val: float = 0.0
    """Share of the pieces that is held out."""
    segmentation: bool = False
    """Write an image of the categories beside each page."""

    def __post_init__(self) -> None:
        """Reject numbers out of range and fonts that there are not."""
        if self.pages < 1:
            raise ConfigError(f"--pages must be at least 1, got {self.pages}")
        if not 0 <= self.val < 1:
            raise ConfigError(f"--val must be from 0 to below 1, got {self.val:g}")
        asked = {*self.page.fonts, *filter(None, [self.holdout_font])}
        if unknown := asked - set(smufl.FONTS):
            shown = with_nearest(unknown, smufl.FONTS)
            raise ConfigError(f"no font is called {shown}; there are {', '.join(smufl.FONTS)}")
        if self.holdout_font and not self.val:
            raise ConfigError("--holdout-font needs pages that are held out; give --val too")
        if not self.fonts(held_out=False):
            raise ConfigError("no font is left to train on; give --fonts more of them")
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (self.page.width, self.page.height)):
            raise ConfigError(f"--size must be from {MIN_SIDE} to {MAX_SIDE} pixels a side")

    def fonts(self, *, held_out: bool) -> tuple[str, ...]:
        """Fonts of the pages held out, or of the others."""
        if held_out and self.holdout_font:
            return (self.holdout_font,)
        return tuple(font for font in self.page.fonts if font != self.holdout_font)


class Track(Protocol):
    """Shows progress."""

    def __call__(self, pages: "Iterable[Written]", total: int) -> "Iterable[Written]":
        """Yield each of ``total`` pages as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One page to engrave."""

    number: int
    """From 0."""
    held_out: bool
    pieces: tuple[Piece, ...]
    options: PageOptions
    folder: Path
    segmentation: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What became of a page whose image is written."""

    split: str
    image: bytes
    """Its row of ``images``, JSON."""
    annotations: bytes
    """Its part of ``annotations``, JSON without the outer braces."""
    counts: Counter[str]
    """Symbols by category."""
    font: str
    work: int
    n_collisions: int
    rejected: Counter[str]


def _untracked(pages: Iterable[Written], total: int) -> Iterable[Written]:
    return pages


def engrave(
    target: Path,
    options: EngravingOptions,
    *,
    workers: int = 1,
    force: bool = False,
    track: Track = _untracked,
) -> dict[str, Any]:
    """Engrave a data set; ``target`` is there whole afterwards, or not at all.

    Args:
        target: Folder to make.
        options: What is engraved.
        workers: Processes; the bytes written are the same for any number.
        force: Replace ``target``, if omr made it.
        track: Shows progress.

    Returns:
        What is in the manifest.

    Raises:
        OmrError: Anything that the user can put right; see the message.
    """
    inputs = () if options.scores in (GENERATED, CHORALES) else (Path(options.scores),)
    check_target(target, force=force, inputs=inputs)
    warm_up(workers, "converters.engraving.dataset")
    pieces, failures = _pieces(options.scores, workers)
    pools = _pools(pieces, options)
    workers = min(workers, options.pages)
    with atomic_folder(target, force=force) as folder:
        (folder / IMAGES).mkdir()
        if options.segmentation:
            (folder / SEGMENTATION).mkdir()
        jobs = _jobs(options, pools, folder.absolute())
        tally = _Tally()
        files = _Files(folder)
        for written in track(in_order(write_page, jobs, workers), options.pages):
            files.add(written)
            tally.add(written)
        files.close()
        manifest = _manifest(options, tally, pieces, failures)
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def _pieces(source: str, workers: int) -> tuple[list[Piece], dict[str, str]]:
    """The scores to choose from, none if they are made up; and the files that cannot be used."""
    if source == GENERATED:
        return [], {}
    if source == CHORALES:
        folder = score_files.chorale_folder()
        music = score_files.chorales(folder)
        return scores.pieces(list(music), folder, list(music.values()), trusted=True), {}
    files = score_files.find(Path(source))
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    found = list(in_order(child.examine, files, workers))
    pieces = scores.pieces(files, folder, [e.music for e in found], trusted=False)
    failures = {p.name: e.error for p, e in zip(pieces, found, strict=True) if e.error}
    good = [piece for piece in pieces if piece.name not in failures]
    if not good:
        name, error = next(iter(failures.items()))
        raise InputError(f"no score can be used; {name}: {error}", path=folder)
    return good, failures


def _pools(pieces: list[Piece], options: EngravingOptions) -> dict[bool, tuple[Piece, ...]]:
    """The pieces of the pages held out (True) and of the others."""
    if not pieces:
        return {True: (), False: ()}
    order = shuffled({str(piece.work) for piece in pieces}, options.page.seed)
    held = {work for i, work in enumerate(order) if _is_held_out(i, options.val)}
    pools = {
        side: tuple(piece for piece in pieces if (str(piece.work) in held) == side)
        for side in (True, False)
    }
    if options.val and not (pools[True] and pools[False]):
        raise ConfigError(
            f"--val {options.val:g} of {len(pieces)} pieces leaves none on one side; "
            "give more scores or another share"
        )
    return pools


def _is_held_out(number: int, share: float) -> bool:
    """Spread the share evenly, in a way that does not depend on how many there are."""
    return int((number + 1) * share + 1e-9) > int(number * share + 1e-9)


def _jobs(
    options: EngravingOptions, pools: dict[bool, tuple[Piece, ...]], folder: Path
) -> Iterator[Job]:
    for number in range(options.pages):
        held_out = _is_held_out(number, options.val)
        yield Job(
            number=number,
            held_out=held_out,
            pieces=pools[held_out],
            options=replace(options.page, fonts=options.fonts(held_out=held_out)),
            folder=folder,
            segmentation=options.segmentation,
        )


def write_page(job: Job) -> Written:
    """Engrave one page and write its image."""
    page = engrave_page(job.number, job.pieces, job.options)
    font, work = page.layout.font, page.piece.work
    stem = f"lg-{work}-aug-{font.lower()}-{job.number + 1:06d}--page-{page.number}"
    images.write(page.pixels, job.folder / IMAGES / f"{stem}.png")
    height, width = page.pixels.shape
    if job.segmentation:
        painted = annotations.segmentation(page.symbols, page.boxes_xyxy, width, height)
        images.write(painted, job.folder / SEGMENTATION / f"{stem}_seg.png")
    rows = annotations.rows(page.symbols, page.boxes_xyxy, job.number + 1)
    image = {
        "id": job.number + 1,
        "filename": f"{stem}.png",
        "width": width,
        "height": height,
        "ann_ids": [str(annotation_id) for annotation_id, _ in rows],
    }
    encode = msgspec.json.encode
    return Written(
        split="val" if job.held_out else "train",
        image=encode(image),
        annotations=b",\n".join(b'"%d": %s' % (i, encode(row)) for i, row in rows),
        counts=Counter(symbol.category for symbol in page.symbols),
        font=font,
        work=work,
        n_collisions=page.n_collisions,
        rejected=page.rejected,
    )


class _Files:
    """The JSON file of each split, which grow page by page: a large set never is in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: dict[str, tuple[IO[bytes], IO[bytes]]] = {}

    def add(self, written: Written) -> None:
        """Append a page to the images and to the annotations of its split."""
        if written.split not in self._parts:
            self._parts[written.split] = self._spool(), self._spool()
        rows = written.image, written.annotations
        for part, text in zip(self._parts[written.split], rows, strict=True):
            part.write((b",\n" if part.tell() else b"") + text)

    def _spool(self) -> IO[bytes]:
        return cast(IO[bytes], tempfile.TemporaryFile(dir=self._folder))

    def close(self) -> None:
        """Put the files together."""
        for split, (image_rows, annotation_rows) in self._parts.items():
            head = {"info": {"description": DESCRIPTION, "version": "2.0"}}
            text = msgspec.json.encode({**head, **annotations.vocabulary()})
            with (self._folder / f"deepscores_{split}.json").open("wb") as file:
                file.write(text[:-1] + b',\n"images": [\n')
                _copy(image_rows, file)
                file.write(b'\n],\n"annotations": {\n')
                _copy(annotation_rows, file)
                file.write(b"\n}}\n")


def _copy(part: IO[bytes], file: IO[bytes]) -> None:
    part.seek(0)
    shutil.copyfileobj(part, file, 1 << 20)
    part.close()


class _Tally:
    """Counts what was engraved."""

    def __init__(self) -> None:
        self.symbols: dict[str, Counter[str]] = {}
        self.pages: Counter[str] = Counter()
        self.fonts: dict[str, Counter[str]] = {}
        self.works: dict[str, set[int]] = {}
        self.collisions = 0
        self.rejected: Counter[str] = Counter()

    def add(self, written: Written) -> None:
        """Count a page."""
        split = written.split
        self.pages[split] += 1
        self.symbols.setdefault(split, Counter()).update(written.counts)
        self.fonts.setdefault(split, Counter())[written.font] += 1
        self.works.setdefault(split, set()).add(written.work)
        self.collisions += written.n_collisions
        self.rejected.update(written.rejected)


def _manifest(
    options: EngravingOptions, tally: _Tally, pieces: Sequence[Piece], failures: dict[str, str]
) -> dict[str, Any]:
    """What the set was made with and what is in it; equal input gives equal bytes."""
    total = sum(tally.symbols.values(), Counter[str]())
    used = set().union(*tally.works.values())
    asked = asdict(options)
    asked["page"].pop("engine")  # does not decide on any label
    return {
        "engraved": asked,
        "licence": CHORALES_CAVEAT if options.scores == CHORALES else LICENCE[bool(pieces)],
        "versions": installed_versions(TOOLKIT, "verovio", "numpy"),
        "pages": tally.pages.total(),
        "splits": {
            split: {
                "pages": tally.pages[split],
                "works": len(tally.works[split]),
                "symbols": tally.symbols[split].total(),
                "fonts": dict(sorted(tally.fonts[split].items())),
            }
            for split in sorted(tally.pages)
        },
        "symbols": total.total(),
        "collisions": tally.collisions,
        "rejected": dict(sorted(tally.rejected.items())),
        "failures": failures,
        "works": {
            str(work): ", ".join(piece.name for piece in pieces if piece.work == work)
            for work in (sorted(used) if pieces else ())
        },
        "categories": {c.name: total[c.name] for c in catalogue(annotations.SOURCE).categories},
    }
