"""XML annotation files: their roots, and a parser that is safe for files from anywhere.

Files with a document type declaration are refused, and with it entities and references to other
files. Only the named fields of one symbol at a time are kept in memory.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from class_maps import InputError, shortened
from converters.formats.image_folders import files_in

MAX_BYTES = 64 << 20
"""Largest size of a file; a page of MUSCIMA++ with the masks of all symbols takes up to 4 MB."""
MAX_TAG = 1 << 20
"""Largest length of a tag or comment in bytes."""
MAX_DEPTH = 64
MAX_TEXT = 4096
"""Largest length of a field in characters."""
SUFFIX = ".xml"
_CHUNK = 1 << 16
_NAME, _VALUE = "name", "value"
"""Tags in elements that name a field."""


class Element(NamedTuple):
    """An element that begins, or a symbol that is complete."""

    tag: str
    attributes: Mapping[str, str]
    line: int
    """Line in which the element begins, from 1."""
    fields: Mapping[str, str] | None
    """Text of each field of a symbol, stripped; None for an element that begins."""


def xml_files(path: Path) -> list[Path]:
    """List an XML file, or the XML files in a folder and its subfolders, sorted by path.

    Raises:
        InputError: A folder cannot be read.
    """
    if path.is_file():
        return [path] if path.suffix.lower() == SUFFIX else []
    return sorted(file for file in files_in(path) if file.suffix.lower() == SUFFIX)


def root_of(file: Path) -> Element | None:
    """Read the root element of a file, once for all formats that are tried.

    Returns:
        The root, even if the file is damaged after it; None if the file is not XML, or has a
        document type declaration.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=file) from error
    return _root(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1 << 14)
def _root(file: Path, _modified_ns: int, _size: int) -> Element | None:
    parser = _Parser(file, (), (), (), ())
    with (
        suppress(InputError, expat.ExpatError, ValueError, LookupError),
        file.open("rb") as content,
    ):
        parser.expat.Parse(content.read(_CHUNK))
    return next(iter(parser.take()), None)


def elements(
    file: Path,
    symbols: Collection[str],
    fields: Collection[str],
    starts: Collection[str] = (),
    header: Collection[str] = (),
    named: str = "",
) -> Iterator[Element]:
    """Parse a file and yield its root, and then some of its elements in the order of the file.

    Args:
        file: File to parse.
        symbols: Tags of elements to yield when they are complete.
        fields: Paths of the fields of symbols, relative to the symbol: ``bndbox/xmin``.
        starts: Tags of elements to yield when they begin.
        header: Paths of the fields outside of symbols, relative to the root: ``size/width``. If
            there are any, the root is yielded once more at the end, with these fields.
        named: Path of elements that contain a ``name`` and a ``value``, relative to the symbol:
            ``attributes/attribute``. The value becomes the field ``attributes/attribute/NAME``.

    Raises:
        InputError: The file cannot be read, is too large, is not well-formed, or has a document
            type declaration.
    """
    parser = _Parser(file, symbols, fields, starts, header, named)
    try:
        _check_bytes(file)
        with file.open("rb") as content:
            while chunk := content.read(_CHUNK):
                parser.expat.Parse(chunk)
                _check_tag(content.tell() - parser.expat.CurrentByteIndex, parser, file)
                yield from parser.take()
            parser.expat.Parse(b"", True)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=file) from error
    except expat.ExpatError as error:
        where, reason = f"line {error.lineno}", expat.ErrorString(error.code)
        raise InputError(_problem(file, reason), path=file, where=where) from error
    except (LookupError, ValueError) as error:  # the declared encoding
        raise InputError(f"{shortened(str(error))}; save it as UTF-8", path=file) from error
    yield from parser.take()


def _check_tag(n_pending: int, parser: "_Parser", file: Path) -> None:
    """Reject a long tag or comment, which expat would read again with each chunk of the file."""
    if n_pending > MAX_TAG:
        where = f"line {parser.expat.CurrentLineNumber}"
        reason = f"a tag or comment is longer than {MAX_TAG >> 20} MB"
        raise InputError(reason, path=file, where=where)


def _check_bytes(file: Path) -> None:
    if file.stat().st_size > MAX_BYTES:
        raise InputError(
            f"is larger than {MAX_BYTES >> 20} MB; expected the annotations of a page or piece",
            path=file,
        )


