"""Data sets of engraved pages: folders in the format of DeepScoresV2, with a manifest."""

import json
import shutil
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from class_maps import ConfigError, catalogue, load, with_nearest
from converters.engraving import annotations, balance, raster, smufl
from converters.engraving.pages import PageOptions
from converters.engraving.pieces import Piece
from converters.engraving.repertoire import CHORALES, GENERATED, Repertoire, read_repertoire
from converters.engraving.writing import (
    IMAGES,
    SEGMENTATION,
    EngravingJob,
    WrittenPage,
    written_pages,
)
from converters.files.atomic_folder import MANIFEST, atomic_folder
from converters.files.journal import continued, digest_of, keep_only
from converters.files.kept_work import RECORDS
from converters.files.overwriting import check_inputs
from converters.files.process_pool import warm_up
from converters.prepare.splits import shuffled
from converters.tracking import Say, Track, unsaid, untracked
from converters.versions import OPENCV, TOOLKIT, code_hash, installed_versions

CHORALES_CAVEAT = (
    "Engraved from files that come with music21. Many of them credit an encoder and state no "
    "licence; music21's corpus allows use with possible limits on commercial use. "
    "Check their terms before you redistribute these pages."
)


DESCRIPTION = "pages engraved by omr"
LICENCE = {
    False: "Composed by omr; not derived from any score or data set.",
    True: "Engraved from your files; their licences apply to these pages too.",
}
"""Licence note, for pages engraved from files (True) and for others."""
MIN_SIDE = 200
"""Smallest side of a page in pixels: a smaller page has hardly any room for a bar."""
MAX_SIDE = 20_000
"""Largest side of a page in pixels: about four times that of a sheet of paper at 600 dpi."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngravingOptions:
    """All options that determine the output; the number of workers does not affect it."""

    pages: int
    page: PageOptions = field(default_factory=PageOptions)
    """Options of single pages; :attr:`PageOptions.fonts` lists the fonts of all pages."""
    scores: str = GENERATED
    """``generated``, ``chorales``, or a file or folder of scores."""
    holdout_font: str | None = None
    """Music font used for all held-out pages and for no others."""
    val: float = 0.0
    """Fraction of the pieces to hold out."""
    segmentation: bool = False
    """Whether to write a mask of the categories for each page."""

    def __post_init__(self) -> None:
        """Check ranges and font names."""
        if self.pages < 1:
            reason = "too few; expected at least 1"
            raise ConfigError(reason, option="--pages", value=self.pages)
        if not 0 <= self.val < 1:
            reason = "out of range; expected 0 <= VAL < 1"
            raise ConfigError(reason, option="--val", value=f"{self.val:g}")
        _check_fonts("--fonts", self.page.fonts)
        _check_fonts("--holdout-font", filter(None, [self.holdout_font]))
        if self.holdout_font and not self.val:
            reason = "no pages are held out; set --val too"
            raise ConfigError(reason, option="--holdout-font", value=self.holdout_font)
        if not self.fonts(held_out=False):
            reason = "no font is left for the training pages; list more in --fonts"
            raise ConfigError(reason, option="--holdout-font", value=self.holdout_font)
        if self.page.transpose and self.scores == GENERATED:
            reason = "composed pieces are in all keys already; applies to other --scores"
            raise ConfigError(reason, option="--transpose")
        if self.page.balance and self.scores != GENERATED:
            reason = "needs composed music; omit --scores"
            raise ConfigError(reason, option="--balance", value=self.page.balance.per_100_pages)
        width, height = self.page.width, self.page.height
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (width, height)):
            reason = f"out of range; expected {MIN_SIDE} to {MAX_SIDE} pixels for both sides"
            raise ConfigError(reason, option="--size", value=f"{width}x{height}")

    def fonts(self, *, held_out: bool) -> tuple[str, ...]:
        """Return the fonts of the held-out pages, or of the others."""
        if held_out and self.holdout_font:
            return (self.holdout_font,)
        return tuple(font for font in self.page.fonts if font != self.holdout_font)


def _check_fonts(option: str, names: Iterable[str]) -> None:
    if unknown := set(names) - set(smufl.FONTS):
        shown = with_nearest(unknown, smufl.FONTS)
        reason = f"no such font: {shown}; expected {', '.join(smufl.FONTS)}"
        raise ConfigError(reason, option=option)


def engrave(
    target: Path,
    options: EngravingOptions,
    *,
    workers: int = 1,
    force: bool = False,
    track: Track[WrittenPage] = untracked,
    say: Say = unsaid,
) -> dict[str, Any]:
    """Engrave a data set; ``target`` is created completely or not at all.

    If it fails or is killed, the finished pages are kept beside ``target``; with the same options,
    the next call continues with them.

    Args:
        target: Folder to create.
        options: Contents of the data set.
        workers: Number of processes; the files written are the same for any number.
        force: Whether to replace ``target`` if omr created it.
        track: Progress display.
        say: Receives lines about the pages that are used or kept.

    Returns:
        Contents of the manifest.

    Raises:
        OmrError: An option or input is invalid, or writing failed.
    """
    inputs = () if options.scores in (GENERATED, CHORALES) else (Path(options.scores),)
    with atomic_folder(target, force=force, inputs=inputs) as folder:
        warm_up(workers, "converters.engraving.writing")
        pieces = read_repertoire(options.scores, workers)
        check_inputs(target, (piece.path for piece in pieces.usable if piece.path))
        pools = _pools(pieces.usable, options)
        tally = _Tally()
        fingerprint = _fingerprint(options, pieces)
        with (
            continued(folder, target, fingerprint, "pages", say) as journal,
            ExitStack() as spools,
        ):
            keep_only(folder, (RECORDS, IMAGES, SEGMENTATION))
            for name in (IMAGES, *([SEGMENTATION] if options.segmentation else [])):
                (folder / name).mkdir(exist_ok=True)
            job_of = partial(_job, options, pools, folder.absolute())
            files = _SplitFiles(folder, spools)
            with closing(written_pages(job_of, options.pages, journal, workers)) as pages:
                for page in track(pages, options.pages):
                    files.add(page)
                    tally.add(page)
            files.close()
        pieces.add_changes()
        manifest = _manifest(options, tally, pieces)
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def _pools(pieces: list[Piece], options: EngravingOptions) -> dict[bool, tuple[Piece, ...]]:
    """Divide the pieces into pieces for held-out pages (True) and pieces for all other pages."""
    if not pieces:
        return {True: (), False: ()}
    order = shuffled({str(piece.work) for piece in pieces}, options.page.seed)
    held = {work for i, work in enumerate(order) if _is_held_out(i, options.val)}
    pools = {
        side: tuple(piece for piece in pieces if (str(piece.work) in held) == side)
        for side in (True, False)
    }
    if options.val and not (pools[True] and pools[False]):
        reason = (
            f"leaves no pieces on one side of the split of {len(pieces)}; "
            "provide more files or choose another fraction"
        )
        raise ConfigError(reason, option="--val", value=f"{options.val:g}")
    return pools


def _is_held_out(number: int, fraction: float) -> bool:
    """Decide whether to hold out an item, such that held-out items are evenly spread."""
    return int((number + 1) * fraction + 1e-9) > int(number * fraction + 1e-9)


def _job(
    options: EngravingOptions, pools: dict[bool, tuple[Piece, ...]], folder: Path, number: int
) -> EngravingJob:
    held_out = _is_held_out(number, options.val)
    return EngravingJob(
        number=number,
        held_out=held_out,
        pieces=pools[held_out],
        options=replace(options.page, fonts=options.fonts(held_out=held_out)),
        folder=folder,
        segmentation=options.segmentation,
    )


def _fingerprint(options: EngravingOptions, pieces: Repertoire) -> bytes:
    """Hash what determines all pages."""
    balanced = options.page.balance
    return digest_of(
        options,
        load(balanced.classes).sha256 if balanced else "",
        pieces.usable,
        pieces.states,
        code_hash("class_maps", "converters"),
        installed_versions(TOOLKIT, "verovio", "music21", "numpy", "blend2d-py", *OPENCV),
    )


class _SplitFiles:
    """JSON files of the splits, spooled to disk page by page to keep memory use constant.

    Args:
        folder: Folder of the data set.
        stack: Closes the spools.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._parts: dict[str, tuple[IO[bytes], IO[bytes]]] = {}

    def add(self, page: WrittenPage) -> None:
        """Append a page to the images and annotations of its split."""
        if page.split not in self._parts:
            self._parts[page.split] = self._spool(), self._spool()
        rows = page.image, page.annotations
        for part, text in zip(self._parts[page.split], rows, strict=True):
            part.write((b",\n" if part.tell() else b"") + text)

    def _spool(self) -> IO[bytes]:
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        return cast(IO[bytes], self._stack.enter_context(file))

    def close(self) -> None:
        """Assemble the JSON files from the spooled parts."""
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


