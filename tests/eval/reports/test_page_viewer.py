import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pytest
from browser import Measurements, open_pages
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from converters.images import Pixels
from converters.page import Page
from eval.pictures.drawing import class_colour
from eval.reports.page_viewer import MAX_IMAGE_SIDE_PX, ViewerPage, write_page_viewer

NAMES = ("notehead", "stem", "beam")
HOSTILE = '</script><script>alert("1")</script> & \'<b>\u2028♯'


class Elements(HTMLParser):
    """Elements of a page, with the text of scripts, styles and the title."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None], str]] = []
        self.is_open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs), ""))
        self.is_open = True

    def handle_endtag(self, tag: str) -> None:
        self.is_open = False

    def handle_data(self, data: str) -> None:
        if self.is_open:
            tag, attributes, text = self.seen[-1]
            self.seen[-1] = tag, attributes, text + data

    def texts(self, tag: str, **wanted: str) -> list[str]:
        """Return the texts of the elements with a tag and attributes; ``class_`` means class."""
        attributes = {name.rstrip("_"): value for name, value in wanted.items()}
        return [
            text
            for name, actual, text in self.seen
            if name == tag and attributes.items() <= actual.items()
        ]


def page(
    boxes: Sequence[Sequence[float]],
    labels: list[int] | None = None,
    scores: list[float] | None = None,
    name: str = "a.png",
    size: tuple[int, int] = (100, 50),
) -> Page:
    return Page(
        image=PurePosixPath(name),
        width=size[0],
        height=size[1],
        boxes_xyxy=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        labels=np.array(labels or [0] * len(boxes), dtype=np.int64),
        scores=None if scores is None else np.array(scores, dtype=np.float64),
    )


def shown(page: Page, image: Pixels | None = None) -> ViewerPage:
    white = np.full((page.height, page.width), 255, dtype=np.uint8)
    return ViewerPage(page=page, image=white if image is None else image)


def written(tmp_path: Path, *pages: ViewerPage, title: str = "Piece", **options: Any) -> str:  # noqa: ANN401
    file = tmp_path / "viewer.html"
    write_page_viewer(file, pages, options.pop("names", NAMES), title=title, **options)
    return file.read_text("utf-8")


def symbols_of(html: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in Elements(html).texts("script", class_="page")]


def images_of(html: str) -> list[tuple[str, Pixels]]:
    images = [b64decode(text) for text in Elements(html).texts("script", class_="image")]
    kinds = [symbols["image_type"] for symbols in symbols_of(html)]
    decoded = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) for data in images]
    return [(kind, np.asarray(image, np.uint8)) for kind, image in zip(kinds, decoded, strict=True)]


def numbers(text: str, dtype: str) -> list[int]:
    values: list[int] = np.frombuffer(b64decode(text), dtype).tolist()
    return values


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 255, (height, width), dtype=np.uint8)


def test_a_file_without_pages(tmp_path: Path) -> None:
    html = written(tmp_path)
    assert html.startswith("<!DOCTYPE html>\n")
    assert symbols_of(html) == []
    assert images_of(html) == []


def test_a_page_without_symbols(tmp_path: Path) -> None:
    html = written(tmp_path, shown(page([], scores=[])))
    assert symbols_of(html) == [
        {
            "name": "a.png",
            "width": 100,
            "height": 50,
            "image_type": "image/png",
            "image_width": 100,
            "boxes": "",
            "labels": "",
            "scores": "",
        }
    ]
    [(_, image)] = images_of(html)
    assert (image == 255).all()
    assert image.shape == (50, 100)


def test_a_page_of_one_pixel(tmp_path: Path) -> None:
    html = written(tmp_path, shown(page([[0, 0, 1, 1]], size=(1, 1))))
    assert images_of(html)[0][1].tolist() == [[255]]


def test_symbols_are_grouped_by_class(tmp_path: Path) -> None:
    boxes = [[1.0, 2, 3, 4], [5.0, 6, 7, 8.25], [-1.5, 0, 9, 10]]
    [symbols] = symbols_of(written(tmp_path, shown(page(boxes, [2, 0, 2], [0.5, 1, 0.12345]))))
    assert numbers(symbols["labels"], "<u2") == [0, 2, 2]
    assert numbers(symbols["boxes"], "<i4") == [50, 60, 70, 82, 10, 20, 30, 40, -15, 0, 90, 100]
    assert numbers(symbols["scores"], "<u2") == [10000, 5000, 1234]


def test_ground_truth_has_no_scores(tmp_path: Path) -> None:
    assert symbols_of(written(tmp_path, shown(page([[1, 2, 3, 4]]))))[0]["scores"] is None


@given(
    boxes=arrays(
        np.float64, st.tuples(st.integers(0, 20), st.just(4)), elements=st.floats(-1e5, 1e5)
    ),
    data=st.data(),
)
def test_symbols_survive_to_a_tenth_of_a_pixel(
    tmp_path_factory: pytest.TempPathFactory,
    boxes: NDArray[np.float64],
    data: st.DataObject,
) -> None:
    n = len(boxes)
    labels = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    scores = data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))
    tmp_path = tmp_path_factory.mktemp("viewer")
    rows: list[list[float]] = boxes.tolist()
    [symbols] = symbols_of(written(tmp_path, shown(page(rows, labels, scores))))
    order = np.argsort(labels, kind="stable")
    actual = np.array(numbers(symbols["boxes"], "<i4")).reshape(-1, 4) / 10
    assert np.abs(actual - boxes[order]).max(initial=0) < 0.0501
    actual = np.array(numbers(symbols["scores"], "<u2")) / 10_000
    assert np.abs(actual - np.array(scores)[order]).max(initial=0) < 0.000_0501
    assert numbers(symbols["labels"], "<u2") == sorted(labels)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param((50, 100), (50, 100), id="small"),
        pytest.param((MAX_IMAGE_SIDE_PX, 10), (MAX_IMAGE_SIDE_PX, 10), id="limit"),
        pytest.param((2 * MAX_IMAGE_SIDE_PX, 2000), (MAX_IMAGE_SIDE_PX, 1000), id="tall"),
        pytest.param((1, 9 * MAX_IMAGE_SIDE_PX), (1, MAX_IMAGE_SIDE_PX), id="wide"),
        pytest.param((50, 100, 3), (50, 100), id="colour"),
    ],
)
def test_images_are_grey_and_reduced(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, int]
) -> None:
    content = page([[1, 2, 3, 4]], size=(shape[1], shape[0]))
    html = written(tmp_path, shown(content, np.full(shape, 200, dtype=np.uint8)))
    [(kind, image)] = images_of(html)
    assert (kind, image.shape, set(image.ravel().tolist())) == ("image/png", expected, {200})
    [symbols] = symbols_of(html)
    assert (symbols["width"], symbols["image_width"]) == (shape[1], expected[1])
    assert numbers(symbols["boxes"], "<i4") == [10, 20, 30, 40]


def test_small_images_are_lossless_and_large_ones_webp(tmp_path: Path) -> None:
    small, large = noise(50, 100), noise(1000, 1000)
    first, second = images_of(
        written(tmp_path, shown(page([]), small), shown(page([], size=(1000, 1000)), large))
    )
    assert first[0] == "image/png"
    assert (first[1] == small).all()
    assert second[0] == "image/webp"
    assert second[1].shape[:2] == (1000, 1000)


def test_a_page_is_written_before_the_next_one_is_read(tmp_path: Path) -> None:
    file = tmp_path / "viewer.html"
    sizes = []

    def pages() -> Iterator[ViewerPage]:
        for _ in range(3):
            sizes.append(file.stat().st_size)
            yield shown(page([], size=(1000, 300)), noise(300, 1000))

    write_page_viewer(file, pages(), NAMES, title="Piece")
    assert sizes[1] > 300_000
    assert sizes[2] - sizes[1] > 300_000


def test_names_and_titles_are_escaped(tmp_path: Path) -> None:
    names = (HOSTILE, "stem", "{{ 1 }}")
    html = written(tmp_path, shown(page([[1, 2, 3, 4]], name=HOSTILE)), names=names, title=HOSTILE)
    elements = Elements(html)
    assert elements.texts("title") == elements.texts("h1") == [HOSTILE]
    settings = json.loads(elements.texts("script", id="settings")[0])
    assert settings["names"] == list(names)
    assert symbols_of(html)[0]["name"] == str(PurePosixPath(HOSTILE))
    assert len(elements.texts("script")) == 4


def test_the_file_permits_only_its_own_script_and_style(tmp_path: Path) -> None:
    html = written(tmp_path, shown(page([])))
    elements = Elements(html)
    [policy] = [a["content"] for tag, a, _ in elements.seen if tag == "meta" and "http-equiv" in a]
    script, style = elements.texts("script")[-1], elements.texts("style")[0]
    hashes = [b64encode(sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert policy == (
        "default-src 'none'; img-src data:; "
        f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    for outside in ("http:", "https:", "src=", "href=", "@import", "url(", " style=", " onclick="):
        assert outside not in html, outside


def test_classes_have_the_colours_of_the_pictures(tmp_path: Path) -> None:
    settings = json.loads(Elements(written(tmp_path)).texts("script", id="settings")[0])
    colours = [tuple(bytes.fromhex(colour[1:])) for colour in settings["colours"]]
    assert colours == [class_colour(label)[::-1] for label in range(len(NAMES))]
    assert settings["min_score"] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (page([[1, 2, 3, 4]], [3]), "label 3 is not one of 3 classes: a.png"),
        (page([[1, 2, 3, 4]], scores=[1.1]), "scores must be between 0 and 1: a.png"),
        (page([[1, 2, 3, 4]], scores=[np.nan]), "scores must be between 0 and 1: a.png"),
        (page([[1, 2, 3, np.inf]]), "boxes must be finite and at most 100,000,000 px: a.png"),
        (page([[-1e9, 2, 3, 4]]), "boxes must be finite and at most 100,000,000 px: a.png"),
    ],
)
def test_values_out_of_range_are_refused(tmp_path: Path, content: Page, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        written(tmp_path, shown(content))


USE = """
const by = id => page.getElementById(id);
view.requestAnimationFrame = draw => view.setTimeout(draw); // frames do not follow virtual time
const frames = () => new Promise(done => view.setTimeout(done, 20));
const state = async () => {
  await frames();
  return [Number(by('overlay').dataset.drawn), by('shown').textContent];
};
const input = (id, value) => {
  by(id).value = value;
  by(id).dispatchEvent(new view.Event('input', {bubbles: true}));
};
const key = key => page.body.dispatchEvent(new view.KeyboardEvent('keydown', {key, bubbles: true}));
const outside = () => [...page.querySelectorAll('button, input, output, h1, li')].filter(
  one => one.getBoundingClientRect().right > view.innerWidth).map(one => one.id || one.textContent);
