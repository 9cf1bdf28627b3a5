"""PDF files for tests."""

from collections.abc import Iterable
from io import BytesIO

import pypdfium2


def encrypted_pdf() -> bytes:
    """Return a PDF file with a password, made of the parts that a reader looks at first."""
    document = pypdfium2.PdfDocument.new()
    document.new_page(100, 100)
    buffer = BytesIO()
    document.save(buffer)
    plain = buffer.getvalue()
    key = (
        b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 "
        b"/O <" + b"61" * 32 + b"> /U <" + b"62" * 32 + b"> >> /ID [<61> <61>]"
    )
    return plain.replace(b"trailer\r\n<<", b"trailer\r\n<<" + key).replace(
        b"trailer\n<<", b"trailer\n<<" + key
    )


def pdf_of(objects: Iterable[bytes]) -> bytes:
    """Return a PDF file of the given objects, numbered from 1; the first is the catalogue."""
    text, offsets = b"%PDF-1.7\n", [b"0000000000 65535 f \n"]
    for i, content in enumerate(objects):
        offsets.append(b"%010d 00000 n \n" % len(text))
        text += b"%d 0 obj\n%s\nendobj\n" % (i + 1, content)
    n = len(offsets)
    table = b"xref\n0 %d\n%strailer\n<</Root 1 0 R/Size %d>>\n" % (n, b"".join(offsets), n)
    return text + table + b"startxref\n%d\n%%%%EOF\n" % len(text)
