"""HTML page of contact sheets, which filters their crops.

Written without Jinja2, which takes longer to import than the sheets of a small data set to draw.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from string import Template

from markupsafe import escape

from eval.html.inline import FOLDER, inline
from eval.sheets.selection import Group
from eval.sheets.sheets import PlacedCrop, Sheet

_STYLES = ("colours.css", "report.css", "sheets.css")


def sheet_page(
    sheets: Sequence[Sheet],
    files: Sequence[str] | None,
    *,
    title: str,
    order: str,
    remark: str = "",
    absent: Mapping[Group, int] | None = None,
) -> str:
    """Render the page.

    Args:
        sheets: Sheets in the order of the page.
        files: Picture of each sheet, relative to the page; None to embed the crops.
        title: Name of the data set.
        order: First symbols of every class, as HTML.
        remark: Further sentences, as HTML.
        absent: Number of symbols of each class and source that is not shown.
    """
    reasons = Counter(crop.crop.symbol.reason for sheet in sheets for crop in sheet.crops)
    sources = sorted({sheet.source for sheet in sheets})
    if absent:
        names = (f"{_name(*group)} ({n:,})" for group, n in absent.items())
        remark += f" Not shown: {', '.join(names)}."
    script = inline(["sheets.js"])
    return Template((FOLDER / "sheets.html").read_text("utf-8")).substitute(
        title=escape(title),
        image_sources="'self' file:" if files else "data:",
        script=script.text,
        script_hash=script.hash,
        style=inline(_STYLES).text,
        order=order,
        remark=f"<p>{remark}</p>\n" if remark else "",
        classes=_options({sheet.class_name for sheet in sheets}),
        source_choice=_source_choice(sources) if len(sources) > 1 else "",
        reasons=_options(reasons),
        n_crops=reasons.total(),
        sections="\n".join(
            _section(sheet, files[i] if files else "") for i, sheet in enumerate(sheets)
        ),
    )


def _options(values: Iterable[str]) -> str:
    return "".join(f"<option>{escape(value)}</option>" for value in sorted(values))


def _source_choice(sources: Iterable[str]) -> str:
    options = f'<option value="">all</option>{_options(sources)}'
    return f'<label>Source <select name="source">{options}</select></label>\n'


def _name(class_name: str, source: str) -> str:
    return str(escape(f"{class_name} from {source}" if source else class_name))


def _section(sheet: Sheet, file: str) -> str:
    name, source = escape(sheet.class_name), escape(sheet.source)
    origin = f' <span class="muted">from {source}</span>' if source else ""
    figures = "\n".join(_figure(crop, sheet, file) for crop in sheet.crops)
    return (
        f'<section data-class="{name}" data-source="{source}">\n'
        f'<h2>{name}{origin} <span class="count">{sheet.n_symbols:,}</span></h2>\n'
        f'<div class="crops">\n{figures}\n</div>\n</section>'
    )


def _figure(crop: PlacedCrop, sheet: Sheet, file: str) -> str:
    """Show a crop: its own picture, or the part of the sheet's picture that contains it."""
    width, height, caption = crop.width, crop.height, escape(crop.caption)
    reason = escape(crop.crop.symbol.reason)
    style = "width:100%"
    if file:
        style = (
            f"width:{100 * sheet.width / width:.4f}%;left:{-100 * crop.x / width:.4f}%;"
            f"top:{-100 * crop.y / height:.4f}%"
        )
    picture = (
        f'<img src="{file or crop.url}" alt="{escape(sheet.class_name)}: {caption}"'
        f' loading="lazy" style="{style}">'
    )
    reduced = ' class="reduced"' if crop.crop.is_reduced else ""
    text = f"<figcaption>{reason}</figcaption>" if reason != "random" else ""
    return (
        f'<figure data-reason="{reason}" title="{caption}" tabindex="0">'
        f'<div{reduced} style="width:{width}px;aspect-ratio:{width}/{height}">{picture}</div>'
        f"{text}</figure>"
    )
