"""Documents of MuNG, the XML format of MUSCIMA++ and DoReMi: the nodes of a page.

MUSCIMA++ 1.0 has a ``CropObjectList`` per page, 2.0 and 2.1 have ``Nodes``. DoReMi has a ``Page``
per file, or the ``Pages`` of a piece. Boxes are true widths and heights in pixels; masks are not
read. See https://github.com/OMR-Research/mung.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from class_maps import InputError, shown
from converters.formats.xml_files import Element, elements, root_of

MUSCIMA, DOREMI, MUNG = "muscima", "doremi", "mung"
V1, V2, PAGES, PAGE = "CropObjectList", "Nodes", "Pages", "Page"
"""Root elements."""
HALF_OR_WHOLE = "notehead-empty"
"""Class of MUSCIMA++ 1.0 that 2.0 splits: noteheads with a stem are half notes."""
MAX_PAGES = 2_000
"""Most pages in a file; the longest piece of DoReMi has some hundreds."""

_SYMBOLS = {"CropObject", "Node"}
_SIDES = ("Left", "Top", "Width", "Height")
_NAMES = ("ClassName", "MLClassName")
_FIELDS = {"Id", "Outlinks", *_NAMES, *_SIDES}
_MUSCIMA_FILE = "CVC-MUSCIMA_"
"""Start of the names of the files of MUSCIMA++."""
_UNIQUE_ID = re.compile(r"(?s)(.+?)___(?P<document>.+)___\d+")
"""Id of a node in MUSCIMA++ 1.0: data set, document and number."""
_DOREMI_PAGE = re.compile(r"Parsed_(?P<piece>.+)-layout-\d+-muscima_Page_(?P<page>\d+)")
_DOREMI_PIECE = re.compile(r"(?P<piece>.+)-layout-\d+-muscima")


@dataclass(kw_only=True, slots=True)
class Document:
    """The nodes of one page, in the order of the file."""

    name: str
    """Name of the image without suffix."""
    where: str = ""
    """Location in a file with several pages."""
    work: str = ""
    """Piece that the page belongs to, if its data set is divided into pieces."""
    names: list[str] = field(default_factory=list)
    """Class of each node."""
    boxes_xywh: list[tuple[float, ...]] = field(default_factory=list)
    """Left, top, width and height of each node in pixels."""
    places: list[str] = field(default_factory=list)
    """Location of each node in the file, for error messages."""
    ids: dict[str, int] = field(default_factory=dict)
    """Index of the first node with an id."""
    links: list[frozenset[str]] = field(default_factory=list)
    """Ids to which each node has links."""

    def names_of_release_2(self) -> list[str]:
        """Return the classes with empty noteheads divided into half and whole notes.

        Noteheads are divided as in MUSCIMA++ 2.0, by their links to stems; without any links in the
        document, they keep their class.
        """
        if HALF_OR_WHOLE not in self.names or not any(self.links):
            return self.names
        stems = {id_ for id_, i in self.ids.items() if self.names[i] == "stem"}
        heads = {True: "noteheadHalf", False: "noteheadWhole"}
        return [
            heads[bool(links & stems)] if name == HALF_OR_WHOLE else name
            for name, links in zip(self.names, self.links, strict=True)
        ]


def kind_of(file: Path) -> str | None:
    """Return the data set that an XML file belongs to: muscima, doremi, or mung for any other.

    Returns:
        None for files that are not MuNG.

    Raises:
        InputError: The file cannot be read.
    """
    root = root_of(file)
    if root is None:
        return None
    if root.tag == PAGES or (root.tag == PAGE and "pageIndex" in root.attributes):
        return DOREMI
    if root.tag == V1:
        return MUSCIMA
    if root.tag == V2:
        data_set = root.attributes.get("dataset", "")
        is_muscima = data_set.startswith("MUSCIMA") or file.name.startswith(_MUSCIMA_FILE)
        return MUSCIMA if is_muscima else MUNG
    return None


def is_page_of_doremi(file: Path) -> bool:
    """Check whether the name of a file is that of a page of DoReMi, rather than of a piece."""
    return _DOREMI_PAGE.fullmatch(file.stem) is not None


def read_documents(file: Path) -> list[Document]:
    """Read the documents of a file.

    Raises:
        InputError: The file is malformed, or a node is incomplete or invalid.
    """
    documents: list[Document] = []
    for element in elements(file, _SYMBOLS, _FIELDS, {PAGE}):
        if element.fields is None:
            documents += _begun(element, file)
            if len(documents) > MAX_PAGES:
                reason = f"more than {MAX_PAGES:,} pages; expected those of a piece"
                raise InputError(reason, path=file, where=f"line {element.line}")
        elif not documents:
            where = f"line {element.line}"
            raise InputError("node outside of a page", path=file, where=where)
        else:
            _add(documents[-1], element, file)
    return documents


def _begun(element: Element, file: Path) -> Iterator[Document]:
    """Yield the document that begins with an element, if one does."""
    if element.tag == PAGE:
        yield _page(element, file)
    elif element.tag in {V1, V2}:
        yield Document(name=_document(element.attributes.get("document", "")))
    elif element.tag != PAGES:
        reason = f"the root is {element.tag}; expected {V1}, {V2}, {PAGE} or {PAGES}"
        raise InputError(reason, path=file)


def _document(name: str) -> str:
    """Return the name of a document; empty for the placeholder that the mung package writes."""
    return "" if name.startswith("MUSCIMA_DEFAULT_") else name.strip()


def _page(element: Element, file: Path) -> Document:
    """Begin a page of DoReMi, whose image is numbered from 1 and the index from 0."""
    where = f"line {element.line}"
    if match := _DOREMI_PAGE.fullmatch(file.stem):
        piece, number = match["piece"], int(match["page"])
    else:
        match = _DOREMI_PIECE.fullmatch(file.stem)
        piece, index = match["piece"] if match else file.stem, element.attributes.get("pageIndex")
        if index is None or not re.fullmatch("[0-9]{1,6}", index):
            reason = f"pageIndex: expected a whole number, got {shown(index)}"
            raise InputError(reason, path=file, where=where)
        number = int(index) + 1
    return Document(name=f"{piece}-{number:03}", where=where, work=piece)


def _add(document: Document, element: Element, file: Path) -> None:
    """Add a node to a document.

    Raises:
        InputError: The node is incomplete or invalid.
    """
    fields = element.fields or {}
    id_ = fields.get("Id", "")
    where = f"line {element.line}" + (f", node {shown(id_)[1:-1]}" if id_ else "")
    name = next(filter(None, map(fields.get, _NAMES)), "")
    texts = {"Id": id_, "ClassName": name} | {side: fields.get(side, "") for side in _SIDES}
    if missing := [key for key, text in texts.items() if not text]:
        raise InputError(f"missing {missing[0]}", path=file, where=where)
    box_xywh = tuple(_number(fields[side], side, file, where) for side in _SIDES)
    for side, length in zip(("Width", "Height"), box_xywh[2:], strict=True):
        if length < 0:
            reason = f"{side} {length:g}; expected at least 0"
            raise InputError(reason, path=file, where=where)
    first = document.ids.setdefault(id_, len(document.names))
    if first < len(document.names) and (name, box_xywh) != (
        document.names[first],
        document.boxes_xywh[first],
    ):
        raise InputError(
            f"duplicate id, first in {document.places[first].partition(',')[0]}; give one of the "
            "nodes another id",
            path=file,
            where=where,
        )
    if not document.name and (match := _UNIQUE_ID.fullmatch(_unique_id(element))):
        document.name = _document(match["document"])
    document.names.append(name)
    document.boxes_xywh.append(box_xywh)
    document.places.append(where)
    document.links.append(frozenset(fields.get("Outlinks", "").split()))


def _unique_id(element: Element) -> str:
    return element.attributes.get("xml:id") or element.attributes.get("id", "")


def _number(text: str, side: str, file: Path, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        reason = f"{side}: expected a number of pixels, got {shown(text)}"
        raise InputError(reason, path=file, where=where)
    return value
