"""Child processes that typeset untrusted music files, one process per file.

A file can make verovio abort, hang or exhaust memory. The child process reads the request as JSON
from standard input and answers as JSON on standard output; any other outcome is a failure.
"""

import json
import os
import random
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from class_maps import InputError
from converters.engraving import music_files, svg, typesetting
from converters.engraving.symbols import Symbol, symbols
from converters.engraving.typefaces import Typeface
from converters.engraving.typesetting import PageLayout, SetPage

TIME_LIMIT_S = 60.0
MEMORY_LIMIT_BYTES = 4 << 30
MODULE = "converters.engraving.child"
_WARNING = re.compile(r"^\[Warning\] (.*\S)", re.MULTILINE)
_NOTE = re.compile(r'class="note[ "]')
"""Start of a note's group in verovio's SVG."""
NO_NOTES = "contains no notes"
NO_NOTES_AT_FIRST = (
    "the first of its {} pieces contains no notes, and verovio draws only the first; save each "
    "piece in a file of its own"
)
NO_NOTEHEADS = (
    "contains no noteheads with a category; tablature, mensural notation and special noteheads "
    "have none"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """Result of typesetting a music file once."""

    pitch_hash: str = ""
    """Hash of its pitches, equal for all formats of a piece; see :func:`music_files.pitch_hash`."""
    error: str = ""
    """Reason why the file cannot be used; empty if it can."""
    warnings: tuple[str, ...] = ()
    """Remarks on skipped music, and warnings of verovio, mostly about elements that it skips."""


def examine(path: Path) -> Examined:
    """Typeset and label all pages of a music file in a child process."""
    answer = _request({"path": str(path)})
    return Examined(**answer | {"warnings": tuple(answer.get("warnings", ()))})


def set_page(
    path: Path, layout: PageLayout, seed: int, *, decorated: bool, transpose: bool
) -> SetPage | None:
    """Typeset a music file and choose one of its pages in a child process; None on failure."""
    choices = {"seed": seed, "decorated": decorated, "transpose": transpose}
    answer = _request({"path": str(path), "layout": asdict(layout), **choices})
    return None if "error" in answer else SetPage(**answer)


def _request(request: dict[str, Any]) -> dict[str, Any]:
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-m", MODULE],
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)},
            input=json.dumps(request | {"memory": MEMORY_LIMIT_BYTES}).encode(),
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not read within {TIME_LIMIT_S:g} s"}
    if process.returncode:
        return {"error": f"verovio crashed while reading it (exit status {process.returncode})"}
    answer: dict[str, Any] = json.loads(process.stdout)
    if "pitch_hash" in answer:
        warnings = _WARNING.findall(process.stderr.decode("utf-8", "replace"))
        answer["warnings"] = list(dict.fromkeys([*warnings, *answer["warnings"]]))
    return answer


def _respond(request: dict[str, Any]) -> dict[str, Any]:
    try:
        music = music_files.read(Path(request["path"]))
    except InputError as error:
        return {"error": error.reason}
    if "layout" not in request:
        return _examine(music)
    rng, layout = random.Random(request["seed"]), _layout(request["layout"])
    choices = {name: request[name] for name in ("decorated", "transpose")}
    page = typesetting.typeset(music, layout, rng, **choices)
    if page is None:
        return {"error": "verovio cannot typeset it"}
    _, problem = _labelled(page.svg, layout.font)
    return {"error": problem} if problem else asdict(page)


def _layout(fields: dict[str, Any]) -> PageLayout:
    return PageLayout(**fields | {"typeface": Typeface(**fields["typeface"])})


def _examine(music: str) -> dict[str, Any]:
    pages = typesetting.plain_pages(music)
    if not pages:
        return {"error": "verovio cannot read it"}
    if not any(map(_NOTE.search, pages)):
        n_pieces = music_files.n_pieces(music)
        return {"error": NO_NOTES if n_pieces < 2 else NO_NOTES_AT_FIRST.format(n_pieces)}
    has_noteheads = False
    for page in pages:
        labelled, error = _labelled(page, typesetting.PLAIN_FONT)
        if error:
            return {"error": error}
        has_noteheads |= any(symbol.position is not None for symbol in labelled)
    if not has_noteheads:
        return {"error": NO_NOTEHEADS}
    pitch_hash = music_files.pitch_hash(typesetting.to_mei(music) or music, music)
    return {"pitch_hash": pitch_hash, "warnings": list(_losses(music, pages))}


def _losses(music: str, pages: Sequence[str]) -> Iterator[str]:
    """Yield remarks on music that verovio skips without a warning.

    Examples are a second piece in a Humdrum file, and a part that the part list does not name.
    """
    n_drawn = sum(len(_NOTE.findall(page)) for page in pages)
    n_notes, n_pieces = music_files.n_notes(music), music_files.n_pieces(music)
    if n_notes is not None and n_drawn < n_notes:
        yield f"only {n_drawn} of its {n_notes} notes are drawn"
    if n_pieces > 1:
        yield f"only the first of its {n_pieces} pieces is drawn"


def _labelled(page: str, font: str) -> tuple[list[Symbol], str]:
    """Label a page, or describe the error, so that one bad file does not stop the others."""
    try:
        return symbols(svg.read(page, font)), ""
    except Exception as error:
        return [], f"its page cannot be labelled: {type(error).__name__}: {error}"


if __name__ == "__main__":
    request = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (request["memory"], request["memory"]))
    # so that a child ends even if its parent was killed
    resource.setrlimit(resource.RLIMIT_CPU, (int(TIME_LIMIT_S), int(TIME_LIMIT_S)))
    typesetting.print_warnings()
    json.dump(_respond(request), sys.stdout)
