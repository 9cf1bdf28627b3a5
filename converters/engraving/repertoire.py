"""Pieces to choose from when pages are engraved, and the music files that are not used."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from class_maps import InputError
from converters.engraving import child, music_files, score_files
from converters.engraving.pieces import Piece, number_pieces
from converters.engraving.score_files import ScoreFiles
from converters.files.hashes import state
from converters.files.process_pool import in_order

GENERATED, CHORALES = "generated", "chorales"


@dataclass(frozen=True, kw_only=True, slots=True)
class Repertoire:
    """Pieces to choose from, and the files that are not used."""

    usable: list[Piece] = field(default_factory=list)
    """Pieces to choose from; empty if pieces are composed."""
    failures: dict[str, str] = field(default_factory=dict)
    """Reason why each unusable file was rejected, by name."""
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Warnings of verovio by name."""
    others: Counter[str] = field(default_factory=Counter)
    """Number of files of other types by suffix."""
    states: Mapping[Path, tuple[int, int] | None] = field(default_factory=dict)
    """State of each file before it was examined."""

    def add_changes(self) -> None:
        """Add a warning for each file that has changed since it was examined."""
        names = {piece.path: piece.name for piece in self.usable}
        for path, before in self.states.items():
            if path in names and state(path) != before:
                known = self.warnings.get(names[path], ())
                self.warnings[names[path]] = (*known, "changed while pages were engraved")


def read_repertoire(source: str, workers: int) -> Repertoire:
    """Find the pieces to choose from.

    Args:
        source: ``generated``, ``chorales``, or a file or folder of scores.
        workers: Number of child processes that examine files.

    Raises:
        OmrError: The source does not exist, or none of its files can be used.
    """
    if source == GENERATED:
        return Repertoire()
    if source == CHORALES:
        folder = music_files.chorale_folder()
        hashes = music_files.chorales(folder)
        return Repertoire(
            usable=number_pieces(list(hashes), folder, list(hashes.values()), trusted=True)
        )
    return _read_files(score_files.find(Path(source)), workers)


def _read_files(found: ScoreFiles, workers: int) -> Repertoire:
    """Examine music files in child processes.

    Raises:
        InputError: No file can be used.
    """
    states = {path: state(path) for path in found.files}
    results = list(in_order(child.examine, found.files, workers))
    pitch_hashes = [result.pitch_hash for result in results]
    pieces = number_pieces(found.files, found.folder, pitch_hashes, trusted=False)
    by_name = {piece.name: result for piece, result in zip(pieces, results, strict=True)}
    errors = {name: result.error for name, result in by_name.items() if result.error}
    failures = dict(sorted((found.skipped | errors).items()))
    usable = [piece for piece in pieces if piece.name not in errors]
    if not usable and failures:
        name, error = next(iter(failures.items()))
        raise InputError(f"no file can be used; {name}: {error}", path=found.folder)
    if not usable:
        expected = ", ".join(score_files.SUFFIXES)
        raise InputError(f"no scores; expected {expected}", path=found.folder)
    warnings = {name: result.warnings for name, result in by_name.items() if result.warnings}
    return Repertoire(
        usable=usable, failures=failures, warnings=warnings, others=found.others, states=states
    )
