"""A web page in one file: style, sections, tables; nothing is fetched when it is opened.

Text goes in as it is and is escaped here; what is markup already is called ``body`` or ``markup``.
"""

from collections.abc import Iterable, Sequence
from html import escape

from eval.html.svg import STYLE as PLOT_STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The browser refuses whatever would reach the network, or run."""
_STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg); line-height: 1.5;
  font: 17px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 20px 16px 60px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .2em 0 .4em; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 2.2em 0 .3em; padding-top: .7em;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: .2em 0 .1em; }
p { margin: .4em 0 .8em; max-width: 46em; overflow-wrap: anywhere; }
ul { padding-left: 1.2em; margin: .3em 0; max-width: 46em; } li { overflow-wrap: anywhere; }
.muted { color: var(--muted); }
.verdict { border: 1px solid var(--line); border-left: 8px solid var(--s0); background: var(--card);
  border-radius: 8px; padding: 10px 16px 14px; }
.verdict.good { border-left-color: var(--s1); } .verdict.bad { border-left-color: var(--s4); }
pre { background: var(--bg); border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px;
  margin: .5em 0; white-space: pre-wrap; overflow-wrap: anywhere; user-select: all;
  font: 16px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre span { display: inline-block; max-width: 100%; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 10px;
  margin: 16px 0; padding: 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 8px 12px; }
.facts dt { color: var(--muted); font-size: 16px; }
.facts dd { margin: 0; font-size: 1.3rem; font-weight: 650; overflow-wrap: anywhere; }
.facts dd.more { font-size: 16px; font-weight: 400; line-height: 1.35; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
  gap: 14px 40px; align-items: start; }
.plots > div { min-width: 0; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: .3em 0 .8em; }
.key { display: inline-block; width: 14px; height: 14px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px; }
.key.hollow { background: var(--bg); border: 3px solid var(--s4); border-radius: 50%; }
.key.round { border-radius: 50%; }
.key.dash { background: none; height: 0; border-top: 3px dashed var(--s4); width: 22px;
  vertical-align: 4px; }
.key.mark { background: var(--fg); height: 3px; width: 22px; vertical-align: 4px; }
.scroll { overflow-x: auto; width: fit-content; max-width: 100%; margin: .6em 0 1em;
  border: 1px solid var(--line); border-radius: 8px; }
.scroll.tall { max-height: 75vh; overflow-y: auto; }
table { border-collapse: separate; border-spacing: 0; font-size: 16px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
thead th { background: var(--card); position: sticky; top: 0; z-index: 2; vertical-align: bottom; }
tbody tr:last-child > * { border-bottom: 0; }
th:first-child { text-align: left; font-weight: 600; position: sticky; left: 0;
  background: var(--bg); border-right: 1px solid var(--line);
  white-space: normal; overflow-wrap: break-word; }
.tall th:first-child { min-width: min(42vw, 14em); max-width: 42vw; }
thead th:first-child { background: var(--card); z-index: 3; }
.narrow { max-width: 820px; }
summary { cursor: pointer; padding: 8px 0; color: var(--s0); font-weight: 600; }
@media print { details { display: block; } }
"""


def page(title: str, body: str) -> str:
    """Make a whole page of its parts."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{PLOT_STYLE}{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def section(name: str, title: str, body: str) -> str:
    """Put a heading over a part of the page.

    Args:
        name: The id of the section.
        title: The heading.
        body: What stands under it.
    """
    return f'<section id="{escape(name)}">\n<h2>{escape(title)}</h2>\n{body}\n</section>\n'


def paragraph(words: str, style: str = "") -> str:
    """Set words as a paragraph."""
    return f'<p class="{style}">{escape(words)}</p>\n' if style else f"<p>{escape(words)}</p>\n"


def subheading(words: str) -> str:
    """Set words over a plot."""
    return f"<h3>{escape(words)}</h3>\n"


def code(line: str, name: str = "command") -> str:
    """Set a line to copy; one click takes all of it."""
    # A word that is cut at its hyphens, --batch to -- and batch, is hard to read.
    words = " ".join(f"<span>{escape(word)}</span>" for word in line.split(" "))
    return f'<pre id="{name}">{words}</pre>\n'


def verdict(kind: str, answer: str, body: str) -> str:
    """Set the answer that the page is about.

    Args:
        kind: ``good``, ``bad`` or ``open``.
        answer: In one line.
        body: What stands under it.
    """
    mark = {"good": "✓ ", "bad": "✕ "}.get(kind, "")
    return f'<div class="verdict {kind}"><h1>{mark}{escape(answer)}</h1>\n{body}</div>\n'


def bullets(lines: Iterable[str]) -> str:
    """Set lines as a list; nothing where there is none."""
    entries = "".join(f"<li>{escape(entry)}</li>" for entry in lines)
    return f"<ul>{entries}</ul>\n" if entries else ""


def facts(entries: Iterable[tuple[str, str, str]]) -> str:
    """Show a few figures large.

    Args:
        entries: What each is, the figure, and what else there is to say of it, or nothing.
    """
    boxes = "".join(
        f"<div><dt>{escape(what)}</dt><dd>{escape(figure)}</dd>"
        + (f'<dd class="more">{escape(more)}</dd>' if more else "")
        + "</div>"
        for what, figure, more in entries
    )
    return f'<dl class="facts">{boxes}</dl>\n'


def table(
    label: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, tall: bool = False
) -> str:
    """Set a table that scrolls where it is wider than the page.

    Args:
        label: What the table shows, for readers who cannot see it.
        columns: Headings; those of figures stand right.
        rows: The first of each row names it.
        tall: Let it scroll up and down too, so that its headings stay in sight.
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row" title="{escape(first)}">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>\n"
        for first, *cells in rows
    )
    style = "scroll tall" if tall else "scroll"
    return (
        f'<div class="{style}" role="region" aria-label="{escape(label)}" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def side_by_side(name: str, pictures: Iterable[str]) -> str:
    """Set plots beside each other where there is room.

    Args:
        name: The id of the group.
        pictures: The markup of each.
    """
    inner = "".join(f"<div>{markup}</div>\n" for markup in pictures)
    return f'<div class="plots" id="{escape(name)}">\n{inner}</div>\n'


def narrow(markup: str) -> str:
    """Keep a plot from growing as wide as a large screen."""
    return f'<div class="narrow">{markup}</div>\n'


def folded(summary: str, body: str) -> str:
    """Hide what only some readers want behind a line to open."""
    return f"<details><summary>{escape(summary)}</summary>\n{body}</details>\n"
