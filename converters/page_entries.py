"""JSON entries of pages by split, kept in files until they are written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BUFFERED = 1000
"""Entries in memory."""


class PageEntries:
    """One part of a manifest: ``{split: {page: value}}``.

    Args:
        folder: Folder of temporary files; exists until all entries have been written.
        name: Name of this part.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._splits: list[str] = []
        self._buffer: list[tuple[str, str]] = []

    def add(self, split: str, page: str, value: Any) -> None:  # noqa: ANN401
        """Add the value of a page; pages of a split may follow those of others.

        Raises:
            OSError: A file cannot be written.
        """
        if split not in self._splits:
            self._splits.append(split)
            self._path(split).unlink(missing_ok=True)
        text = json.dumps({page: value}, indent=1, ensure_ascii=False)
        lines = text.splitlines()[1:-1]
        self._buffer.append((split, "\n".join("  " + line for line in lines)))
        if len(self._buffer) >= BUFFERED:
            self._flush()

    def lines(self) -> Iterator[str]:
        """Yield the text of this part, as it follows other parts in a JSON object."""
        self._flush()
        yield f",\n {json.dumps(self._name)}: " + ("{" if self._splits else "{}")
        for i, split in enumerate(self._splits):
            yield f"{',' if i else ''}\n  {json.dumps(split)}: {{\n"
            with self._path(split).open(encoding="utf-8") as file:
                yield file.read(2)[2:]  # the comma of the first entry
                yield from file
            yield "\n  }"
        yield "\n }" if self._splits else ""

    def _flush(self) -> None:
        for split in self._splits:
            entries = [f",\n{text}" for other, text in self._buffer if other == split]
            if entries:
                with self._path(split).open("a", encoding="utf-8") as file:
                    file.writelines(entries)
        self._buffer.clear()

    def _path(self, split: str) -> Path:
        return self._folder / f"{self._name}_{split}.entries"
