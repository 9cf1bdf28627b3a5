import sys
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from pdf_files import encrypted_pdf, pdf_of
from PIL import Image

from class_maps import ConfigError, InputError, MissingExtraError
from reading.options import ImageOptions
from reading.page_images import PageFile, list_pages, read_image

LEVELS = (40, 120, 200)
AT_72_DPI = ImageOptions(dpi=72)


def page(level: int, width: int = 30, height: int = 20) -> Image.Image:
    return Image.new("L", (width, height), level)


def names(*sources: Path) -> list[str]:
    return [str(found.name) for found in list_pages(sources).pages]


def write_pages(path: Path) -> None:
    first, *others = (page(level) for level in LEVELS)
    first.save(path, save_all=True, append_images=others)


def test_files_and_folders_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.JPG", "a.webp", "b/.hidden.png", ".h/x.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "x.jp2").touch()
    assert names(tmp_path) == ["a.webp", "b/2.png", "b/10.JPG"]
    assert names(tmp_path / "b", tmp_path / "a.webp") == ["2.png", "10.JPG", "a.webp"]
    assert list_pages([tmp_path]).n_skipped == 1


@pytest.mark.parametrize("suffix", [".tif", ".pdf"])
def test_each_page_of_a_file_is_a_page(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"score{suffix}"
    write_pages(file)
    pages = list_pages([tmp_path]).pages
    assert [str(found.name) for found in pages] == ["score-1.png", "score-2.png", "score-3.png"]
    assert pages[1].where == f"{file}: page 2"
    for found, level in zip(pages, LEVELS, strict=True):
        pixels = read_image(found, AT_72_DPI)
        assert pixels.shape == (20, 30)
        assert np.abs(pixels.astype(int) - level).max() <= 2  # a PDF stores JPEG


def test_a_tiff_with_one_page_is_an_image(tmp_path: Path) -> None:
    page(50).save(tmp_path / "a.tif")
    assert list_pages([tmp_path]).pages == (
        PageFile(name=PurePosixPath("a.tif"), path=tmp_path / "a.tif"),
    )


def test_wide_samples_of_a_later_page(tmp_path: Path) -> None:
    wide = Image.fromarray(np.full((20, 30), 40 * 257, np.uint16))
    page(255).save(tmp_path / "a.tif", save_all=True, append_images=[wide])
    assert (read_image(list_pages([tmp_path]).pages[1], AT_72_DPI) == 40).all()


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pages_of_a_tiff_are_read_upright(
    orientation: int, compression: str | None, tmp_path: Path
) -> None:
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3)
    columns_first = upright.T if orientation >= 5 else upright
    flips: dict[int, Any] = {
        2: np.s_[:, ::-1],
        3: np.s_[::-1, ::-1],
        4: np.s_[::-1],
        6: np.s_[::-1],
    }
    flips |= {7: np.s_[::-1, ::-1], 8: np.s_[:, ::-1]}
    stored = Image.fromarray(columns_first[flips.get(orientation, np.s_[:])].copy())
    tags, file = {274: orientation}, tmp_path / "a.tif"
    stored.save(file, save_all=True, append_images=[stored], compression=compression, tiffinfo=tags)
    for found in list_pages([file]).pages:
        assert read_image(found, AT_72_DPI).tolist() == upright.tolist()


def test_the_limit_on_pixels_applies_to_each_page_of_a_tiff(tmp_path: Path) -> None:
    page(255).save(tmp_path / "a.tif", save_all=True, append_images=[page(255, 60, 40)])
    first, second = list_pages([tmp_path / "a.tif"]).pages
    options = ImageOptions(dpi=72, max_pixels=600)
    assert read_image(first, options).shape == (20, 30)
    with pytest.raises(InputError, match="has 60 x 40 px, more than --max-pixels 600; reduce its"):
        read_image(second, options)


@pytest.mark.parametrize(("dpi", "size"), [(72, (30, 20)), (300, (125, 83))])
def test_a_pdf_is_drawn_in_a_resolution(dpi: int, size: tuple[int, int], tmp_path: Path) -> None:
    page(50).save(tmp_path / "a.pdf", resolution=72)
    [found] = list_pages([tmp_path / "a.pdf"]).pages
    height, width = read_image(found, ImageOptions(dpi=dpi)).shape[:2]
    assert (width, height) == pytest.approx(size, abs=1)


@pytest.mark.parametrize("width", range(1240, 1250))
def test_a_scan_in_a_pdf_is_drawn_pixel_by_pixel(width: int, tmp_path: Path) -> None:
    stripes = np.tile(np.array([[0, 255]], np.uint8), (40, width))[:, :width]
    Image.fromarray(stripes).convert("1").save(tmp_path / "a.pdf", resolution=300)
    [found] = list_pages([tmp_path / "a.pdf"]).pages
    np.testing.assert_array_equal(read_image(found, ImageOptions(dpi=300)), stripes)


