"""Contact sheets of ``omr convert``, drawn from a few images of the new data set."""

from collections.abc import Sequence
from pathlib import Path

from converters.names import IMAGE_FOLDER, SHEETS, ImageMode
from converters.prepare.candidates import CandidateLimits
from converters.prepare.preparation import PreparedPage
from eval.html.number_format import counted
from eval.sheets.selection import Selector, SourceImage

PAGES_PER_IMAGE, TILES_PER_IMAGE = 100, 20
"""Images of the data set per image that is opened. Decoding a page takes longer than copying it,
decoding a tile takes less time than encoding it."""
LEAST_PAGES, LEAST_TILES, MOST_IMAGES = 1, 4, 200
"""Limits of the number of images that are opened."""
MOST_RANDOM, MOST_EXTREME = 8, 2
"""Maximum numbers of symbols per class and source, as in :class:`CandidateLimits`."""
MANY_IMAGES = 100
"""Number of opened images from which two symbols are shown for each reason."""
KEPT_RANDOM = 256
"""Random candidates per class and source, from which those in the opened images are chosen."""


class ConvertedSheets:
    """Writer of contact sheets, see :class:`converters.conversion.SheetWriter`.

    Args:
        names: Class names, indexed by label.
        title: Name of the data set.
        workers: Number of processes; does not change the sheets.
    """

    limits = CandidateLimits(n_random=MOST_RANDOM, n_extreme=MOST_EXTREME)

    def __init__(self, names: Sequence[str], *, title: str, workers: int) -> None:
        self._names, self._title, self._workers = names, title, workers
        kept = CandidateLimits(n_random=KEPT_RANDOM, n_extreme=MOST_EXTREME)
        self._selector = Selector(kept)
        self._n_images = self._n_encoded = 0
        self.n_sheets = 0
        """Number of classes and sources that are shown."""
        self.problem = ""
        """Reason for missing sheets; empty if they were written."""

    def add(self, page: PreparedPage) -> None:
        """Add the candidates of a page."""
        source, counts = page.properties.source, page.counts.labels
        self._n_images += len(page.outputs)
        self._n_encoded += sum(image.placement is not None for image in page.outputs)
        self._selector.counts.update({(name, source): n for name, n in counts.items()})
        if page.candidates is None:
            return
        images = [
            SourceImage(
                source=source,
                split=page.split,
                name=image.image,
                path=Path(IMAGE_FOLDER, page.split, image.image),
                staff_space=image.staff_space,
            )
            for image in page.outputs
        ]
        self._selector.add(images, page.candidates, self._names)

    def write(self, folder: Path) -> None:
        """Write the sheets to a data set, or record why this failed."""
        try:
            self._draw(folder)
        except Exception as error:
            (folder / SHEETS).unlink(missing_ok=True)
            self.problem = str(error) or type(error).__name__

    def _draw(self, folder: Path) -> None:
        from eval.sheets.crops import cut_crops
        from eval.sheets.sheet_files import write_page

        symbols = self._selector.chosen(
            limits=limits_for(self._most_images()), most_images=self._most_images(), folder=folder
        )
        sheets = write_page(
            cut_crops(symbols, self._workers),
            self._selector.counts,
            folder / SHEETS,
            title=self._title,
            n_images=self._n_images,
        )
        self.n_sheets = len(sheets)

    def _most_images(self) -> int:
        """Return the number of images to open: the time that this takes is a small share."""
        if 2 * self._n_encoded > self._n_images:
            n_images = max(self._n_images // TILES_PER_IMAGE, LEAST_TILES)
        else:
            n_images = max(self._n_images // PAGES_PER_IMAGE, LEAST_PAGES)
        return min(n_images, MOST_IMAGES)

    def summary(self, out: Path) -> str:
        """Describe the sheets in a line."""
        if self.problem:
            return f"no contact sheets: {self.problem}"
        n_groups = len(self._selector.counts)
        shown = counted(self.n_sheets, "class", "classes")
        of_all = f" of {n_groups:,}" if self.n_sheets < n_groups else ""
        return f"contact sheets: {shown}{of_all} -> {out / SHEETS}"


def limits_for(n_images: int) -> CandidateLimits:
    """Return the numbers of symbols to show per class and source, fewer from few images."""
    return CandidateLimits(
        n_random=min(max(n_images // 4, 2), MOST_RANDOM),
        n_extreme=MOST_EXTREME if n_images >= MANY_IMAGES else 1,
    )


def reason_for_none(*, labels_only: bool, images: ImageMode) -> str:
    """Return why a conversion cannot have contact sheets; empty if it can."""
    if labels_only:
        return "--labels-only reads no images"
    return "--images reference writes no images" if images == "reference" else ""
