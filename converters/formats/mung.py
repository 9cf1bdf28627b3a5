"""Writer of MuNG, the XML format of MUSCIMA++ 2.0: ``mung/<split>/<image>.xml``.

The schema is ``CVC-MUSCIMA_Schema.xsd`` in https://github.com/OMR-Research/mung. Detectors find no
relations, so nodes have no links; the mask that the schema requires covers the whole box.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from class_maps import ConfigError, InputError, shown
from converters.boxes import Boxes, whole_pixels, xyxy_to_xywh
from converters.formats.page_files import write_page
from converters.page import SCORE_DIGITS, Page

MUNG_FOLDER = "mung"
DATASET = "omr"
"""Name of the data set in each file."""

_SCORE = '<Data><DataItem key="score" type="float">{}</DataItem></Data>'
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot represent."""


class MungWriter:
    """Writes one file per page.

    Raises:
        ConfigError: XML cannot represent the name of a class.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        for name in filter(_NOT_XML.search, names):
            raise ConfigError(
                f"--format mung: class {shown(name)} contains a character that XML cannot "
                "represent; rename the class"
            )
        self._folder, self._names = folder / MUNG_FOLDER, [escape(name) for name in names]

    def add(self, split: str, page: Page) -> None:
        """Write the file of one page.

        Raises:
            InputError: XML cannot represent the image's name, or two images have the same name.
        """
        if _NOT_XML.search(str(page.image)):
            raise InputError(
                "contains a character that XML cannot represent; rename the image",
                path=Path(page.image),
            )
        write_page(page, self._folder / split, ".xml", _elements(page, self._names))

    def close(self) -> None:
        """Do nothing, because the file of every page is complete."""


def _elements(page: Page, names: Sequence[str]) -> Iterator[str]:
    """Yield the XML of a page, one symbol at a time."""
    document = quoteattr(page.image.with_suffix("").as_posix())
    yield '<?xml version="1.0" encoding="utf-8"?>\n'
    yield f'<Nodes dataset="{DATASET}" document={document}>\n'
    boxes_xywh = xyxy_to_xywh(_pixel_boxes(page)).tolist()
    data = [""] * len(page.labels)
    if page.scores is not None:
        data = [_SCORE.format(score) for score in page.scores.round(SCORE_DIGITS).tolist()]
    for i, label in enumerate(page.labels.tolist()):
        x, y, width, height = boxes_xywh[i]
        yield (
            f"<Node><Id>{i}</Id><ClassName>{names[label]}</ClassName>"
            f"<Top>{y}</Top><Left>{x}</Left><Width>{width}</Width><Height>{height}</Height>"
            f"<Mask>0:0 1:{width * height}</Mask>{data[i]}</Node>\n"
        )
    yield "</Nodes>\n"


def _pixel_boxes(page: Page) -> Boxes:
    """Return the boxes in whole pixels, at least one pixel wide and high, inside the page."""
    size = np.array([page.width, page.height])
    x0y0, x1y1 = np.split(whole_pixels(page.boxes_xyxy), 2, axis=1)
    x0y0 = np.clip(x0y0, 0, size - 1)
    return np.concatenate((x0y0, np.clip(x1y1, x0y0 + 1, size)), axis=1)
