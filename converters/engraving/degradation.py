"""Appearance of a page in a scan, photo or fax: ink, paper, light and optics; nothing is moved.

A page is printed (:mod:`.printing`), possibly written on or stamped (:mod:`.marks`), on paper with
stains and a verso (:mod:`.paper`), and captured by a sensor with its own resolution
(:mod:`.sensor`). Edges of the ink move by at most 0.75 pixels, or one pixel of a fax machine.

Shapes: H and W, height and width of the page; N vertices.
"""

from dataclasses import dataclass

import numpy as np

from converters.engraving.captures import Degradation
from converters.engraving.fields import Grey
from converters.engraving.marks import marks
from converters.engraving.outlines import Points
from converters.engraving.paper import paper_light, surround, verso_ink
from converters.engraving.printing import printed
from converters.engraving.sensor import captured
from converters.images import Pixels


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sheet:
    """Clean print of a page, warped as in the picture."""

    page: Grey
    """Black ink on white, shape ``(H, W)``."""
    staff_space: float
    """Distance between adjacent staff lines in pixels."""
    verso: Grey | None = None
    """Ink on the verso as it would show through, black on white, shape ``(H, W)``."""
    paper_xy: Points | None = None
    """Vertices around the paper in pixels, shape ``(N, 2)``; None if only paper is visible."""


def degrade(sheet: Sheet, degradation: Degradation, rng: np.random.Generator) -> Pixels:
    """Make a clean page look printed and then captured.

    Args:
        sheet: Page to degrade; not modified.
        degradation: Parameters of the picture; those of a clean page return it unchanged.
        rng: Random number generator.

    Returns:
        Grey levels, shape ``(H, W)``, or colours if the paper or the light has one, shape
        ``(H, W, 3)``.
    """
    page, space = sheet.page, sheet.staff_space
    if degradation.capture == "none":
        return page
    ink = printed(page, degradation, space, rng)
    levels = paper_light(page.shape, degradation, space, rng)
    if sheet.verso is not None:
        levels *= 1 - degradation.show_through * verso_ink(sheet.verso, rng)
    levels *= 1 - (1 - degradation.ink) * ink
    if degradation.handwriting or degradation.stamps:
        levels *= 1 - marks(page.shape, degradation, space, rng)
    if sheet.paper_xy is not None:
        levels = surround(levels, sheet.paper_xy, degradation.surroundings, rng)
    return captured(levels, degradation, space, rng)
