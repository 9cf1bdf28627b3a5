"""PDF files that cannot be read."""

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
