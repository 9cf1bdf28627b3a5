"""Engraving of music pages with exact labels, in the format of DeepScoresV2.

Main path: :func:`.dataset.engrave` → :func:`.pages.engrave_page` → :func:`.pictures.take_picture`.
Verovio typesets a piece of music (:mod:`.pieces`, :mod:`.typesetting`), with the proportions drawn
for the page (:mod:`.typefaces`) and, if required, with rare symbols (:mod:`.balance`); its SVG is
read as filled outlines (:mod:`.svg`); these are grouped into labelled symbols (:mod:`.symbols`).
With parameters drawn for a picture (:mod:`.distributions`), outlines are warped (:mod:`.warping`)
and rasterised (:mod:`.raster`), and the page is degraded (:mod:`.degradation`). Labels are computed
from the outlines, never from pixels.
"""

from importlib.util import find_spec

from class_maps import MissingExtraError

for _package in ("verovio", "lxml", "fontTools", "brotli", "matplotlib"):
    if find_spec(_package) is None:
        raise MissingExtraError(
            f"engraving needs {_package}, which is not installed; "
            "run pip install 'omr-toolkit[engrave]'"
        )
