"""Small scores in MEI, set and labelled."""

from collections import Counter
from collections.abc import Sequence

from converters.engraving import svg, typesetting
from converters.engraving.svg import Drawing
from converters.engraving.symbols import Symbol, symbols
from converters.engraving.typesetting import PageLayout

OPTIONS = {
    "pageWidth": 1000,
    "pageHeight": 1000,
    "scaleToPageSize": True,
    "scale": 100,
    "header": "none",
    "footer": "none",
    "svgFormatRaw": True,
    "xmlIdSeed": 1,
    "dynamSingleGlyphs": True,
    "svgAdditionalAttribute": typesetting.ATTRIBUTES,
}
SPACE_PX = 18.0
"""Between the staff lines of a fragment."""


def score(
    bars: Sequence[str],
    *,
    clef: str = '<clef shape="G" line="2"/>',
    head: str = "",
    lower: Sequence[str] | None = None,
    controls: Sequence[str] = (),
    attributes: Sequence[str] = (),
    group: str = "",
) -> str:
    """A score of one staff, or of two if ``lower`` has its bars.

    Args:
        bars: What the layer of each bar holds.
        clef: Of the upper staff.
        head: Attributes of the ``scoreDef``.
        lower: What the layer of each bar of a second staff, in the bass clef, holds.
        controls: What each bar has beside its staves.
        attributes: Of each ``measure``.
        group: Attributes of the ``staffGrp``.
    """
    staves = f'<staffDef n="1" lines="5">{clef}</staffDef>'
    if lower is not None:
        staves += '<staffDef n="2" lines="5"><clef shape="F" line="4"/></staffDef>'
    measures = ""
    for i, bar in enumerate(bars):
        inside = f'<staff n="1"><layer n="1">{bar}</layer></staff>'
        if lower is not None:
            inside += f'<staff n="2"><layer n="1">{lower[i]}</layer></staff>'
        inside += controls[i] if i < len(controls) else ""
        words = attributes[i] if i < len(attributes) else ""
        measures += f'<measure n="{i + 1}" {words}>{inside}</measure>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0"><meiHead><fileDesc>'
        "<titleStmt><title/></titleStmt><pubStmt/></fileDesc></meiHead><music><body><mdiv><score>"
        f"<scoreDef {head}><staffGrp {group}>{staves}</staffGrp></scoreDef>"
        f"<section>{measures}</section></score></mdiv></body></music></mei>"
    )


def drawn(mei: str, font: str = "Leipzig", **options: object) -> Drawing:
    """The first page of a score."""
    import random

    layout = PageLayout(
        font=font, staff_space=SPACE_PX, options={**OPTIONS, "font": font, **options}
    )
    page = typesetting.typeset(mei, layout, random.Random(0))
    if page is None:
        raise ValueError("verovio cannot read it")
    return svg.read(page.svg, font)


def labelled(mei: str, font: str = "Leipzig", **options: object) -> list[Symbol]:
    """The symbols of the first page of a score."""
    return symbols(drawn(mei, font, **options))


def counted(found: Sequence[Symbol], *, without: str = "") -> dict[str, int]:
    """Symbols by category; ``without`` names those that every fragment has."""
    counts = Counter(symbol.category for symbol in found)
    return {name: n for name, n in counts.items() if name not in without.split()}
