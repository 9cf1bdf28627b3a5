"""XML files that could hang, exhaust memory, or make omr read other files."""

from pathlib import Path

import pytest

from class_maps import InputError
from converters.formats import xml_files
from converters.formats.xml_files import elements, root_of

BOMB = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
DTD = "has a document type declaration, with which a file can exhaust memory or name other files; remove <!DOCTYPE ...>"


def parsed(file: Path) -> list[tuple[str, int, dict[str, str] | None]]:
    found = elements(file, {"Node"}, {"Id", "box/left"}, {"Page"})
    return [(e.tag, e.line, None if e.fields is None else dict(e.fields)) for e in found]


def test_fields_of_symbols_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.xml"
    file.write_text(
        "<?xml version='1.0'?><!-- a --><Pages>\n<Page n='1'><Node/>\n"
        "<Node><Id> a&amp;<![CDATA[b]]> </Id><Left>1</Left><box><left>2</left></box></Node></Page>"
        "<Id>0</Id><left/></Pages>"
    )
    assert parsed(file) == [
        ("Pages", 1, None),
        ("Page", 2, None),
        ("Node", 2, {}),
        ("Node", 3, {"Id": "a&b", "box/left": "2"}),
    ]
    root = root_of(file)
    assert root is not None
    assert (root.tag, root.attributes) == ("Pages", {})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "a.xml"
    text = f"<?xml version='1.0' encoding='{encoding}'?><a><Node><Id>é</Id></Node></a>"
    file.write_bytes(text.encode(encoding))
    assert parsed(file)[1:] == [("Node", 1, {"Id": "é"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: is empty or incomplete; export it again"),
        ("<a><Node>\n<Id>1</Id>", "line 2: is empty or incomplete; export it again"),
        ("text", "line 1: is not well-formed XML: syntax error; export it again"),
        ("<a>\n</b>", "line 2: is not well-formed XML: mismatched tag; export it again"),
        ("<a>&x;</a>", "line 1: is not well-formed XML: undefined entity; export it again"),
        (b"<a>\n\xff\xfe</a>", "line 2: is not UTF-8 text; save it as UTF-8"),
        ("<?xml version='1.0' encoding='klingon'?><a/>", "unknown encoding: klingon; save it as UTF-8"),
        (f'<!DOCTYPE a [<!ENTITY e0 "e">{BOMB}]><a b="&e9;">&e9;</a>', f"line 1: {DTD}"),
        ('\n<!DOCTYPE a [<!ENTITY e SYSTEM "secret">]><a>&e;</a>', f"line 2: {DTD}"),
        ('<!DOCTYPE a SYSTEM "a.dtd"><a>&e;</a>', f"line 1: {DTD}"),
        ('<!DOCTYPE a [<!ENTITY % p SYSTEM "a.dtd"> %p;]><a>&e;</a>', f"line 1: {DTD}"),
        ("<a>" * 65, "line 1: is nested too deeply"),
        ("<a><Node><Id>1</Id>\n<Id>1</Id></Node></a>", "line 2: duplicate Id"),
        ("<a><Node><Id>" + "1" * 5000 + "</Id></Node></a>", "line 1: Id is longer than 4096 characters"),
    ],
)  # fmt: skip
def test_files_are_refused(content: str | bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.xml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "a.dtd").write_text('<!ENTITY e "secret">')
    with pytest.raises(InputError) as raised:
        parsed(file)
    assert str(raised.value) == f"{file}: {message}"


def test_large_files_are_refused_without_reading_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.xml"
    with file.open("wb") as content:
        content.truncate(100 << 20)
    monkeypatch.setattr(xml_files, "_CHUNK", None)
    with pytest.raises(InputError) as raised:
        parsed(file)
    expected = "is larger than 64 MB; expected the annotations of a page or piece"
    assert str(raised.value) == f"{file}: {expected}"


def test_the_root_of_a_damaged_file_is_known(tmp_path: Path) -> None:
    file = tmp_path / "a.xml"
    file.write_bytes(b"<Nodes a='1'>\xff")
    root = root_of(file)
    assert root is not None
    assert (root.tag, root.attributes) == ("Nodes", {"a": "1"})
    file.write_bytes(b"<!DOCTYPE Nodes><Nodes/>")
    assert root_of(file) is None


def test_a_tag_that_would_be_read_again_with_each_chunk(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text('<Nodes a="' + "x" * (3 << 20) + '"/>')
    with pytest.raises(InputError) as raised:
        list(elements(path, {"Node"}, {"Id"}))
    assert str(raised.value) == f"{path}: line 1: a tag or comment is longer than 1 MB"