def test_a_coloured_pdf_keeps_its_colours(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (250, 10, 10)).save(tmp_path / "a.pdf", resolution=72)
    [found] = list_pages([tmp_path]).pages
    assert np.abs(read_image(found, AT_72_DPI).astype(int) - [10, 10, 250]).max() <= 6, "BGR"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is damaged or not a PDF file"),
        (b"%PDF-1.4 nonsense", "is damaged or not a PDF file"),
        (b"\x89PNG", "is damaged or not a PDF file"),
        (encrypted_pdf(), "needs a password; save it without one"),
    ],
)
def test_a_pdf_that_cannot_be_opened_is_a_failure(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(content)
    page(50).save(tmp_path / "b.png")
    listed = list_pages([tmp_path])
    assert [str(found.name) for found in listed.pages] == ["b.png"]
    assert listed.failures == {str(tmp_path / "a.pdf"): reason}


def test_without_pypdfium2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page(50).save(tmp_path / "a.pdf")
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(MissingExtraError) as raised:
        list_pages([tmp_path])
    assert str(raised.value) == (
        f"{tmp_path}/a.pdf: PDF files need pypdfium2, which is not installed; run pip install "
        "'omr-toolkit[pdf]'"
    )


def test_sources_without_pages(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for sources, message in (
        ([tmp_path], f"{tmp_path}: contains no images and no PDF files"),
        ([tmp_path / "gone"], f"{tmp_path}/gone: no such file or folder"),
        (
            [tmp_path / "notes.txt"],
            f"{tmp_path}/notes.txt: not a page; expected .bmp, .jpeg, .jpg, .png, .tif, .tiff, "
            ".webp, .pdf or a folder",
        ),
    ):
        with pytest.raises(ConfigError) as raised:
            list_pages(sources)
        assert str(raised.value) == message


@pytest.mark.parametrize("other", ["a/p.jpg", "a/P.png", "b/p.png"])
def test_two_pages_of_one_name_are_refused(other: str, tmp_path: Path) -> None:
    for name in ("a/p.png", other):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        page(50).save(tmp_path / name)
    first, second = sorted([tmp_path / "a/p.png", tmp_path / other])
    with pytest.raises(ConfigError) as raised:
        list_pages([tmp_path / "a", *([tmp_path / "b"] if other.startswith("b") else [])])
    assert str(raised.value) == (
        f"{first} and {second}: output files of both would be called p; rename one of the pages, or "
        "read them with separate commands"
    )


@pytest.mark.parametrize(
    ("suffix", "remedy"), [(".png", "reduce its resolution"), (".pdf", "use a lower --dpi")]
)
def test_a_page_that_is_too_large_is_not_decoded(suffix: str, remedy: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{suffix}"
    page(50, 400, 300).save(file)
    [found] = list_pages([file]).pages
    with pytest.raises(InputError) as raised:
        read_image(found, ImageOptions(dpi=72, max_pixels=119_999))
    assert str(raised.value) == (
        f"{file}: has 400 x 300 px, more than --max-pixels 119,999; {remedy}, or raise the limit"
    )
    assert read_image(found, ImageOptions(dpi=72, max_pixels=120_000)).shape == (300, 400)


def test_a_truncated_page_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (200, 200), np.uint8))
    noise.save(tmp_path / "a.png")
    noise.save(tmp_path / "b.tif", save_all=True, append_images=[noise])
    for name in ("a.png", "b.tif"):
        data = (tmp_path / name).read_bytes()
        [*pages] = list_pages([tmp_path / name]).pages
        cut = data[: len(data) // 2] if name == "a.png" else data[:8000] + bytes(len(data) - 8000)
        (tmp_path / name).write_bytes(cut)
        with pytest.raises(InputError, match=f"^{tmp_path}/{name}: "):
            read_image(pages[-1], AT_72_DPI)


def test_a_damaged_page_of_a_pdf_is_refused(tmp_path: Path) -> None:
    write_pages(tmp_path / "a.pdf")
    pages = list_pages([tmp_path]).pages
    with pytest.raises(InputError) as raised:  # PDFium fails as for a page that is damaged
        read_image(replace(pages[-1], index=7), AT_72_DPI)
    assert str(raised.value) == f"{tmp_path}/a.pdf: page 8: is damaged"


def test_the_content_of_form_fields_is_drawn(tmp_path: Path) -> None:
    """A page of 30 x 20 points whose only ink, of 30 x 10, is the appearance of a button."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]>>>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 30 20]/Annots[4 0 R]>>",
        b"<</Type/Annot/Subtype/Widget/FT/Btn/Ff 65536/T(a)/F 4/Rect[0 0 30 10]/AP<</N 5 0 R>>>>",
        b"<</Type/XObject/Subtype/Form/BBox[0 0 30 10]/Length 23>>stream\n"
        b"0 0 0 rg 0 0 30 10 re f\nendstream",
    ]
    (tmp_path / "a.pdf").write_bytes(pdf_of(objects))
    [listed] = list_pages([tmp_path / "a.pdf"]).pages
    pixels = read_image(listed, AT_72_DPI)
    assert pixels.shape == (20, 30)
    assert pixels[:9].min() == 255
    assert pixels[11:].max() == 0


NOISE = np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8)


def encoded(image_format: str) -> bytes:
    """Return the noise in an image format."""
    buffer = BytesIO()
    Image.fromarray(NOISE).save(buffer, image_format)
    return buffer.getvalue()


def scan_in_pdf(data: bytes, encoding: bytes, *, is_stamp: bool = False) -> bytes:
    """Return a PDF file whose page is a form with an image, 60 x 40 px, one point per pixel.

    Args:
        data: Encoded image.
        encoding: Entry of the image's dictionary that names the encoding.
        is_stamp: Whether the form is the appearance of a stamp, instead of the page's content.
    """
    form = b"/Contents 4 0 R/Resources<</XObject<</F 5 0 R>>>>"
    if is_stamp:
        form = b"/Annots[<</Type/Annot/Subtype/Stamp/F 4/Rect[0 0 60 40]/AP<</N 5 0 R>>>>]"
    stream = b"/Length %d>>stream\n%s\nendstream"
    draw, paint = b"60 0 0 40 0 0 cm /I Do", b"/F Do"
    image = b"/Subtype/Image/Width 60/Height 40/ColorSpace/DeviceGray/BitsPerComponent 8"
    return pdf_of(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 60 40]" + form + b">>",
            b"<<" + stream % (len(paint), paint),
            b"<</Type/XObject/Subtype/Form/BBox[0 0 60 40]/Resources<</XObject<</I 6 0 R>>>>"
            + stream % (len(draw), draw),
            b"<</Type/XObject" + image + encoding + stream % (len(data), data),
        ]
    )


JPEG, FLATE, JPX = b"/Filter/DCTDecode", b"/Filter/FlateDecode", b"/Filter/JPXDecode"


@pytest.mark.parametrize("is_stamp", [False, True])
@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (encoded("JPEG"), JPEG),
        (encoded("JPEG")[:-2] + b"\r\n", JPEG),  # without the marker of the end
        (encoded("JPEG2000"), JPX),
        (zlib.compress(NOISE.tobytes()), FLATE),
        (zlib.compress(NOISE.tobytes())[:-4], FLATE),  # without the checksum
        (NOISE.tobytes(), b""),
    ],
)
def test_intact_images_in_a_pdf_are_read(
    data: bytes, encoding: bytes, is_stamp: bool, tmp_path: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(scan_in_pdf(data, encoding, is_stamp=is_stamp))
    [listed] = list_pages([tmp_path / "a.pdf"]).pages
    pixels = read_image(listed, AT_72_DPI)
    assert pixels.shape == NOISE.shape
    assert np.abs(pixels.astype(int) - NOISE).mean() < 12  # JPEG


@pytest.mark.parametrize("is_stamp", [False, True])
@pytest.mark.parametrize(
    ("data", "encoding", "damage"),
    [
        (encoded("JPEG"), JPEG, "Corrupt JPEG data: premature end of data segment"),
        (encoded("JPEG2000"), JPX, "data that cannot be decoded"),
        (zlib.compress(NOISE.tobytes()), FLATE, "premature end of data"),
        (NOISE.tobytes()[:600], b"", "premature end of data"),
    ],
)
def test_truncated_images_in_a_pdf_are_refused(
    data: bytes, encoding: bytes, damage: str, is_stamp: bool, tmp_path: Path
) -> None:
    file = scan_in_pdf(data[: len(data) // 2], encoding, is_stamp=is_stamp)
    (tmp_path / "a.pdf").write_bytes(file)
    [listed] = list_pages([tmp_path / "a.pdf"]).pages
    with pytest.raises(InputError) as raised:
        read_image(listed, AT_72_DPI)
    assert str(raised.value) == (
        f"{tmp_path}/a.pdf: page 1: contains an image that is damaged or truncated: {damage}"
    )
