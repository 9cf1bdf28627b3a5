"""Typesetting without a child process per music file, for files that are known to be harmless."""

import json
from functools import cache
from typing import Any

import pytest

from converters.engraving import child


def typeset_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer the requests to child processes in the process of the test, each once.

    Warnings of verovio are missing from the answers. Child processes have tests in
    ``test_dataset.py``.
    """

    @cache
    def answer(request: str) -> str:
        return json.dumps(child._respond(json.loads(request)))

    def respond(request: dict[str, Any]) -> Any:  # noqa: ANN401
        return json.loads(answer(json.dumps(request)))

    monkeypatch.setattr(child, "_request", respond)
