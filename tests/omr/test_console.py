import re
from collections.abc import Callable

import pytest

from omr import console

TEXT = "out of memory on [RTX 5090]: with --batch 32 and 40,000 symbols an image"


@pytest.mark.parametrize("show", [console.entry, console.note])
@pytest.mark.parametrize("terminal", [True, False])
def test_text_is_wrapped_on_a_terminal_only(
    show: Callable[[str], None],
    terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setattr(console.err, "width", 30)
    show(TEXT)
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().err).splitlines()
    assert len(lines) == (3 if terminal else 1)
    if terminal:
        assert max(map(len, lines)) <= 30
    assert " ".join(" ".join(lines).split()).partition(" ")[2] == TEXT
