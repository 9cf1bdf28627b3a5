"""Division of a DeepScoresV2 file with many pages into several sources."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from class_maps import CategoryMapping
from converters.files.hashes import sha256_of_ranges
from converters.formats.annotation_spans import Batch
from converters.formats.deepscoresv2 import DeepScoresFile
from converters.page import Page
from converters.tally import Tally


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DeepScoresPages:
    """Consecutive pages of a file; implements :class:`~converters.formats.AnnotationSource`."""

    whole: DeepScoresFile
    batches: tuple[Batch, ...]
    """The pages, at least one batch."""
    images: Mapping[PurePosixPath, tuple[int, int]]
    """Width and height of each image in pixels."""
    warnings: Sequence[str] = ()

    @property
    def path(self) -> Path:
        """The annotation file."""
        return self.whole.path

    @property
    def state(self) -> tuple[int, int] | None:
        """State of the file before it was read."""
        return self.whole.state

    @property
    def split(self) -> str:
        """Split of the pages."""
        return self.whole.split

    @property
    def image_folder(self) -> Path:
        """Folder that image names are relative to."""
        return self.whole.image_folder

    @property
    def works(self) -> Mapping[PurePosixPath, str]:
        """Work of each image."""
        return self.whole.works

    def categories(self, mapping: CategoryMapping) -> tuple[str, ...]:
        """Return the names of the categories of the file."""
        return self.whole.categories(mapping)

    def pages(
        self,
        mapping: CategoryMapping,
        labels: Mapping[str, int],
        counts: Tally,
        *,
        clip: bool = False,
        workers: int = 1,
    ) -> Iterator[Page]:
        """Yield the pages, see :meth:`~converters.formats.deepscoresv2.DeepScoresFile.pages`."""
        return self.whole.read(self.batches, mapping, labels, counts, clip=clip, workers=workers)

    def sha256(self) -> str:
        """Hash the text of the annotations of the pages, and that outside of all annotations."""
        annotations = [text for batch in self.batches for text in batch.ranges]
        return sha256_of_ranges(self.path, [*self.whole.other_text, *annotations])


def divided(
    file: DeepScoresFile, least_pages: int, workers: int
) -> Sequence[DeepScoresFile | DeepScoresPages]:
    """Divide a file into sources with consecutive pages; the result depends on its content only.

    Args:
        file: File to divide.
        least_pages: Number of pages of each source, or more; the last one may have fewer.
        workers: Number of processes that read the file.

    Returns:
        The sources, or only the file if it has too few pages or has to be read as a whole.
    """
    if len(file.images) < 2 * least_pages:
        return [file]
    images = [*file.images.items()]
    groups: list[list[Batch]] = [[]]
    for batch in file.batches(workers):
        if groups[-1] and batch.first - groups[-1][0].first >= least_pages:
            groups.append([])
        groups[-1].append(batch)
    if len(groups) == 1:
        return [file]
    return [
        DeepScoresPages(
            whole=file,
            batches=tuple(group),
            images=dict(images[group[0].first : group[-1].stop]),
        )
        for group in groups
    ]
