"""Parameters of the picture of a page: its geometry, ink, paper, light and sensor.

Lengths "at 300 dpi" refer to a page whose staves are 7 mm high: its staff space is 20.7 pixels.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

Capture = Literal["none", "scan", "photo", "fax", "worn"]
"""How a page was captured; ``none`` for a clean digital page."""
Binarisation = Literal["none", "fixed", "otsu", "adaptive"]

SPACES_PER_INCH = 25.4 / (7 / 4)
"""Staff spaces per inch of a staff 7 mm high."""


def dpi_of(staff_space: float) -> float:
    """Compute the resolution at which a staff 7 mm high has this staff space in pixels."""
    return staff_space * SPACES_PER_INCH


def px_at_300_dpi(staff_space: float) -> float:
    """Compute the size of a pixel at 300 dpi in pixels of a page with this staff space."""
    return dpi_of(staff_space) / 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Degradation:
    """Parameters of one picture; the defaults change nothing. Levels are from 0 to 1."""

    capture: Capture = "none"
    effects: tuple[str, ...] = ()
    """Names of the effects that were drawn."""

    rotation: float = 0.0
    """Clockwise rotation in degrees."""
    shear: float = 0.0
    stretch: float = 0.0
    """Widening as a fraction; the height shrinks by the same fraction."""
    tilt_x: float = 0.0
    """Difference in scale between the left and the right side, as a fraction."""
    tilt_y: float = 0.0
    """Difference in scale between the top and the bottom, as a fraction."""
    pull: float = 0.0
    """Displacement at the spine of a book, away from it, in page widths."""
    pinch: float = 0.0
    """Displacement of the ends of the spine towards its middle, in page widths."""
    bow: float = 0.0
    """Height of the arch that the staves form, in page widths."""
    waves: float = 0.0
    """Largest amplitude of the waves of uneven paper, in page widths."""
    edges: float = 0.0
    """Largest fraction of the margins that is cut off by the surroundings of the paper."""
    surroundings: float = 0.0
    """Level of the surroundings of the paper."""

    ink_gain_px: float = 0.0
    """Growth of the ink on every side in pixels at 300 dpi; boxes include it."""
    ink_blur_px: float = 0.0
    """Standard deviation of the ink spread in pixels."""
    edge: float = 0.5
    """Coverage at which a pixel of spread ink is half dark; above 0.5, lines become thinner."""
    fray: float = 0.0
    """Variation of the edge with the paper grain and across the page."""
    fade: float = 0.0
    """Fraction of ink missing where the print is weakest."""
    gaps: float = 0.0
    """Fraction of the page where the ink has flaked off."""
    ink: float = 0.0
    """Reflectance of full ink, as a fraction of the reflectance of the paper."""
    handwriting: int = 0
    """Number of handwritten words and strokes."""
    stamps: int = 0

    paper: float = 1.0
    """Grey level of the paper."""
    warmth: float = 0.0
    """Fraction of blue missing (yellow paper) or, if negative, of red (bluish light)."""
    grain: float = 0.0
    """Standard deviation of the paper's grey level from pixel to pixel."""
    mottle: float = 0.0
    """Standard deviation of the paper's grey level over larger areas."""
    stains: int = 0
    stain_depth: float = 0.0
    """Largest fraction of light that a stain absorbs."""
    creases: int = 0
    specks: int = 0
    show_through: float = 0.0
    """Fraction of light absorbed by the ink on the verso."""

    shade: float = 0.0
    """Fraction of light missing in the darkest part of the page."""
    gutter: float = 0.0
    """Fraction of light missing at the spine of a book."""
    shadow: float = 0.0
    """Fraction of light missing in the shadow of a hand or a camera."""

    dpi: float = 0.0
    """Resolution of the sensor, for staves 7 mm high; 0 for the resolution of the page."""
    blur_px: float = 0.0
    """Standard deviation of the optical blur in pixels at 300 dpi."""
    motion_px: float = 0.0
    """Length of the motion blur in pixels at 300 dpi."""
    noise: float = 0.0
    """Standard deviation of the noise, in grey levels of 255."""
    exposure: float = 1.0
    """Factor of all levels; levels above 1 become white."""
    gamma: float = 1.0
    binarisation: Binarisation = "none"
    threshold: float = 0.0
    """Contrast below the paper, or for ``adaptive`` below the local mean, at which a pixel is
    black, as a fraction of the contrast of the ink; not used by ``otsu``."""
    salt: float = 0.0
    """Fraction of black and white pixels that are replaced at random."""
    streaks: int = 0
    """Number of vertical lines left by dirt on the sensor."""
    jpeg_quality: int = 0
    """JPEG quality from 1 to 100; 0 for no compression."""

    def applied(self) -> dict[str, Any]:
        """Return the capture, its effects, and the other parameters that change something.

        Numbers are rounded to four significant digits.
        """
        changed = {
            f.name: float(f"{value:.4g}") if isinstance(value, float) else value
            for f in fields(self)
            if (value := getattr(self, f.name)) != f.default
        }
        return {"capture": self.capture, "effects": self.effects} | changed
