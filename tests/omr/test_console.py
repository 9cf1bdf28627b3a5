import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from terminal import drawn_lines, last_lines, run_in_terminal

from omr import console

TEXT = "out of memory on [RTX 5090]: with --batch 32 and 40,000 symbols an image"


@pytest.mark.parametrize("show", [partial(console.entry, to=console.err), console.note])
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


def test_progress_in_a_file_is_a_line_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0

    def pages() -> Iterator[int]:
        nonlocal now
        for page in range(1, 9):
            now += 4
            yield page

    monkeypatch.setattr("time.monotonic", lambda: now)
    assert list(console.progress(pages(), "Converting", 1234)) == [*range(1, 9)]
    lines = "Converting: 3 of 1,234\nConverting: 6 of 1,234\n"
    assert capsys.readouterr() == ("", lines)


@pytest.mark.parametrize(
    ("call", "is_shown"), [("loading_torch()", True), ("loading_torch(as_json=True)", False)]
)
def test_loading_is_shown_on_a_terminal_until_it_ends(
    call: str, is_shown: bool, tmp_path: Path
) -> None:
    code = f"from omr.console import loading_torch, say\nwith {call}: print('x')\nsay('done')"
    command, out = [sys.executable, "-c", code], tmp_path / "out"
    written = run_in_terminal(command, columns=80, stdout=out)
    assert ("Loading PyTorch ..." in drawn_lines(written)) == is_shown
    assert last_lines(written) == ["done"]
    assert out.read_text() == "x\n"
    assert subprocess.run(command, capture_output=True, check=True).stderr == b"done\n"


def test_tables_in_a_file_are_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a long name of a class " * 9
    console.table("Title", ("class", "symbols"), [(name, 1234)], to=console.results())
    out, err = capsys.readouterr()
    assert err == ""
    assert re.search(f"{name.strip()} +1,234", out)


def test_results_go_to_stdout_unless_json_or_another_command_does() -> None:
    assert console.results() is console.out
    assert console.results(as_json=True) is console.err
    with console.results_on_stderr():
        assert console.results() is console.err
    assert console.results() is console.out


@pytest.mark.parametrize(
    "show",
    [
        console.note,
        console.heading,
        console.say,
        lambda text: console.table(text, (text,), [(text,)], [(text,)], to=console.err),
    ],
)
def test_emoji_codes_in_names_are_printed_verbatim(
    show: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    show("scores/:x:/note:musical_note:")
    shown = capsys.readouterr().err
    assert "scores/:x:/note:musical_note:" in shown
    assert "\N{CROSS MARK}" not in shown
