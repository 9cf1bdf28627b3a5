"""Damaged images in PDF files, which PDFium draws in part, or not at all, without an error."""

import math
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import cv2

from converters.decoding import decode

_JPEG = "DCTDecode"
_JPEG_END = b"\xff\xd9"
"""End-of-image marker, which some programs omit."""
_UNREADABLE = frozenset({"JPXDecode", "JBIG2Decode"})
"""Filters whose damaged data PDFium does not decode at all."""
_FLATE = "FlateDecode"


def image_damage(page: Any) -> str:  # noqa: ANN401
    """Describe the first damaged image on a page of a PDF file.

    Args:
        page: Page, a ``PdfPage`` of the untyped pypdfium2.

    Returns:
        Damage; empty if all images are intact, as far as their data show.
    """
    from pypdfium2 import PdfiumError

    with suppress(PdfiumError):  # a page whose content cannot be listed
        for image in _images(page):
            if damage := _damage(image):
                return damage
    return ""


def _images(page: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the images of a page and of its annotations, such as stamps, each a ``PdfImage``."""
    from pypdfium2 import PdfObject, raw

    images = [raw.FPDF_PAGEOBJ_IMAGE]
    yield from page.get_objects(filter=images)
    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        try:
            for i in range(raw.FPDFAnnot_GetObjectCount(annotation)):
                drawn = PdfObject(raw.FPDFAnnot_GetObject(annotation, i), page=page)
                if drawn.type in images:
                    yield drawn
                elif drawn.type == raw.FPDF_PAGEOBJ_FORM:
                    yield from page.get_objects(filter=images, form=drawn, level=1)
        finally:
            raw.FPDFPage_CloseAnnot(annotation)


def _damage(image: Any) -> str:  # noqa: ANN401
    """Describe the damage of an image, a ``PdfImage``; empty if it is intact."""
    filters = image.get_filters()
    encoding = filters[-1] if filters else ""
    if encoding == _JPEG:
        return _jpeg_damage(bytes(image.get_data(decode_simple=True)))
    if encoding in _UNREADABLE:
        return "" if _is_drawable(image) else "data that cannot be decoded"
    size = image.get_metadata()
    data = bytes(image.get_data(decode_simple=True))
    is_plain = all(name == _FLATE for name in filters)
    is_short = is_plain and len(data) < math.ceil(size.width / 8) * size.height  # 1 bit per pixel
    is_cut = filters == [_FLATE] and _is_cut(bytes(image.get_data()), data, size.height)
    return "premature end of data" if is_cut or is_short else ""


def _jpeg_damage(data: bytes) -> str:
    if not data.rstrip().endswith(_JPEG_END):
        data += _JPEG_END
    _, damage = decode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    return damage


def _is_drawable(image: Any) -> bool:  # noqa: ANN401
    from pypdfium2 import PdfiumError

    try:
        image.get_bitmap()
    except PdfiumError:
        return False
    return True


def _is_cut(compressed: bytes, data: bytes, height: int) -> bool:
    """Check whether compressed samples end early.

    The checksum at the end is missing in files of some programs; then, the rows are complete.
    """
    decompressor = zlib.decompressobj()
    with suppress(zlib.error):  # damaged data end early as well
        decompressor.decompress(compressed)
    return not decompressor.eof and len(data) % height > 0
