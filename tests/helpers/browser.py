"""Opens pages in headless Chromium, without network access, and measures them."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pytest

# Each page is shown unchanged in a frame of the requested width, because the width of the window has
# a lower limit; the script of the surrounding page takes the measurements.
_MEASURE = """
const seen = {};
for (const frame of document.querySelectorAll('iframe')) {
  const page = frame.contentDocument, view = frame.contentWindow;
  const result = await use(page, view);
  page.querySelectorAll('details').forEach(one => one.open = true);
  const shown = one => one.getClientRects().length && one.textContent.trim();
  const own = one => [...one.childNodes].some(n => n.nodeType == 3 && n.textContent.trim());
  const size = one => parseFloat(view.getComputedStyle(one).fontSize);
  const words = [...page.body.querySelectorAll('*')].filter(
    one => own(one) && shown(one) && !one.closest('svg'));
  const labels = [...page.querySelectorAll('svg text')].filter(shown);
  const box = one => one.getBoundingClientRect();
  const outside = labels.filter(one => box(one).left < -1 || box(one).right > page.documentElement.clientWidth + 1);
  const hits = [];
  for (const plot of page.querySelectorAll('svg[role=img]')) {
    const inside = [...plot.querySelectorAll('text')].filter(shown);
    inside.forEach((a, i) => inside.slice(i + 1).forEach(b => {
      const p = box(a), q = box(b);
      if (Math.min(p.right, q.right) - Math.max(p.left, q.left) > 3 &&
          Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 4)
        hits.push(a.textContent + ' | ' + b.textContent);
    }));
  }
  seen[frame.id] = {
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    words_px: Math.min(...words.map(size)),
    labels_px: labels.length ? Math.min(...labels.map(size)) : null,
    outside: outside.map(one => one.textContent),
    overlaps: hits,
    plots: [...page.querySelectorAll('svg[role=img]')].filter(
      one => box(one).width > 100 && box(one).height > 20).map(one => one.id),
    background: view.getComputedStyle(page.body).backgroundColor,
    text: page.body.innerText,
    result,
    requests: view.performance.getEntriesByType('resource').map(one => one.name).filter(
      name => !name.startsWith('data:')),
  };
}
document.body.textContent = 'MEASURED' + JSON.stringify(seen) + 'END';
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurements:
    """Measurements of pages in a browser."""

    pages: dict[str, dict[str, Any]]
    """Measurements by name of the page."""
    console: list[str]
    """Lines of the browser's console."""


def open_pages(
    pages: Mapping[str, tuple[str, int]], folder: Path, *, dark: bool = False, use: str = ""
) -> Measurements:
    """Open several pages at once and measure them.

    Args:
        pages: HTML and width in pixels of each page, by name.
        folder: Empty folder for the browser.
        dark: Whether to prefer a dark colour scheme.
        use: Body of an async JavaScript function of ``page``, the document, and ``view``, its
            window, which is called before each page is measured and returns its ``result``.
    """
    browser = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None
    )
    if browser is None:
        pytest.skip("no chromium: apt-get install chromium")
    frames = "".join(
        f'<iframe id="{name}" style="width:{width}px;height:900px" srcdoc="{escape(text)}"></iframe>'
        for name, (text, width) in pages.items()
    )
    outer = folder / "outer.html"
    outer.write_text(
        f"<body>{frames}<script>const use = async (page, view) => {{{use}}};"
        f"addEventListener('load', async () => {{{_MEASURE}}})</script>",
        "utf-8",
    )
    done = subprocess.run(
        [
            browser,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--enable-logging=stderr",
            "--v=0",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=2000",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--dump-dom",
            outer.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    match = re.search("MEASURED(.*)END", done.stdout, re.DOTALL)
    assert match, done.stdout[-2000:] + done.stderr[-2000:]
    measures = match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u00a0")
    return Measurements(
        pages=json.loads(measures.replace("&amp;", "&")),
        console=[line for line in done.stderr.splitlines() if "CONSOLE" in line],
    )
