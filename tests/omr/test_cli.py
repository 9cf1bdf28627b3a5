import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_commands import commands
from deepscores import NOTE, content, write
from typer.testing import CliRunner

from omr.cli import app, main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit status of ``omr`` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["omr", *map(str, arguments)])
    with pytest.raises(SystemExit) as raised:
        main()
    return int(raised.value.code or 0)


def test_user_errors_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "[in]", content(NOTE, ("99", [1, 1, 9, 9])))
    assert run(monkeypatch, "convert", path, tmp_path / "out") == 1
    assert capsys.readouterr().err == (
        f"error: {path}: annotations.cat_id: not in categories: 1 category id (99)\n"
    )


def test_usage_errors_exit_with_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "convert", "--tiles", "3") == 2


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("class_maps.shipped", broken)
    monkeypatch.setattr(sys, "argv", ["omr", "classes", "list"])
    with pytest.raises(ZeroDivisionError):
        main()


@pytest.mark.parametrize("name", ["omr", "omr classes", "omr heads", *dict(commands())])
def test_help_shows_no_types_of_python(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(app, [*name.split()[1:], "--help"])
    assert result.exit_code == 0
    assert "--help" in result.output
    assert re.findall(r"<bool>|list\[|[{}]", result.output) == []


def test_arguments_are_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, ["convert", "--help"]).output
    assert "convert [OPTIONS] SOURCE OUT" in shown
    assert re.search(r"\* +OUT +<path>", shown)
    missing = CliRunner().invoke(app, ["convert"]).output
    assert "Missing argument 'SOURCE'." in missing


@pytest.mark.parametrize(("name", "text"), commands())
def test_help_ends_with_an_example(name: str, text: str) -> None:
    assert text.rstrip().splitlines()[-1].strip().startswith(f"Example: {name}")


@pytest.mark.parametrize(
    ("environment", "policy"),
    [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"), ({"GOMP_SPINCOUNT": "9"}, None)],
)
def test_threads_wait_without_spinning(environment: dict[str, str], policy: str | None) -> None:
    """As the process sees it when it loads torch; settings of the user are kept."""
    code = (
        "import os, sys; from omr import cli; assert 'torch' not in sys.modules; "
        "cli.app = lambda: print(os.environ.get('OMP_WAIT_POLICY')); cli.main()"
    )
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.strip() == str(policy)
