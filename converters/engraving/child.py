"""Sets scores that nobody vouches for, each in a process of its own.

A score can make verovio abort, hang or fill the memory. The child gets the request as JSON on its
standard input and answers as JSON on its standard output; whatever else happens is a failure.
"""

import json
import random
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from class_maps import InputError
from converters.engraving import score_files, svg, typesetting
from converters.engraving.symbols import symbols
from converters.engraving.typesetting import Layout, SetPage

TIME_LIMIT_S = 60.0
MEMORY_LIMIT_BYTES = 4 << 30
MODULE = "converters.engraving.child"


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What is known of a score after it was set once."""

    music: str = ""
    """:func:`score_files.music` of it."""
    error: str = ""
    """What is wrong with it."""


def examine(path: Path) -> Examined:
    """Read a score in a child process, set all of its pages and label them."""
    return Examined(**_ask({"path": str(path)}))


def set_page(path: Path, layout: Layout, seed: int, *, decorated: bool) -> SetPage | None:
    """Set a score and choose one of its pages in a child process; None where that fails."""
    how = {"layout": asdict(layout), "seed": seed, "decorated": decorated}
    answer = _ask({"path": str(path), **how})
    return None if "error" in answer else SetPage(**answer)


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", MODULE],
            input=json.dumps(request | {"memory": MEMORY_LIMIT_BYTES}).encode(),
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not read within {TIME_LIMIT_S:g} s"}
    if done.returncode:
        return {"error": f"verovio stopped while reading it (exit status {done.returncode})"}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        score = score_files.read(Path(request["path"]))
    except InputError as error:
        return {"error": error.reason}
    if "layout" not in request:
        return _examined(score)
    rng, layout = random.Random(request["seed"]), Layout(**request["layout"])
    decorated = request["decorated"]
    page = typesetting.set_score(score, layout, rng, decorated=decorated, transpose=True)
    if page is None:
        return {"error": "verovio cannot set it"}
    trouble = _label(page.svg, layout.font)
    return {"error": trouble} if trouble else asdict(page)


def _examined(score: str) -> dict[str, Any]:
    pages = typesetting.plain_pages(score)
    if not pages:
        return {"error": "verovio cannot read it"}
    if not any('class="note"' in svg for svg in pages):
        return {"error": "a score without notes"}
    errors = [_label(svg, typesetting.PLAIN_FONT) for svg in pages]
    return next(({"error": e} for e in errors if e), {"music": score_files.music(score)})


def _label(page: str, font: str) -> str:
    """Say why a page cannot be labelled; whatever it is, it must not stop the others."""
    try:
        symbols(svg.read(page, font))
    except Exception as error:
        return f"its page cannot be labelled: {type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (asked["memory"], asked["memory"]))
    # a child whose parent was killed ends, too
    resource.setrlimit(resource.RLIMIT_CPU, (int(TIME_LIMIT_S), int(TIME_LIMIT_S)))
    json.dump(_answer(asked), sys.stdout)