class _Parser:
    """Collects elements while expat parses a file.

    Args:
        file: File to parse.
        symbols: Tags of elements to collect with their fields.
        fields: Paths of these fields.
        starts: Tags of elements to collect when they begin.
        header: Paths of fields outside of symbols.
        named: Path of elements with a name and a value, relative to the symbol.
    """

    def __init__(
        self,
        file: Path,
        symbols: Collection[str],
        fields: Collection[str],
        starts: Collection[str],
        header: Collection[str],
        named: str = "",
    ) -> None:
        self._file, self._symbols, self._fields, self._starts = file, symbols, fields, starts
        self._header_fields, self._header = header, dict[str, str]()
        self._named = named
        self._name, self._value = f"{named}/{_NAME}", f"{named}/{_VALUE}"
        if named:
            self._fields = {*fields, self._name, self._value}
        self._path: list[str] = []
        self._elements: list[Element] = []
        self._symbol: tuple[int, Element] | None = None
        self._texts: dict[str, str] = {}
        self._field = ""
        self.expat = expat.ParserCreate()
        self.expat.buffer_text = True
        self.expat.StartElementHandler = self._start
        self.expat.EndElementHandler = self._end
        self.expat.StartDoctypeDeclHandler = self._refuse_doctype

    def take(self) -> list[Element]:
        """Return the elements that were collected since the last call."""
        elements, self._elements = self._elements, []
        return elements

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        line = self.expat.CurrentLineNumber
        if len(self._path) == MAX_DEPTH:
            raise InputError("is nested too deeply", path=self._file, where=f"line {line}")
        if not self._path or tag in self._starts:
            self._elements.append(Element(tag, attributes, line, None))
        self._path.append(tag)
        if self._symbol is None and tag in self._symbols:
            self._texts = {}
            self._symbol = len(self._path), Element(tag, attributes, line, self._texts)
        elif self._symbol is not None:
            self._open(self._in_symbol(), line, self._fields)
        elif self._header_fields:
            self._texts = self._header
            self._open("/".join(self._path[1:]), line, self._header_fields)

    def _in_symbol(self) -> str:
        """Return the path of the current element relative to its symbol; empty outside of one."""
        return "/".join(self._path[self._symbol[0] :]) if self._symbol is not None else ""

    def _open(self, field: str, line: int, wanted: Collection[str]) -> None:
        """Begin to collect the text of a field, if it is a wanted one."""
        if field not in wanted:
            return
        if field in self._texts:
            raise InputError(f"duplicate {field}", path=self._file, where=f"line {line}")
        self._texts[field], self._field = "", field
        self.expat.CharacterDataHandler = self._text

    def _text(self, text: str) -> None:
        self._texts[self._field] += text
        if len(self._texts[self._field]) > MAX_TEXT:
            raise InputError(
                f"{self._field} is longer than {MAX_TEXT} characters",
                path=self._file,
                where=f"line {self.expat.CurrentLineNumber}",
            )

    def _end(self, tag: str) -> None:
        if self._field:
            self._texts[self._field] = self._texts[self._field].strip()
            self._field, self.expat.CharacterDataHandler = "", None
        if self._named and self._in_symbol() == self._named:
            name, value = (self._texts.pop(field, "") for field in (self._name, self._value))
            self._texts[f"{self._named}/{name}"] = value
        if self._symbol is not None and len(self._path) == self._symbol[0]:
            self._elements.append(self._symbol[1])
            self._symbol = None
        self._path.pop()
        if not self._path and self._header_fields:
            line = self.expat.CurrentLineNumber
            self._elements.append(Element(tag, {}, line, self._header))

    def _refuse_doctype(self, *_args: object) -> None:
        raise InputError(
            "has a document type declaration, with which a file can exhaust memory or name other "
            "files; remove <!DOCTYPE ...>",
            path=self._file,
            where=f"line {self.expat.CurrentLineNumber}",
        )


def _problem(file: Path, reason: str) -> str:
    """Describe why a file is not well-formed."""
    if reason == "no element found":
        return "is empty or incomplete; export it again"
    content = file.read_bytes()
    if not content.startswith((b"\xff\xfe", b"\xfe\xff")) and b"encoding" not in content[:128]:
        content = b"<?xml encoding='utf-8'" + content
    if b"utf-8" in content[:128].lower() and not _is_utf8(content):
        return "is not UTF-8 text; save it as UTF-8"
    return f"is not well-formed XML: {reason}; export it again"


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
