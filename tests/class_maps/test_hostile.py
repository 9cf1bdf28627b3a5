"""Class maps that could hang, exhaust memory, run code, or end in a traceback."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import class_maps
from class_maps import InputError
from omr.cli import app

FOLDER = Path(__file__).parent / "hostile"
FILES = sorted(FOLDER.glob("*.yaml"))
VALID = {"bom", "hex", "map_same", "markup", "markup_bad", "uml"}
"""Files that are class maps, although they look unusual."""
MAX_KB = 300_000
MEASURE = r"""
import re, sys
from pathlib import Path
import class_maps
for path in sys.argv[1:]:
    try:
        class_maps.load(path)
    except class_maps.InputError:
        pass
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_class_map_is_shown_or_refused_in_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER)
    start = time.perf_counter()
    result = CliRunner().invoke(app, ["classes", "show", path.name])
    assert time.perf_counter() - start < 2
    if path.stem in VALID:
        assert result.exit_code == 0, result.output
        return
    error = result.exception
    assert isinstance(error, InputError)
    assert str(error).startswith(f"{path.name}: ")
    assert str(error).isprintable()
    assert len(str(error)) <= 300


def test_memory_is_bounded() -> None:
    command = [sys.executable, "-c", MEASURE, *map(str, FILES)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(result.stdout) < MAX_KB


def test_no_code_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the file would create PWNED
    with pytest.raises(InputError, match=r"line 1: could not determine a constructor for the tag"):
        class_maps.load(str(FOLDER / "pytag.yaml"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("annset_coco", "sources.coco.annotation_set: coco data have no annotation sets; remove it"),
        ("ansi", r"classes[0]: expected a name, got str '\x1b[31ma'"),
        ("badutf", "is not UTF-8 text (byte 6: 0xff); save it as UTF-8"),
        ("bomb_unknown_keys", "aliases expand the file to more than 1,048,576 values"),
        ("classes_num", "classes[0]: expected a name, got int 1; write a name instead of an id, or quote it"),
        ("date_bad", "line 1: invalid value: '2026-99-99'"),
        ("deep_flow_closed", "lists or mappings are nested too deeply"),
        ("dup_listkey", "line 1: a list or a mapping cannot be a key"),
        ("map_num", "sources.coco.map: expected names as keys, got [1]; write names instead of ids, and quote names that YAML reads as numbers or booleans"),
        ("unl_dup", "sources.coco.unlabelled: duplicate: b"),
        ("utf16", "is UTF-16 text; save it as UTF-8"),
    ],
)  # fmt: skip
def test_messages(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    with pytest.raises(InputError) as raised:
        class_maps.load(f"{name}.yaml")
    assert str(raised.value) == f"{name}.yaml: {message}"


def test_a_device_is_not_read() -> None:
    with pytest.raises(InputError, match=r"^/dev/zero: is not a file; expected a class map$"):
        class_maps.load("/dev/zero")


def test_a_large_file_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"a" * (class_maps.yaml_files.MAX_BYTES + 1))
    with pytest.raises(InputError, match=r"is too large for a class map: 1,048,577 bytes$"):
        class_maps.load(str(path))


def test_a_class_map_of_many_classes_takes_linear_time(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    names = ", ".join(f"c{i}" for i in range(15_000))
    path.write_text(f"name: x\nclasses: [{names}]\nsources: {{coco: {{map: same names}}}}\n")
    start = time.process_time()
    result = CliRunner().invoke(app, ["classes", "show", str(path), "--json"])
    assert result.exit_code == 0
    assert time.process_time() - start < 6  # with a search per class, 6 s more


def aliases(depth: int) -> str:
    """A YAML list whose values double with every alias."""
    lines = ["- &a0 [x, x]", *(f"- &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, depth))]
    return "\n".join(lines)


def test_aliases_are_followed_up_to_a_number_of_values(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(aliases(5))
    assert class_maps.yaml_files.read_any(path, "list")[1] == [["x", "x"], ["x", "x"]]
    for text in (aliases(40), "- &a [*a]"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"aliases expand the file to more than 1,048,576 va"):
            class_maps.yaml_files.read_any(path, "list")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("a♯ b", "a♯ b"),
        ("a\nb\x1b[31m\udcff", "a\\nb\\x1b[31m\\udcff"),
        ("x" * 700_000, f"{'x' * 1000} ... {'x' * 1000}"),
    ],
)
def test_messages_are_one_line(message: str, expected: str) -> None:
    assert str(class_maps.OmrError(message)) == expected
    assert str(class_maps.ConfigError(message)) == expected
    assert str(InputError(message, path=Path("a"))).isprintable()
