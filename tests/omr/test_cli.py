import sys
from pathlib import Path

import pytest
from cli_commands import commands
from deepscores import NOTE, content, write

from omr.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Exit status of ``omr words``."""
    monkeypatch.setattr(sys, "argv", ["omr", *map(str, words)])
    with pytest.raises(SystemExit) as raised:
        main()
    return int(raised.value.code or 0)


def test_a_users_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "[in]", content(NOTE, ("99", [1, 1, 9, 9])))
    assert run(monkeypatch, "convert", path, tmp_path / "out") == 1
    assert capsys.readouterr().err == (
        f"error: {path}: annotations.cat_id: not in categories: 1 category id (99)\n"
    )


def test_a_wrong_option_is_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "convert", "--tiles", "3") == 2


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("class_maps.shipped", broken)
    monkeypatch.setattr(sys, "argv", ["omr", "classes", "list"])
    with pytest.raises(ZeroDivisionError):
        main()


@pytest.mark.parametrize(("name", "text"), commands())
def test_every_command_has_help_that_ends_with_an_example(name: str, text: str) -> None:
    assert text.rstrip().splitlines()[-1].strip().startswith(f"Example: {name}")
