"""Finds and reads score files."""

import hashlib
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
_CONTAINER = "META-INF/container.xml"
_PITCH = re.compile(r'<(?:step|octave)>\w+|(?:pname|oct)="\w+"')
_PARSER = etree.XMLParser(huge_tree=True, encoding="utf-8", resolve_entities=False)


def find(folder: Path) -> list[Path]:
    """Score files in a folder and those in it, sorted; or the one file that was given.

    Raises:
        InputError: There are none.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError("no such file or folder of scores", path=folder)
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


def chorales(folder: Path) -> dict[Path, str]:
    """Chorales in four parts, sorted, and the :func:`music` of each.

    Raises:
        InputError: There are none.
    """
    files = sorted(p for p in folder.glob("*") if p.suffix in (".mxl", ".xml"))
    texts = ((path, read(path)) for path in files)
    found = {path: music(text) for path, text in texts if text.count("<score-part ") == 4}
    if not found:
        raise InputError("no chorales in this music21", path=folder)
    return found


def music(score: str) -> str:
    """A hash of the pitches of a score, equal for copies that differ in titles and layout."""
    pitches = _PITCH.findall(score)
    return hashlib.sha256(" ".join(pitches or [score]).encode()).hexdigest()


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
    """The score in a compressed MusicXML file: the one that its container names.

    Source: https://www.w3.org/2021/06/musicxml40/tutorial/compressed-mxl-files/
    """
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.lower().endswith((".xml", ".musicxml"))]
        inside = [n for n in names if not n.startswith(("META-INF/", "__MACOSX/"))]
        if _CONTAINER in names:
            found = re.search(rb"full-path=[\"']([^\"']+)", archive.read(_CONTAINER))
            named = found[1].decode() if found else ""
            inside = [named] if named in names else inside
        if not inside:
            raise InputError("an archive without a score", path=path)
        with archive.open(inside[0]) as file:
            return file.read(MAX_BYTES + 1)  # what the archive says of its size may be wrong


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    said = re.search(rb"encoding=[\"']([\w.-]+)", data[:200])
    return data.decode(said[1].decode() if said else "utf-8").removeprefix("\ufeff")
