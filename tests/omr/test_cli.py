import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from cli_commands import commands, examples
from deepscores import NOTE, content, write
from typer.testing import CliRunner

from omr.cli import app, main
from omr.help_layout import PANELS


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
    assert "convert [OPTIONS] SOURCE... OUT" in shown
    assert re.search(r"\* +OUT +<path>", shown)


@pytest.mark.parametrize(
    ("words", "missing"), [([], "SOURCE"), (["a"], "OUT"), (["--seed", "1", "a"], "OUT")]
)
def test_the_missing_argument_is_named(words: list[str], missing: str) -> None:
    result = CliRunner().invoke(app, ["convert", *words])
    assert result.exit_code == 2
    assert f"Missing argument '{missing}'." in result.output


@pytest.mark.parametrize(("name", "text"), commands())
def test_help_ends_with_examples(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = examples(text)
    assert len(lines) in {2, 3}
    assert all(re.match(rf"{name}\b", line) for line in lines)
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, *name.split()[1:], "--help") == 0
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    start = shown.index("Examples:") + 1
    assert shown[start : start + len(lines)] == lines


@pytest.mark.parametrize("name", PANELS)
def test_options_are_grouped(name: str) -> None:
    command = getattr(typer.main.get_command(app), "commands", {})[name]
    panel_of = {p.name: p.rich_help_panel for p in command.get_params(typer.Context(command))}
    for panel, names in PANELS[name].items():
        assert {panel_of[option] for option in names} == {panel}
    ungrouped = [option for option, panel in panel_of.items() if panel is None]
    assert len(ungrouped) <= 8  # arguments and --help included


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