if (!page.querySelector('script.page')) return {outside: outside()};
const result = {start: [Number(by('overlay').dataset.drawn), by('shown').textContent]};
input('score', .5);
result.score = await state();
page.querySelector('#class-list input').click();
result.without_first_class = await state();
by('none').click();
result.none = await state();
by('all').click();
input('search', 'ste');
result.listed = [...page.querySelectorAll('#class-list li')].filter(
  one => one.getClientRects().length || by('panel').hidden && !one.hidden).length;
key('b');
result.no_boxes = await state();
key('b');
key('ArrowRight');
result.next = [...await state(), by('page-number').value, by('previous').disabled, by('next').disabled];
result.info = by('page-info').textContent;
by('panel').hidden = true;
await frames();
const bounds = by('overlay').getBoundingClientRect(), sheet = by('sheet').getBoundingClientRect();
const at = {clientX: sheet.left + sheet.width * .15, clientY: sheet.top + sheet.height * .3};
by('stage').dispatchEvent(new view.PointerEvent('pointermove', {...at, pointerType: 'mouse', bubbles: true}));
by('panel').hidden = false;
result.outside = outside();
result.tip = by('tip').innerText.trim().split(/\\n+/);
return result;
"""
"""Uses every kind of control, and returns what the page shows after each."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Measurements:
    folder = tmp_path_factory.mktemp("browser")
    names = (HOSTILE, *NAMES[1:])
    box = [10.0, 10, 20, 20]
    first = page([box, box, [30, 10, 40, 20], [50, 10, 60, 20]], [0, 0, 0, 1], [0.9, 0.4, 0.6, 0.5])
    second = page([box, [12, 12, 90, 45]], [1, 2], [0.8, 0.7], name=HOSTILE)
    html = written(folder, shown(first), shown(second), names=names, title=HOSTILE)
    frames = {"phone": (html, 390), "desktop": (html, 1280), "none": (written(folder), 390)}
    return open_pages(frames, folder, use=USE)