class _Tally:
    """Counts of the engraved pages."""

    def __init__(self) -> None:
        self.symbols: dict[str, Counter[str]] = {}
        self.pages: Counter[str] = Counter()
        self.fonts: dict[str, Counter[str]] = {}
        self.works: dict[str, set[int]] = {}
        self.collisions = 0
        self.missing: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.captures: Counter[str] = Counter()
        self.effects: Counter[str] = Counter()

    def add(self, page: WrittenPage) -> None:
        """Count a page."""
        self.pages[page.split] += 1
        self.symbols.setdefault(page.split, Counter()).update(page.counts)
        self.fonts.setdefault(page.split, Counter())[page.font] += 1
        self.works.setdefault(page.split, set()).add(page.work)
        self.collisions += page.n_collisions
        self.missing.update(page.missing)
        self.rejected.update(page.rejected)
        self.captures[page.capture] += 1
        self.effects.update(page.effects)


def _named(character: str) -> str:
    """Describe a character, such as ``♭ U+266D MUSIC FLAT SIGN``."""
    name = unicodedata.name(character, "")
    return f"{character} U+{ord(character):04X} {name}".rstrip()


def _manifest(options: EngravingOptions, tally: _Tally, pieces: Repertoire) -> dict[str, Any]:
    """Describe the options and contents of the data set; equal input gives equal bytes."""
    total = sum(tally.symbols.values(), Counter[str]())
    used = set().union(*tally.works.values())
    settings = asdict(options)
    rasteriser = settings["page"].pop("rasteriser")
    return {
        "engraved": settings,
        "licence": CHORALES_CAVEAT if options.scores == CHORALES else LICENCE[bool(pieces.usable)],
        "versions": installed_versions(TOOLKIT, "verovio", "numpy"),
        "rasteriser": raster.description(rasteriser),
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
        "captures": dict(sorted(tally.captures.items())),
        "effects": dict(sorted(tally.effects.items())),
        "symbols": total.total(),
        "collisions": tally.collisions,
        "rejected": dict(sorted(tally.rejected.items())),
        "characters_not_drawn": {_named(c): n for c, n in sorted(tally.missing.items())},
        "failures": pieces.failures,
        "warnings": pieces.warnings,
        "other_files": dict(sorted(pieces.others.items())),
        "works": {
            str(work): ", ".join(p.name for p in pieces.usable if p.work == work)
            for work in (sorted(used) if pieces.usable else ())
        },
        "not_drawn": [
            p.name for p in pieces.usable if p.work not in used and options.scores != CHORALES
        ],
        "balance": balance.summary(options.page.balance, total, tally.pages.total()),
        "categories": {c.name: total[c.name] for c in catalogue(annotations.SOURCE).categories},
    }
