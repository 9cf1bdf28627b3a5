"""Scaling of pages to a common staff space."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from class_maps import ConfigError, InputError
from converters.page import Page, Placement

NATIVE = "native"
MAX_STAFF_SPACE_PX = 1000
MAX_SIDE_PX = 20_000
"""Largest side of a scaled page: four times that of a sheet of paper at 600 dpi."""


def parse_scale(text: str) -> float | None:
    """Parse the value of ``--scale``: ``native``, or ``staff-space:PX``.

    Returns:
        Staff space in pixels; None to keep the original size.

    Raises:
        ConfigError: The value has neither form, or the number is out of range.
    """
    if text == NATIVE:
        return None
    name, _, pixels = text.partition(":")
    try:
        staff_space = float(pixels)
    except ValueError:
        staff_space = 0.0
    if name != "staff-space" or not 0 < staff_space < MAX_STAFF_SPACE_PX:
        raise ConfigError(
            f"expected {NATIVE}, or staff-space:PX with PX above 0 and below {MAX_STAFF_SPACE_PX}",
            option="--scale",
            value=text,
        )
    return staff_space


def scale(page: Page, staff_space: float, path: Path) -> Page:
    """Scale the labels of a page; its image is scaled when it is written.

    The scaled image has whole pixels, so x and y have slightly different factors.

    Args:
        page: Page in its original size.
        staff_space: Distance between adjacent staff lines after scaling, in pixels.
        path: Image of the page, for error messages.

    Raises:
        InputError: The staff space of the page is unknown, or the scaled page is too large.
    """
    if page.staff_space is None:
        raise InputError(
            "no staff of five lines is labelled or found on this page, so its staff space is "
            "unknown; convert such pages separately with --scale native",
            path=path,
        )
    factor = staff_space / page.staff_space
    width, height = max(1, round(page.width * factor)), max(1, round(page.height * factor))
    if max(width, height) > MAX_SIDE_PX:
        raise InputError(
            f"scaling its staff space from {page.staff_space:.3g} to {staff_space:.4g} px would "
            f"make an image of {width} x {height} px; expected at most {MAX_SIDE_PX} px a side",
            path=path,
        )
    factors = np.array([width / page.width, height / page.height])
    return replace(
        page,
        image=page.image.with_suffix(".png"),
        width=width,
        height=height,
        boxes_xyxy=page.boxes_xyxy * np.tile(factors, 2),
        corners=None if page.corners is None else page.corners * factors,
        staff_space=staff_space,
        placement=Placement(
            page=page.image, x=0, y=0, scale_x=float(factors[0]), scale_y=float(factors[1])
        ),
    )