@pytest.mark.parametrize("width", ["phone", "desktop"])
def test_controls_change_the_symbols_that_are_drawn(seen: Measurements, width: str) -> None:
    result = seen.pages[width]["result"]
    assert {key: value for key, value in result.items() if key != "outside"} == {
        "start": [4, "4 of 4 symbols"],
        "score": [3, "3 of 4 symbols"],
        "without_first_class": [1, "1 of 4 symbols"],
        "none": [0, "0 of 4 symbols"],
        "listed": 1,
        "no_boxes": [0, "3 of 4 symbols"],
        "next": [2, "2 of 2 symbols", "2", False, True],
        "info": f"{PurePosixPath(HOSTILE)} · 100 \u00d7 50 px",
        "tip": ["stem", "0.80", "x 10\u201320, y 10\u201320 · 10 \u00d7 10 px", "beam", "0.70"],
    }


@pytest.mark.parametrize("width", ["phone", "desktop", "none"])
def test_the_page_fits_and_loads_nothing(seen: Measurements, width: str) -> None:
    measured = seen.pages[width]
    assert (measured["overflow"], measured["requests"]) == (0, [])
    assert measured["result"]["outside"] == []
    assert measured["words_px"] >= 13
    assert seen.console == []


def test_a_file_without_pages_says_so(seen: Measurements) -> None:
    assert "This file contains no pages." in seen.pages["none"]["text"]
