"""Engraves pages of music with exact labels, in the format of DeepScoresV2.

The way of a page: a score (:mod:`.scores`) is set by verovio (:mod:`.typesetting`); its SVG
becomes filled outlines (:mod:`.svg`); these are told apart (:mod:`.symbols`), bent
(:mod:`.warping`), filled (:mod:`.raster`) and aged (:mod:`.degradation`). Labels come from the
outlines, never from pixels.
"""

from importlib.util import find_spec

from class_maps import MissingExtraError

for _package in ("verovio", "lxml", "fontTools", "brotli"):
    if find_spec(_package) is None:
        raise MissingExtraError(
            f"engraving needs {_package}, which is not installed; "
            "pip install 'omr-toolkit[engrave]' brings all that it needs"
        )
