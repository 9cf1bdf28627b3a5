"""Synthetic data set with the size and structure of DeepScoresV2 dense, labels only.

The real data set may not be redistributed. Everything that affects the speed of a conversion is
reproduced: the number of pages and annotations, class frequencies, the text length of annotations,
pages three times as full as the mean, oriented boxes a pixel smaller than the upright ones, exact
duplicates, and boxes without width.
"""

import json
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from class_maps import catalogue, load
from converters.engraving.annotations import vocabulary
from converters.engraving.dataset import EngravingOptions, engrave
from converters.engraving.pages import PageOptions
from converters.formats.coco import CocoWriter
from converters.formats.deepscoresv2 import DeepScoresFile
from converters.formats.yolo import YoloWriter, write_labels
from converters.names import IMAGE_FOLDER, LABELS
from converters.page import Page
from converters.tally import Tally

DENSE_PAGES, DENSE_ANNOTATIONS = 1_362, 889_833
"""Size of the dense train set; Zenodo 4012193."""
WIDTH, HEIGHT = 1960, 2772
"""Page size in pixels of three quarters of the dense pages."""


def write(folder: Path, *, pages: int, annotations: int, seed: int = 0) -> Path:
    """Write ``deepscores_train.json`` into ``folder`` and return its path."""
    rng = np.random.default_rng(seed)
    categories = catalogue("deepscoresv2").categories
    labelled = [c for c in categories if c.annotation_set == "deepscores"]
    weight = np.array([c.dense_train_count or 0 for c in labelled], float)
    category = rng.choice([c.id for c in labelled], annotations, p=weight / weight.sum())
    twin = {c.name: c.id for c in categories if c.annotation_set == "muscima++"}
    twin_of = {c.id: twin.get(c.name) for c in labelled}
    page = np.sort(rng.choice(pages, annotations, p=_page_shares(rng, pages)))
    boxes = _boxes(rng, category)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "deepscores_train.json"
    with path.open("w", encoding="utf-8") as out:
        head = {
            "info": {"description": "seeded benchmark set", "version": "2.0"},
            **vocabulary("deepscoresv2"),
            "images": _images(page, pages),
        }
        out.write(json.dumps(head)[:-1] + ', "annotations": {')
        for i in range(annotations):
            x0, y0, x1, y1 = boxes[i].tolist()
            o_bbox = [x1 - 1, y1 - 1, x1 - 1, y0, x0, y0, x0, y1 - 1]
            row = {
                "a_bbox": [x0, y0, x1, y1],
                "o_bbox": o_bbox,
                "cat_id": [str(category[i]), _text(twin_of[int(category[i])])],
                "area": int((x1 - x0) * (y1 - y0) * 0.6),
                "img_id": str(page[i] + 1),
                "comments": f"instance:#{i % 2**24:06x};duration:16;rel_position:3;onset:{i % 97};",
            }
            # indented, as the release's files are: their length decides the speed too
            out.write((", " if i else "") + f'"{i + 1}": ' + json.dumps(row, indent=12))
        out.write("}}\n")
    return path


def _page_shares(rng: np.random.Generator, pages: int) -> np.ndarray:
    """Compute the share of annotations on each page; the fullest has about three times the mean."""
    share = np.exp(rng.normal(0, 0.4, pages)).clip(0.2, 3.5)
    return np.asarray(share / share.sum())


def _text(category_id: int | None) -> str | None:
    return None if category_id is None else str(category_id)


def _images(page: np.ndarray, pages: int) -> list[dict[str, object]]:
    bounds = np.searchsorted(page, np.arange(pages + 1))
    return [
        {
            "id": i + 1,
            "filename": f"lg-{10**6 + i // 4}-aug-emmentaler--page-{i % 4 + 1}.png",
            "width": WIDTH,
            "height": HEIGHT,
            "ann_ids": [str(k + 1) for k in range(bounds[i], bounds[i + 1])],
        }
        for i in range(pages)
    ]


def _boxes(rng: np.random.Generator, category: np.ndarray) -> np.ndarray:
    """Draw corners in whole pixels, of typical size per category; one box in 2,000 has no width."""
    side_of = np.exp(np.random.default_rng(1).normal(3, 0.8, (category.max() + 1, 2)))
    wh = np.clip(np.rint(side_of[category] * rng.uniform(0.8, 1.2, (len(category), 2))), 1, 900)
    wh[rng.random(len(category)) < 1 / 2000, 0] = 0
    xy = np.rint(rng.uniform(0, 1, wh.shape) * ([WIDTH, HEIGHT] - wh))
    boxes = np.concatenate((xy, xy + wh), axis=1)
    copies = np.flatnonzero(rng.random(len(boxes) - 1) < 1 / 5000)
    boxes[copies + 1] = boxes[copies]
    category[copies + 1] = category[copies]
    return boxes


def write_as_coco(source: Path, target: Path) -> None:
    """Write the same labels in COCO format with omr's writer, oriented boxes as polygons."""
    class_map = load("deepscores")
    writer, counts = CocoWriter(target, class_map.names), Tally()
    file = DeepScoresFile(source)
    for page in file.pages(class_map.source("deepscoresv2"), class_map.labels, counts):
        writer.add("train", page)
    writer.close()


def write_pages(folder: Path, *, pages: int) -> None:
    """Engrave pages of the most common size for the tiles."""
    page = PageOptions(width=WIDTH, height=HEIGHT)
    engrave(folder, EngravingOptions(pages=pages, page=page))


def write_as_yolo(
    folder: Path, *, pages: int, annotations: int, n_classes: int | None = None, seed: int = 0
) -> None:
    """Write similar labels as a YOLO folder with small blank images.

    Args:
        folder: Folder to create.
        pages: Number of pages.
        annotations: Number of annotations on all pages.
        n_classes: Number of classes, most frequent first; None for all.
        seed: Seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    categories = sorted(
        (c for c in catalogue("deepscoresv2").categories if c.annotation_set == "deepscores"),
        key=lambda c: -(c.dense_train_count or 0),
    )[:n_classes]
    weight = np.array([c.dense_train_count or 0 for c in categories], float)
    labels = rng.choice(len(categories), annotations, p=weight / weight.sum())
    page = rng.choice(pages, annotations, p=_page_shares(rng, pages))
    order = np.argsort(page, kind="stable")
    bounds = np.searchsorted(page[order], np.arange(pages + 1))
    boxes = _boxes(rng, labels)
    boxes[:, 2] = np.maximum(boxes[:, 2], boxes[:, 0] + 1)  # training requires a width
    _, blank = cv2.imencode(".png", np.full((HEIGHT, WIDTH), 255, np.uint8))
    names = [category.name for category in categories]
    writer = YoloWriter(folder, names)
    for kind in (IMAGE_FOLDER, LABELS):
        (folder / kind / "train").mkdir(parents=True)
    for i in range(pages):
        indices = order[bounds[i] : bounds[i + 1]]
        image = PurePosixPath(f"{i}.png")
        result = Page(
            image=image,
            width=WIDTH,
            height=HEIGHT,
            boxes_xyxy=boxes[indices],
            labels=labels[indices],
        )
        write_labels(result, folder / LABELS / "train")
        (folder / IMAGE_FOLDER / "train" / image).write_bytes(blank.tobytes())
        writer.add("train", result)
    writer.close()
