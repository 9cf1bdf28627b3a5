"""Small MEI scores, typeset and labelled."""

from collections import Counter
from collections.abc import Sequence

from converters.engraving import svg, typesetting
from converters.engraving.svg import Drawing
from converters.engraving.symbols import Symbol, symbols
from converters.engraving.typefaces import Typeface
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
PLAIN = Typeface()
SPACE_PX = 18.0
"""Staff space of a fragment in pixels."""


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
    """Write a score with one staff, or with two if ``lower`` is given.

    Args:
        bars: Contents of the layer of each bar.
        clef: Clef of the upper staff.
        head: Attributes of the ``scoreDef``.
        lower: Contents of the layer of each bar on a second staff, in bass clef.
        controls: Control events of each bar, after its staves.
        attributes: Attributes of each ``measure``.
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
        measure_attributes = attributes[i] if i < len(attributes) else ""
        measures += f'<measure n="{i + 1}" {measure_attributes}>{inside}</measure>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0"><meiHead><fileDesc>'
        "<titleStmt><title/></titleStmt><pubStmt/></fileDesc></meiHead><music><body><mdiv><score>"
        f"<scoreDef {head}><staffGrp {group}>{staves}</staffGrp></scoreDef>"
        f"<section>{measures}</section></score></mdiv></body></music></mei>"
    )


def drawn(
    mei: str, font: str = "Leipzig", typeface: Typeface = PLAIN, **options: object
) -> Drawing:
    """Typeset the first page of a score."""
    import random

    layout = PageLayout(
        font=font,
        staff_space=SPACE_PX,
        options={**OPTIONS, "font": font, **options},
        typeface=typeface,
    )
    page = typesetting.typeset(mei, layout, random.Random(0))
    if page is None:
        raise ValueError("verovio cannot read it")
    return svg.read(page.svg, font)


def labelled(
    mei: str, font: str = "Leipzig", typeface: Typeface = PLAIN, **options: object
) -> list[Symbol]:
    """Label the first page of a score."""
    return symbols(drawn(mei, font, typeface, **options))


def counted(labels: Sequence[Symbol], *, without: str = "") -> dict[str, int]:
    """Count symbols by category; ``without`` lists categories to skip."""
    counts = Counter(symbol.category for symbol in labels)
    return {name: n for name, n in counts.items() if name not in without.split()}
