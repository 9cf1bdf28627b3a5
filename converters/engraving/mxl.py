"""Reader for compressed MusicXML: a zip archive whose container names the score.

Source: https://www.w3.org/2021/06/musicxml40/tutorial/compressed-mxl-files/
"""

import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from lxml import etree

from class_maps import InputError

_CONTAINER = "META-INF/container.xml"
_SUFFIXES = (".xml", ".musicxml")
MAX_CONTAINER_BYTES = 1 << 20
_UTF8_NAME = 0x800
"""Flag of names in UTF-8; others are in code page 437, or in UTF-8 without the flag."""


def extract(path: Path, max_bytes: int) -> bytes:
    """Extract the score from an archive.

    Args:
        path: Archive.
        max_bytes: Number of bytes of the score to read; its size in the header may be wrong.

    Raises:
        InputError: The archive is damaged, or it is unclear which file is the score.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = _score(archive, path)
            with archive.open(entry) as file:
                return file.read(max_bytes)
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from error
    except (ValueError, zlib.error) as error:
        raise InputError(f"damaged archive: {error}", path=path) from error


def _score(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    """Find the root file named by the container; without a container, the only score."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    container = next((e for e in entries if _plain(e.filename) == _CONTAINER.casefold()), None)
    if container is not None:
        with archive.open(container) as file:
            name = _root_file(file.read(MAX_CONTAINER_BYTES), path)
        return _named(name, entries, path)
    scores = [entry for entry in entries if _may_be_a_score(entry.filename)]
    if not scores:
        raise InputError("archive contains no score", path=path)
    if len(scores) > 1:
        names = ", ".join(entry.filename for entry in scores[:3])
        raise InputError(
            f"archive has no container and {len(scores)} scores: {names}; extract them first",
            path=path,
        )
    return scores[0]


def _may_be_a_score(name: str) -> bool:
    parts = name.split("/")
    is_metadata = parts[0] in ("META-INF", "__MACOSX") or parts[-1].startswith("._")
    return name.lower().endswith(_SUFFIXES) and not is_metadata


def _root_file(container: bytes, path: Path) -> str:
    """Return the name of the first root file in MusicXML, according to the container."""
    try:
        root = etree.fromstring(container, etree.XMLParser(resolve_entities=False))
    except etree.XMLSyntaxError as error:
        raise InputError(f"{_CONTAINER} is damaged: {error}", path=path) from error
    files = [
        (str(file.get("full-path")), "xml" in file.get("media-type", "xml"))
        for file in root.iter("{*}rootfile")
        if file.get("full-path")
    ]
    if not files:
        raise InputError(f"{_CONTAINER} names no score", path=path)
    return max(files, key=lambda file: file[1])[0]  # the first one in XML


def _named(name: str, entries: Sequence[zipfile.ZipInfo], path: Path) -> zipfile.ZipInfo:
    """Find an entry by its name; a name in another notation must fit a single entry."""
    for notation in _notations(name):
        if exact := [entry for entry in entries if entry.filename == notation]:
            return exact[-1]  # of two entries with one name, the later one replaces the other
    plain = {_plain(notation) for notation in _notations(name)}
    similar = [e for e in entries if not plain.isdisjoint(map(_plain, _readings(e)))]
    if len(similar) == 1:
        return similar[0]
    problem = "several files" if similar else "no file"
    raise InputError(f"its container names {name!r}, which fits {problem} in it", path=path)


def _notations(name: str) -> tuple[str, str]:
    """Return a name as it is written, and with its percent escapes replaced."""
    return name, unquote(name)


def _readings(entry: zipfile.ZipInfo) -> Iterator[str]:
    """Yield the name of an entry, also as UTF-8 if its encoding is not marked."""
    yield entry.filename
    if not entry.flag_bits & _UTF8_NAME:
        try:
            yield entry.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            return


def _plain(name: str) -> str:
    """Unify separators, letter case and composed characters."""
    parts = name.replace("\\", "/").split("/")
    return unicodedata.normalize("NFC", "/".join(p for p in parts if p not in ("", "."))).casefold()
