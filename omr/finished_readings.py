"""Readings of an incomplete prediction, with which a repeated command continues."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from class_maps import InputError
from converters.files.hashes import state
from converters.files.journal import Journal, key_of
from converters.page import Page
from reading.options import ImageOptions
from reading.page_images import PageFile, read_image
from reading.page_stream import PageReading


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Reading:
    """What a journal keeps of a :class:`~reading.page_stream.PageReading`."""

    page: Page
    angle_degrees: float
    n_tiles: int
    seconds: float
    remarks: tuple[str, ...]


class FinishedReadings:
    """Readings of earlier processes; those of this process are added.

    Args:
        journal: Journal of the prediction.
        images: How page images are decoded.
        are_shown: Whether the images of all pages are needed; otherwise, only those of pages that
            have no image file of their own.
    """

    def __init__(self, journal: Journal, images: ImageOptions, *, are_shown: bool) -> None:
        self._journal, self._images, self._are_shown = journal, images, are_shown
        self._keys: dict[PurePosixPath, bytes] = {}

    def find(self, file: PageFile) -> PageReading | None:
        """Return the reading of a page whose file is unchanged; None if there is none."""
        key = key_of(str(file.name), str(file.path), file.index, state(file.path))
        known: _Reading | None = self._journal.find(key, _Reading)
        self._keys[file.name] = key  # of the state before the page is read
        if known is None:
            return None
        try:
            is_needed = self._are_shown or file.index is not None
            image = read_image(file, self._images) if is_needed else None
        except InputError:  # which reading it again will report
            return None
        return PageReading(
            file=file,
            page=known.page,
            image=image,
            angle_degrees=known.angle_degrees,
            n_tiles=known.n_tiles,
            seconds=known.seconds,
            remarks=known.remarks,
        )

    def added(self, readings: Iterable[PageReading]) -> Iterator[PageReading]:
        """Add readings to the journal as they are made, and yield them.

        Pages that could not be read are not added: a repeated command tries again.
        """
        for reading in readings:
            key = self._keys.pop(reading.name)
            if reading.page is not None and key not in self._journal:
                kept = _Reading(
                    page=reading.page,
                    angle_degrees=reading.angle_degrees,
                    n_tiles=reading.n_tiles,
                    seconds=reading.seconds,
                    remarks=reading.remarks,
                )
                self._journal.add(key, kept)
            yield reading
