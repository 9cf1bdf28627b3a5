"""Estimate of what a large conversion will take, from a few of its pages."""

import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from converters.conversion_options import ConversionOptions
from converters.files.kept_work import RECORDS
from converters.formats import WRITERS
from converters.parts.making import Execution, jobs_of, make_split_folders
from converters.parts.plan import Part
from converters.prepare.preparation import prepare
from converters.tally import Tally

SAMPLE = 16
"""Number of pages that are converted for the estimate."""
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of the unit of ``ru_maxrss``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Time, memory and disk space that a conversion needs."""

    pages: int
    parts: int
    cpu_s: float
    """Seconds in a single process."""
    n_bytes: int
    """Size of the output."""
    free_bytes: int
    """Free space on its disk."""
    memory_bytes: int
    """Memory of a process."""

    def line(self, execution: Execution) -> str:
        """Return the estimate as a sentence."""
        n = execution.workers
        time_needed = duration(self.cpu_s / (1 if execution.scheduler else n))
        processes = "of CPU time" if execution.scheduler or n == 1 else f"with {n} processes"
        memory = gigabytes(self.memory_bytes * (1 if execution.scheduler else n))
        return (
            f"{self.pages:,} pages in {self.parts:,} parts: about {time_needed} {processes}, "
            f"{memory} of memory, {gigabytes(self.n_bytes)} on the disk, which has "
            f"{gigabytes(self.free_bytes)} free"
        )


def duration(seconds: float) -> str:
    """Format a duration: ``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def gigabytes(n_bytes: float) -> str:
    """Format a size: ``340 MB`` or ``1.2 GB``."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{max(1, round(n_bytes / 1e6))} MB"


def estimate(parts: Sequence[Part], folder: Path, options: ConversionOptions) -> Estimate:
    """Convert a few pages of the first part, and remove them again.

    Args:
        parts: All parts.
        folder: Folder of the incomplete data set.
        options: Options of the conversion.

    Raises:
        OmrError: A page cannot be read or written.
    """
    n_pages = sum(part.n_pages for part in parts)
    with _sample_folder(folder) as sample:
        read_s, page_s, n_sampled = _convert_sample(parts[0], sample, options)
        n_bytes = sum(path.stat().st_size for path in sample.rglob("*") if path.is_file())
    return Estimate(
        pages=n_pages,
        parts=len(parts),
        cpu_s=n_pages * (read_s / parts[0].n_pages + page_s),
        n_bytes=round(n_bytes / n_sampled * n_pages),
        free_bytes=shutil.disk_usage(folder).free,
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT,
    )


@contextmanager
def _sample_folder(folder: Path) -> Iterator[Path]:
    sample = folder / RECORDS / "sample"
    sample.mkdir()
    try:
        yield sample
    finally:
        shutil.rmtree(sample)


def _convert_sample(
    part: Part, folder: Path, options: ConversionOptions
) -> tuple[float, float, int]:
    """Convert every Nth page of a part.

    Returns:
        CPU seconds to read the annotations of the part and to convert a page, and number of pages.
    """
    splits = sorted({e.split_of(image) for e in part.files for image in e.file.images})
    make_split_folders(folder, splits, options)
    writers = [WRITERS[name](folder, options.class_map.names) for name in options.formats]
    started = time.process_time()
    step = max(1, part.n_pages // SAMPLE)
    jobs = list(islice(jobs_of(part, folder, options, Tally()), 0, None, step))
    read = time.process_time()
    for job in jobs:
        page = prepare(replace(job, return_symbols=True))
        for writer in writers:
            for output in page.outputs:
                writer.add(page.split, output)
    for writer in writers:
        writer.close()
    return read - started, (time.process_time() - read) / len(jobs), len(jobs)
