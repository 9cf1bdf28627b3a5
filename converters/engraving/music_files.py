"""Reader for music files: MusicXML, MEI and Humdrum."""

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path

from lxml import etree

from class_maps import InputError, MissingExtraError
from converters.engraving import mxl

MAX_BYTES = 64 << 20
"""Largest size of a music file after decompression; a small archive can contain a huge file."""
ROOTS = {"mei", "music", "score-partwise"}
"""Root elements of MEI and MusicXML."""
_PITCH = re.compile(r'<(?:step|octave)>\w+|(?:pname|oct)="\w+"')
_EXCLUSIVE = re.compile(r"^\*\*", re.MULTILINE)
"""Exclusive interpretation, which names the contents of a spine of Humdrum."""
_SEGMENT = re.compile(r"^!!!!SEGMENT.*\n?", re.MULTILINE)
"""Record with the name of the file that the following lines were copied from. verovio discards what
comes after the second record, and crashes if no notes precede it."""
_DECLARATION = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml\s[^>]*?encoding\s*=\s*["']([\w.:-]+)""")


class _EmptyDtd(etree.Resolver):  # type: ignore[misc]
    """Replaces the DTD that a file names, which lxml would read when ids may be duplicates."""

    def resolve(self, _url: str, _public_id: str, context: object) -> object:
        """Return a DTD without declarations; lxml refuses an empty file."""
        return self.resolve_string("<!-- -->", context)


_PARSER = etree.XMLParser(  # like verovio, it accepts duplicate ids
    huge_tree=True, encoding="utf-8", resolve_entities=False, collect_ids=False
)
_PARSER.resolvers.add(_EmptyDtd())


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


def pitch_hash(*encodings: str) -> str:
    """Hash the pitches of a piece, ignoring its title and layout.

    Args:
        encodings: Texts of the piece; the first one with pitches is hashed, or else the last one
            as a whole. Pieces are comparable in one encoding only, such as verovio's MEI.
    """
    pitches = next(filter(None, map(_PITCH.findall, encodings)), [encodings[-1]])
    return hashlib.sha256(" ".join(pitches).encode()).hexdigest()


def n_notes(music: str) -> int | None:
    """Count the notes of a piece; None for Humdrum, whose notes are not counted."""
    if not _is_xml(music):
        return None
    notes = etree.fromstring(music.encode(), _PARSER).iter("{*}note")
    return sum(note.find("{*}rest") is None for note in notes)


def n_pieces(music: str) -> int:
    """Count the pieces of a Humdrum file, each of which begins with a line of ``**``; 1 for XML."""
    return 1 if _is_xml(music) else len(_EXCLUSIVE.findall(music))


def _is_xml(music: str) -> bool:
    return music.lstrip().startswith("<")


def read(path: Path) -> str:
    """Read a music file as text, without the records of Humdrum that divide it into segments.

    Raises:
        InputError: The file or archive is damaged, contains no music, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error}", path=path) from error
    if data.startswith(b"PK"):
        data = mxl.extract(path, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES >> 20} MB; not a score", path=path)
    if not data.strip():
        raise InputError("is empty", path=path)
    text = _decoded(data, path)
    if _is_xml(text):
        _check_xml(text, path)
        return text
    if not _EXCLUSIVE.search(text):
        raise InputError("neither XML nor Humdrum, whose spines begin with **", path=path)
    return _SEGMENT.sub("", text)


def _check_xml(text: str, path: Path) -> None:
    """Reject damaged XML, whose intact part verovio would use, and other kinds of documents."""
    try:
        root = etree.fromstring(text.encode(), _PARSER)
    except etree.XMLSyntaxError as error:
        raise InputError(f"not XML, truncated or damaged: {error}", path=path) from error
    name = etree.QName(root).localname
    if name == "score-timewise":
        raise InputError(
            "MusicXML of the type score-timewise; convert it to score-partwise first", path=path
        )
    if name not in ROOTS:
        raise InputError(f"neither MusicXML nor MEI; its root element is <{name}>", path=path)


def _decoded(data: bytes, path: Path) -> str:
    """Decode text by its byte order mark or XML declaration, by default as UTF-8."""
    if data[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        raise InputError("encoded in UTF-32; save it as UTF-8", path=path)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "UTF-16"
    elif data[:2].strip(b"\0") in (b"<", b"*", b"!"):
        reason = "encoded in UTF-16 without a byte order mark; save it as UTF-8"
        raise InputError(reason, path=path)
    else:
        declared = _DECLARATION.match(data)
        encoding = declared[1].decode() if declared else "UTF-8"
        if re.match("utf.?(16|32)|ucs", encoding, re.IGNORECASE):
            reason = f"declares the encoding {encoding}, but has another one; save it as UTF-8"
            raise InputError(reason, path=path)
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        reason = f"not {encoding}: byte 0x{data[error.start]:02x} in line {line}; save it as UTF-8"
        raise InputError(reason, path=path) from error
    except LookupError as error:
        reason = f"declares the unknown encoding {encoding!r}; save it as UTF-8"
        raise InputError(reason, path=path) from error
    if "\0" in text:
        raise InputError("not text: contains null characters", path=path)
    return text
