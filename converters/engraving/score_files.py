"""Finds and reads score files."""

import re
import zipfile
from importlib.util import find_spec
from pathlib import Path

from lxml import etree

from class_maps import InputError, MissingExtraError

SUFFIXES = (".krn", ".mei", ".musicxml", ".mxl", ".xml")
"""MusicXML, compressed or not, MEI, Humdrum."""
MAX_BYTES = 64 << 20
"""A larger score is no score; a small archive can hold a huge one."""
_PARSER = etree.XMLParser(huge_tree=True, encoding="utf-8", resolve_entities=False)


def find(folder: Path) -> list[Path]:
    """Score files in a folder and those in it, sorted.

    Raises:
        InputError: There are none.
    """
    if not folder.is_dir():
        raise InputError("no such folder of scores", path=folder)
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise InputError(f"no scores: expected {', '.join(SUFFIXES)}", path=folder)
    return found


def chorale_folder() -> Path:
    """Where an installed music21, which is not imported, keeps Bach's works.

    Raises:
        MissingExtraError: music21 is not installed.
    """
    spec = find_spec("music21")
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "the chorales are read out of music21, which is not installed; "
            "pip install 'omr-toolkit[chorales]' brings it"
        )
    return Path(spec.origin).parent / "corpus" / "bach"


def chorales(folder: Path) -> list[Path]:
    """Chorales in four parts, sorted.

    Raises:
        InputError: There are none.
    """
    files = sorted(p for p in folder.glob("*") if p.suffix in (".mxl", ".xml"))
    found = [path for path in files if read(path).count("<score-part ") == 4]
    if not found:
        raise InputError("no chorales in this music21", path=folder)
    return found


def read(path: Path) -> str:
    """Read a score as text.

    Raises:
        InputError: The file or the archive is damaged, holds no score, or is too large.
    """
    try:
        data = _unpacked(path) if path.suffix.lower() == ".mxl" else path.read_bytes()
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from error
    if len(data) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES >> 20} MB: no score", path=path)
    try:
        text = _decoded(data)
        if text.lstrip().startswith("<"):
            etree.fromstring(text.encode(), _PARSER)
    except (UnicodeDecodeError, LookupError) as error:
        raise InputError(f"not text: {error}", path=path) from error
    except etree.XMLSyntaxError as error:  # verovio would take what there is
        raise InputError(f"not XML, cut short or damaged: {error}", path=path) from error
    return text


def _unpacked(path: Path) -> bytes:
    """The score in a compressed MusicXML file."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            inside = Path(entry.filename)
            if "META-INF" in inside.parts or inside.suffix.lower() not in (".xml", ".musicxml"):
                continue
            with archive.open(entry) as file:
                return file.read(MAX_BYTES + 1)  # what the archive says of its size may be wrong
    raise InputError("an archive without a score", path=path)


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    said = re.search(rb"encoding=[\"']([\w.-]+)", data[:200])
    return data.decode(said[1].decode() if said else "utf-8").removeprefix("\ufeff")
