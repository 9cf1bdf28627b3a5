"""Sets scores that nobody vouches for, each in a process of its own.

A score can make verovio abort, hang or fill the memory. The child gets the request as JSON on its
standard input and answers as JSON on its standard output; whatever else happens is a failure.
"""

import json
import random
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from class_maps import InputError
from converters.engraving import score_files, typesetting
from converters.engraving.typesetting import Layout, SetPage

TIME_LIMIT_S = 60.0
MEMORY_LIMIT_BYTES = 4 << 30
MODULE = "converters.engraving.child"


def examine(path: Path) -> str | None:
    """Read a score in a child process; returns what is wrong with it, or None."""
    answer = _ask({"path": str(path)})
    return answer.get("error")


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
        mei = typesetting.to_mei(score)
        if mei is None:
            return {"error": "verovio cannot read it"}
        return {} if "<note " in mei else {"error": "a score without notes"}
    rng, layout = random.Random(request["seed"]), Layout(**request["layout"])
    page = typesetting.set_score(score, layout, rng, decorated=request["decorated"])
    return {"error": "verovio cannot set it"} if page is None else asdict(page)


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (asked["memory"], asked["memory"]))
    json.dump(_answer(asked), sys.stdout)
