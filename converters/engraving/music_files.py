"""Reader for music files: MusicXML, MEI and Humdrum."""

import hashlib
import re
import zipfile
from importlib.util import find_spec
from pathlib import Path

from lxml import etree

from class_maps import InputError, MissingExtraError

SUFFIXES = (".krn", ".mei", ".musicxml", ".mxl", ".xml")
"""File types: Humdrum, MEI, and MusicXML with or without compression."""
MAX_BYTES = 64 << 20
"""Largest size of a music file after decompression; a small archive can contain a huge file."""
_CONTAINER = "META-INF/container.xml"
_PITCH = re.compile(r'<(?:step|octave)>\w+|(?:pname|oct)="\w+"')
_PARSER = etree.XMLParser(huge_tree=True, encoding="utf-8", resolve_entities=False)


def find(folder: Path) -> list[Path]:
    """List the music files in a folder and its subfolders, sorted; a file is listed alone.

    Raises:
        InputError: The path does not exist, or the folder contains no music files.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError("no such file or folder of scores", path=folder)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise InputError(f"no scores; expected {', '.join(SUFFIXES)}", path=folder)
    return files


def chorale_folder() -> Path:
    """Locate Bach's works in an installed music21, without importing it.

    Raises:
        MissingExtraError: music21 is not installed.
    """
    spec = find_spec("music21")
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "the chorales are part of music21, which is not installed; "
            "run pip install 'omr-toolkit[chorales]'"
        )
    return Path(spec.origin).parent / "corpus" / "bach"


def chorales(folder: Path) -> dict[Path, str]:
    """List the four-part chorales, sorted, with the :func:`pitch_hash` of each.

    Raises:
        InputError: The folder contains no chorales.
    """
    files = sorted(p for p in folder.glob("*") if p.suffix in (".mxl", ".xml"))
    texts = ((path, read(path)) for path in files)
    hashes = {path: pitch_hash(text) for path, text in texts if text.count("<score-part ") == 4}
    if not hashes:
        raise InputError("no chorales in this version of music21", path=folder)
    return hashes


def pitch_hash(music: str) -> str:
    """Hash the pitches of a piece, ignoring its title and layout."""
    pitches = _PITCH.findall(music)
    return hashlib.sha256(" ".join(pitches or [music]).encode()).hexdigest()


def read(path: Path) -> str:
    """Read a music file as text.

    Raises:
        InputError: The file or archive is damaged, contains no music, or is too large.
    """
    try:
        data = _unpacked(path) if path.suffix.lower() == ".mxl" else path.read_bytes()
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from error
    if len(data) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES >> 20} MB; not a score", path=path)
    try:
        text = _decoded(data)
        if text.lstrip().startswith("<"):
            etree.fromstring(text.encode(), _PARSER)
    except (UnicodeDecodeError, LookupError) as error:
        raise InputError(f"not text: {error}", path=path) from error
    except etree.XMLSyntaxError as error:  # verovio would use the intact part
        raise InputError(f"not XML, truncated or damaged: {error}", path=path) from error
    return text


def _unpacked(path: Path) -> bytes:
    """Extract the music from a compressed MusicXML file: the root file named by its container.

    Source: https://www.w3.org/2021/06/musicxml40/tutorial/compressed-mxl-files/
    """
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.lower().endswith((".xml", ".musicxml"))]
        files = [n for n in names if not n.startswith(("META-INF/", "__MACOSX/"))]
        if _CONTAINER in names:
            match = re.search(rb"full-path=[\"']([^\"']+)", archive.read(_CONTAINER))
            root_file = match[1].decode() if match else ""
            files = [root_file] if root_file in names else files
        if not files:
            raise InputError("archive contains no score", path=path)
        with archive.open(files[0]) as file:
            return file.read(MAX_BYTES + 1)  # the size in the archive's header may be wrong


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    declared = re.search(rb"encoding=[\"']([\w.-]+)", data[:200])
    return data.decode(declared[1].decode() if declared else "utf-8").removeprefix("\ufeff")
