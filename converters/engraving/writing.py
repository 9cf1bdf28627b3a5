"""Pages of a data set on the disk: engraved in several processes, and recorded in a journal."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from converters import images
from converters.engraving import annotations
from converters.engraving.pages import PageOptions, engrave_page
from converters.engraving.pieces import Piece
from converters.files.hashes import state
from converters.files.journal import Journal, key_of
from converters.files.process_pool import in_order

IMAGES, SEGMENTATION = "images", "segmentation"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngravingJob:
    """One page to engrave."""

    number: int
    """Number of the page in the data set, from 0."""
    held_out: bool
    pieces: tuple[Piece, ...]
    """Pieces to choose from; empty to compose one."""
    options: PageOptions
    folder: Path
    segmentation: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenPage:
    """Labels and statistics of a page whose image has been written."""

    split: str
    image: bytes
    """Entry of ``images``, JSON."""
    annotations: bytes
    """Entries of ``annotations``, JSON without the outer braces."""
    counts: Counter[str]
    """Number of symbols by category."""
    font: str
    work: int
    n_collisions: int
    missing: Counter[str]
    """Number of characters that were not drawn because the typeface lacks them."""
    rejected: Counter[str]
    """Number of rejected attempts by reason."""
    capture: str
    effects: tuple[str, ...]
    """Effects of the degradation."""
    files: tuple[tuple[str, int], ...]
    """Image and mask: path in the data set, and size in bytes."""

    def is_in(self, folder: Path) -> bool:
        """Check whether its files are complete in a folder."""
        sizes = ((state(folder / name), n_bytes) for name, n_bytes in self.files)
        return all(found is not None and found[0] == n_bytes for found, n_bytes in sizes)


def written_pages(
    job_of: Callable[[int], EngravingJob], n: int, journal: Journal, workers: int
) -> Generator[WrittenPage, None, None]:
    """Yield the pages of a data set, in order; those that the journal has are not made again.

    Args:
        job_of: Returns the job of each page.
        n: Number of pages.
        journal: Journal of the data set, to which the other pages are added.
        workers: Number of processes.

    Raises:
        OmrError: A page cannot be engraved or written.
    """

    def kept(number: int) -> WrittenPage | None:
        page: WrittenPage | None = journal.find(key_of(number), WrittenPage)
        return page if page and page.is_in(job_of(number).folder) else None

    missing = {number for number in range(n) if key_of(number) not in journal}
    jobs = map(job_of, sorted(missing))
    with closing(in_order(write_page, jobs, min(workers, n))) as made:
        for number in range(n):
            page = None if number in missing else kept(number)
            if page is None:  # few kept pages are damaged or without files: they need no processes
                page = next(made) if number in missing else write_page(job_of(number))
                journal.add(key_of(number), page)
            yield page


def write_page(job: EngravingJob) -> WrittenPage:
    """Engrave one page and write its image and mask."""
    page = engrave_page(job.number, job.pieces, job.options)
    font, work = page.layout.font, page.piece.work
    stem = f"lg-{work}-aug-{font.lower()}-{job.number + 1:06d}--page-{page.number}"
    files = [f"{IMAGES}/{stem}.png"]
    images.write(page.pixels, job.folder / files[0])
    height, width = page.pixels.shape[:2]
    if job.segmentation:
        mask = annotations.segmentation(page.symbols, page.boxes_xyxy, width, height)
        files.append(f"{SEGMENTATION}/{stem}_seg.png")
        images.write(mask, job.folder / files[1])
    rows = annotations.rows(page.symbols, page.boxes_xyxy, job.number + 1)
    image = {
        "id": job.number + 1,
        "filename": f"{stem}.png",
        "width": width,
        "height": height,
        "staff_space": round(page.staff_space, 3),
        "degradation": page.degradation,
        "ann_ids": [str(annotation_id) for annotation_id, _ in rows],
    }
    encode = msgspec.json.encode
    return WrittenPage(
        split="val" if job.held_out else "train",
        image=encode(image),
        annotations=b",\n".join(b'"%d": %s' % (i, encode(row)) for i, row in rows),
        counts=Counter(symbol.category for symbol in page.symbols),
        font=font,
        work=work,
        n_collisions=page.n_collisions,
        missing=page.missing,
        rejected=page.rejected,
        capture=page.degradation["capture"],
        effects=page.degradation["effects"],
        files=tuple((name, (job.folder / name).stat().st_size) for name in files),
    )
