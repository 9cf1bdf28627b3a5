import math
import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from class_maps import InputError
from converters import image_headers, images
from converters.images import Pixels
from training.runtime.offline import block_network

GREY: Pixels = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)


def read_by_ultralytics(path: Path) -> Pixels:
    block_network()  # its import replaces Pillow's function that opens images
    from ultralytics.utils.patches import imread

    return np.asarray(imread(path), np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_greyscale_round_trip(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(GREY).save(path)
    np.testing.assert_array_equal(images.read(path), GREY)


def test_one_pixel(tmp_path: Path) -> None:
    images.write(np.full((1, 1), 7, np.uint8), tmp_path / "a.png")
    assert images.read(tmp_path / "a.png").tolist() == [[7]]


def test_grey_colour_images_become_greyscale(tmp_path: Path) -> None:
    Image.fromarray(np.stack([GREY] * 3, axis=2)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(images.read(tmp_path / "a.png"), GREY)


def test_colour_is_kept(tmp_path: Path) -> None:
    rgb = np.stack([GREY, GREY, 255 - GREY], axis=2)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    np.testing.assert_array_equal(images.read(tmp_path / "a.png"), rgb[..., ::-1])


def test_transparency_becomes_white(tmp_path: Path) -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)  # black everywhere, but opaque in one corner only
    rgba[0, 0, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert images.read(tmp_path / "a.png").tolist() == [[0, 255], [255, 255]]
    images.copy(tmp_path / "a.png", tmp_path / "b.png")
    copied = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_GRAYSCALE)
    assert copied is not None
    assert copied.tolist() == [[0, 255], [255, 255]]


def test_opaque_images_are_copied_byte_for_byte(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    images.copy(tmp_path / "a.png", tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_sixteen_bits_and_one_bit(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), GREY.astype(np.uint16) * 257)
    np.testing.assert_array_equal(images.read(tmp_path / "a.png"), GREY)
    Image.fromarray(GREY > 99).save(tmp_path / "b.png")
    np.testing.assert_array_equal(images.read(tmp_path / "b.png"), (GREY > 99) * 255)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_truncated_image_is_rejected(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=f"a{suffix}: is damaged or truncated: "):
        images.read(path)


def test_files_that_are_not_images(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(InputError) as raised:
        image_headers.check_size(path, 1, 1)
    assert str(raised.value) == (
        f"{path}: no such image; name the folder of the images with --image-folder, or use "
        "--labels-only to convert without images"
    )
    (tmp_path / "A.PNG").touch()
    with pytest.raises(InputError) as raised:
        image_headers.check_size(path, 1, 1)
    assert str(raised.value) == (
        f"{path}: no such image; A.PNG differs from it only in letter case; rename it"
    )
    path.write_text("no image")
    with pytest.raises(InputError) as raised:
        image_headers.check_size(path, 1, 1)
    assert str(raised.value) == f"{path}: is damaged or not an image in a supported format"


def test_an_image_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    images.write(GREY, path)
    image_headers.check_size(path, 20, 12)
    with pytest.raises(InputError) as raised:
        image_headers.check_size(path, 12, 20)
    assert str(raised.value) == f"{path}: is 20 x 12 px, but its labels are for 12 x 20 px"


def test_scaling_averages() -> None:
    checks: Pixels = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (4, 4))
    assert np.unique(images.scaled(checks, 4, 4)).tolist() in ([127], [128])
    assert images.scaled(checks, 16, 16).shape == (16, 16)


def shown_by_opencv(path: Path, flags: int = cv2.IMREAD_COLOR) -> Pixels:
    """Decode bytes as Ultralytics does; OpenCV cannot read rotated TIFFs from files."""
    shown = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    assert shown is not None
    return shown.astype(np.uint8)


def turned(path: Path, orientation: int, exif: bytes | None = None) -> Pixels:
    """Write an image with an EXIF orientation; return its pixels as OpenCV shows them in colour."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(np.stack([GREY, GREY, 255 - GREY], axis=2)).save(
        path, exif=tags.tobytes() if exif is None else exif
    )
    return shown_by_opencv(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_rotated_images_are_written_upright(suffix: str, orientation: int, tmp_path: Path) -> None:
    """Readers that ignore the orientation show the copy as the labels assume."""
    path = tmp_path / f"a{suffix}"
    shown = turned(path, orientation)
    assert image_headers.size(path) == shown.shape[1::-1]
    np.testing.assert_array_equal(images.read(path), shown)
    copied = tmp_path / f"b{suffix}"
    images.copy(path, copied)
    largest_error = 6 if suffix == ".jpg" else 0
    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED):
        pixels = cv2.imread(str(copied), flags)  # of a turned TIFF: None
        assert pixels is not None
        assert cv2.norm(pixels, shown, cv2.NORM_INF) <= largest_error
    with Image.open(copied) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert (image.format == "JPEG") == (suffix == ".jpg")


def test_labels_of_an_image_as_it_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    turned(path, 6)
    image_headers.check_size(path, 12, 20)
    with pytest.raises(InputError) as raised:
        image_headers.check_size(path, 20, 12)
    assert str(raised.value) == (
        f"{path}: is 12 x 20 px after its EXIF rotation, but its labels are for 20 x 12 px"
    )


@pytest.mark.filterwarnings("ignore")  # of Pillow, about damaged data
@pytest.mark.parametrize("exif", [b"Exif", b"Exif\0\0MM\0*\0\0\0\x08\0", b"Exif\0\0nothing"])
def test_damaged_exif_is_ignored(exif: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    assert turned(path, 6, exif).shape == (12, 20, 3)
    assert image_headers.size(path) == (20, 12)
    assert images.read(path).shape == (12, 20, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16"])
def test_networks_see_what_ultralytics_reads(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image = Image.fromarray(np.stack([GREY, GREY, 255 - GREY], axis=2))
    if mode == "I;16":
        cv2.imwrite(str(path), GREY.astype(np.uint16) * 257)
    else:
        image.convert(mode).save(path)
    np.testing.assert_array_equal(images.read_bgr(path), read_by_ultralytics(path))


def test_networks_see_turned_photographs_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.stack([GREY, GREY, 255 - GREY], axis=2))
    image.save(tmp_path / "a.jpg", exif=exif)
    assert images.read_bgr(tmp_path / "a.jpg").shape == (20, 12, 3)
    np.testing.assert_array_equal(
        images.read_bgr(tmp_path / "a.jpg"), read_by_ultralytics(tmp_path / "a.jpg")
    )


WHITE, BLACK = (255, 255, 255), (0, 0, 0)


@pytest.mark.parametrize(
    ("suffix", "ink"),
    [
        (".png", (*WHITE, 255)),
        (".png", (*BLACK, 0)),
        (".webp", (*WHITE, 255)),
        (".webp", (*BLACK, 0)),
        (".tiff", (*WHITE, 255)),
    ],
)
def test_ink_that_is_invisible_on_white(suffix: str, ink: tuple[int, ...], tmp_path: Path) -> None:
    page = Image.new("RGBA", (20, 12), (*WHITE, 0))
    page.paste(ink, (5, 5, 9, 8))
    file = tmp_path / f"a{suffix}"
    if suffix == ".webp":
        page.save(file, lossless=True, exact=True)
    else:
        page.save(file)
    with pytest.raises(InputError) as error:
        images.read(file)
    assert str(error.value) == (
        f"{file}: is blank on a white background, because its ink is white or transparent; save "
        "it with black ink and without transparency"
    )


@pytest.mark.parametrize(("row", "depth"), [(b"\xff\x00\xff\xff", 8), (b"\x50", 1)])
def test_a_grey_level_of_ink_that_is_transparent(row: bytes, depth: int, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(grey_png([row], 4, depth, transparent=0))
    with pytest.raises(InputError, match="is blank on a white background"):
        images.read(file)


@pytest.mark.parametrize("colour", [(*WHITE, 0), (*BLACK, 0), (*WHITE, 255)])
def test_a_blank_page_with_transparency(colour: tuple[int, ...], tmp_path: Path) -> None:
    Image.new("RGBA", (20, 12), colour).save(tmp_path / "a.png")
    assert images.read(tmp_path / "a.png").min() == 255


def test_networks_see_transparency_as_white(tmp_path: Path) -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert images.read_bgr(tmp_path / "a.png")[..., 0].tolist() == [[0, 255], [255, 255]]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_longer_side(height: int, width: int, imgsz: int) -> None:
    resized = images.resize_longer_side(np.zeros((height, width), np.uint8), imgsz)
    assert max(resized.shape) == imgsz
    ratio = imgsz / max(height, width)
    assert resized.shape == tuple(min(math.ceil(side * ratio), imgsz) for side in (height, width))


@pytest.mark.parametrize(
    ("dtype", "samples"),
    [
        (np.float32, "floating-point samples of 32 bits"),
        (np.int32, "signed or wide integer samples of 32 bits"),
        (np.int16, "signed or wide integer samples of 16 bits"),
    ],
)
@pytest.mark.parametrize("n_colours", [1, 3])
def test_samples_without_an_agreed_meaning_are_rejected(
    dtype: type, samples: str, n_colours: int, tmp_path: Path
) -> None:
    """Read as 8 bits, they were black, or modulo 256; Pillow does not open the colours."""
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), np.dstack([GREY] * n_colours).astype(dtype))
    for use in (
        image_headers.size,
        images.read,
        lambda path: images.copy(path, tmp_path / "b.tif"),
    ):
        with pytest.raises(InputError) as raised:
            use(path)
        assert str(raised.value) == (
            f"{path}: has {samples}; convert it to unsigned samples of 8 or 16 bits"
        )
    assert not (tmp_path / "b.tif").exists()


def test_a_tiff_of_sixteen_bits_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), GREY.astype(np.uint16) * 257)
    np.testing.assert_array_equal(images.read(path), GREY)


def grey_png(rows: list[bytes], width: int, depth: int, transparent: int) -> bytes:
    """A greyscale PNG with ``depth`` bits per sample, one level of which is transparent."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, len(rows), depth, 0, 0, 0, 0)
    samples = zlib.compress(b"".join(b"\0" + row for row in rows))
    level = chunk(b"tRNS", struct.pack(">H", transparent))
    chunks = chunk(b"IHDR", header) + level + chunk(b"IDAT", samples) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(
    ("row", "depth", "transparent", "expected"),
    [
        (b"\x00\x07\x00\x07", 8, 0, [255, 7, 255, 7]),
        (b"\xc8\x00\x64\xc8", 8, 200, [255, 0, 100, 255]),
        (b"\x0f\x30", 4, 3, [0, 255, 255, 0]),
        (b"\x1b", 2, 2, [0, 85, 255, 255]),
        (b"\x50", 1, 1, [0, 255, 0, 255]),
        (b"\x00\x00\x80\x80\xff\xff\x00\x00", 16, 0, [255, 128, 255, 255]),
    ],
)
def test_a_transparent_grey_level_becomes_white(
    row: bytes, depth: int, transparent: int, expected: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(grey_png([row], 4, depth, transparent))
    assert images.read(path).tolist() == [expected]
    assert images.read_bgr(path)[..., 0].tolist() == [expected]
    images.copy(path, tmp_path / "b.png")
    assert images.read(tmp_path / "b.png").tolist() == [expected]


def bmp(bgra: list[int], header_bytes: int) -> bytes:
    """A BMP of one row with 32 bits per pixel, whose header declares an alpha channel."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    size = struct.pack("<IiiHHIIiiII", header_bytes, len(bgra) // 4, 1, 1, 32, 3, 0, 0, 0, 0, 0)
    header = (size + masks).ljust(header_bytes, b"\0")
    offset = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", offset + len(bgra), 0, 0, offset) + header + bytes(bgra)


@pytest.mark.parametrize("header_bytes", [108, 124])
@pytest.mark.parametrize(
    ("alphas", "expected"),
    [((0, 0), [0, 200]), ((255, 255), [0, 200]), ((0, 255), [255, 200])],
    ids=["unused", "opaque", "transparent"],
)
def test_alpha_of_a_bmp_is_ignored_if_all_of_it_is_zero(
    header_bytes: int, alphas: tuple[int, int], expected: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "a.bmp"
    path.write_bytes(bmp([0, 0, 0, alphas[0], 200, 200, 200, alphas[1]], header_bytes))
    assert images.read(path).tolist() == [expected]
    assert images.read_bgr(path)[..., 0].tolist() == [expected]
    images.copy(path, tmp_path / "b.png")
    assert images.read(tmp_path / "b.png").tolist() == [expected]


def tiff(samples: NDArray[np.uint16], white: int | None, *, inverted: bool = False) -> bytes:
    """A 16-bit TIFF, with the tag MaxSampleValue unless ``white`` is None."""
    file = BytesIO()
    tags = {262: int(not inverted)} | ({} if white is None else {281: white})
    Image.fromarray(samples).save(file, "TIFF", tiffinfo=tags)
    return file.getvalue()


def png(samples: NDArray[np.uint16], white: int | None) -> bytes:
    """A 16-bit PNG, with the chunk sBIT unless ``white`` is None."""
    content = cv2.imencode(".png", samples)[1].tobytes()
    if white is None:
        return content
    chunk = b"sBIT" + bytes([white.bit_length()] * (1 if samples.ndim == 2 else samples.shape[2]))
    length, checksum = (n.to_bytes(4) for n in (len(chunk) - 4, zlib.crc32(chunk)))
    return content[:33] + length + chunk + checksum + content[33:]  # after IHDR


WIDE = np.array([[0, 1], [2047, 4095]], np.uint16)
"""Samples of a 12-bit scanner: ink, almost ink, grey, paper."""


@pytest.mark.parametrize(("suffix", "encode"), [(".tif", tiff), (".png", png)])
def test_samples_of_twelve_bits_are_scaled_if_the_file_declares_them(
    suffix: str, encode: Callable[[NDArray[np.uint16], int | None], bytes], tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode(WIDE, 4095))
    assert images.read(path).tolist() == [[0, 0], [127, 255]]
    images.copy(path, tmp_path / f"b{suffix}")
    assert cv2.imread(str(tmp_path / f"b{suffix}"), 0).tolist() == [[0, 0], [127, 255]]  # type: ignore[union-attr]
    path.write_bytes(encode(WIDE * 16, 4095))  # scaled nevertheless
    assert images.read(path).tolist() == [[0, 0], [127, 254]]
    path.write_bytes(encode(WIDE, None))
    for use in (
        images.read,
        images.read_bgr,
        images.check_complete,
        lambda path: images.copy(path, tmp_path / f"c{suffix}"),
    ):
        with pytest.raises(InputError) as raised:
            use(path)
        assert str(raised.value) == (
            f"{path}: has 16-bit samples, but none above 4095, so it would look nearly black; scale "
            "the samples to the range 0 to 65535"
        )
    assert not (tmp_path / f"c{suffix}").exists()


def test_sixteen_bits_in_which_zero_is_white(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff((255 - GREY.astype(np.uint16)) * 257, None, inverted=True))
    np.testing.assert_array_equal(images.read(path), GREY)
    images.copy(path, tmp_path / "b.png")
    np.testing.assert_array_equal(images.read(tmp_path / "b.png"), GREY)
    path.write_bytes(tiff(WIDE, 4095, inverted=True))
    assert images.read(path).tolist() == [[255, 255], [128, 0]]
    path.write_bytes(tiff(WIDE, None, inverted=True))
    with pytest.raises(InputError, match="none above 4095, so it would look nearly white; scale"):
        images.read(path)


def test_opaque_colours_of_twelve_bits(tmp_path: Path) -> None:
    colours = np.dstack([WIDE, WIDE, WIDE // 2, np.full_like(WIDE, 65535)])
    (tmp_path / "a.png").write_bytes(png(colours, 4095))
    assert images.read(tmp_path / "a.png")[1].tolist() == [[127, 127, 63], [255, 255, 127]]


def test_a_black_image_of_sixteen_bits_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(WIDE * 0, None))
    assert not images.read(tmp_path / "a.png").any()


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """Opening it would wait for a writer."""
    path = tmp_path / "a.png"
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"a\.png: is not a regular file$"):
        image_headers.size(path)


@pytest.mark.parametrize(
    ("mode", "name", "image_format"),
    [
        ("1", "a.tif", "TIFF"),
        ("1", "a.png", "PNG"),
        ("L", "a.tif", "TIFF"),
        ("P", "a.png", "PNG"),
        ("P", "a.gif", "GIF"),
        ("LA", "a.png", "PNG"),
        ("RGBA", "a.webp", "WEBP"),
        ("CMYK", "a.jpg", "JPEG"),
        ("CMYK", "a.tif", "TIFF"),
        ("YCbCr", "a.tif", "TIFF"),
        ("RGB", "a.bmp", "BMP"),
        ("RGB", "a.png", "JPEG"),  # with the suffix of another format
    ],
)
def test_ink_is_black_and_paper_is_white_in_every_format(
    mode: str, name: str, image_format: str, tmp_path: Path
) -> None:
    grey = np.full((48, 64), 255, np.uint8)
    grey[16:32, 24:40] = 0
    path = tmp_path / name
    shown = Image.fromarray(grey)
    colours = (
        shown.convert("RGB").convert(mode) if mode in {"CMYK", "YCbCr"} else shown.convert(mode)
    )
    colours.save(path, format=image_format)
    copied = tmp_path / f"copy{path.suffix if path.suffix != '.gif' else '.png'}"
    images.copy(path, copied)
    for pixels in (images.read(path), images.read_bgr(path), images.read_bgr(copied)):
        assert pixels.shape[:2] == (48, 64)
        assert pixels[18:30, 26:38].max() < 12
        assert pixels[:12].min() > 243


def test_the_first_page_of_a_tiff_is_read(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((5, 5), grey, np.uint8)) for grey in (200, 100)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert np.unique(images.read(tmp_path / "a.tif")).tolist() == [200]


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.webp", "a.jpg", "one.png"])
def test_pages_and_frames_are_counted(name: str, tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((20, 30, 3), grey, np.uint8)) for grey in (200, 100, 50)]
    pages = pages[:1] if name == "one.png" else pages
    path = tmp_path / name
    image_format = "MPO" if path.suffix == ".jpg" else None
    pages[0].save(path, format=image_format, save_all=len(pages) > 1, append_images=pages[1:])
    assert image_headers.n_frames(path) == image_headers.check_size(path, 30, 20) == len(pages)
    np.testing.assert_array_equal(images.read(path), np.full((20, 30), 200))
