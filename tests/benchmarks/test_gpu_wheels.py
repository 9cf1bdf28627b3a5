import os
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from gpu_packages import (
    ROOT,
    START,
    Sources,
    imported_modules,
    imported_packages,
    problems,
    project_requirements,
    read_list,
    wheel_requirements,
)
from packaging.requirements import Requirement

GPU = ROOT / "benchmarks" / "gpu"
PINS = read_list(ROOT / "constraints.txt")
WHEELS = read_list(GPU / "wheels.txt")
LEFT_OUT = read_list(GPU / "left_out.txt")


def test_every_requirement_is_installed_downloaded_or_skipped() -> None:
    start = [path for folder in START for path in sorted((ROOT / folder).rglob("*.py"))]
    needs = [
        *imported_packages([*start, ROOT / "tests" / "conftest.py"]),
        *project_requirements(),
        *wheel_requirements(WHEELS),
    ]
    sources = Sources(
        wheels={name: PINS[name] for name in WHEELS},
        machine=read_list(GPU / "machine.txt"),
        left_out=frozenset(LEFT_OUT),
    )
    assert "\n".join(problems(needs, sources)) == ""


def test_requirements_are_read_from_the_pinned_versions() -> None:
    assert {name: version(name) for name in WHEELS} == {name: PINS[name] for name in WHEELS}


@pytest.mark.parametrize("remarks", [WHEELS, LEFT_OUT], ids=["wheels", "left_out"])
def test_every_entry_has_a_reason(remarks: dict[str, str]) -> None:
    assert remarks
    assert [name for name, reason in remarks.items() if not reason] == []


@pytest.mark.parametrize(
    ("needs", "sources", "expected"),
    [
        ([], Sources(), []),
        (["numpy>=2"], Sources(machine={"numpy": "2.5.2"}), []),
        (["NumPy>=3"], Sources(machine={"numpy": ""}), []),
        (["numpy<2.5"], Sources(machine={"numpy": "2.5.2"}), ["numpy 2.5.2: does not satisfy numpy<2.5"]),
        (["a_b==1"], Sources(wheels={"a-b": "2"}), ["a-b 2: does not satisfy a_b==1"]),
        (["a"], Sources(), ["a: neither on the machine, nor fetched, nor left out"]),
        (["a"], Sources(left_out=frozenset("a")), []),
        (["a"], Sources(left_out=frozenset("a"), machine={"a": ""}), ["a: left out, but available"]),
        (["a"], Sources(wheels={"a": "1"}, machine={"a": ""}), ["a: fetched, but the machine has it"]),
        (
            [],
            Sources(wheels={"b": "1"}, left_out=frozenset("a"), machine={"c": ""}),
            ["a: left out, but nothing needs it", "b: fetched, but nothing needs it"],
        ),
    ],
)  # fmt: skip
def test_problems_of_lists(needs: Sequence[str], sources: Sources, expected: list[str]) -> None:
    assert problems(map(Requirement, needs), sources) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"omr/a.py": ""}, set()),
        ({"omr/a.py": "import os.path, json\nfrom omr import b"}, set()),
        ({"omr/a.py": "import x.y\ndef f():\n    from z.w import v"}, {"x", "z"}),
        ({"omr/a.py": "from omr import b", "omr/b.py": "import x"}, {"x"}),
        ({"omr/a.py": "import omr.c", "omr/c/__init__.py": "import x"}, {"x"}),
        ({"omr/a.py": "from drawn import d", "tests/helpers/drawn.py": "import omr.a, x"}, {"x"}),
    ],
)
def test_imports_of_imported_modules_count(
    files: dict[str, str], expected: set[str], tmp_path: Path
) -> None:
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
    assert set(imported_modules([tmp_path / "omr" / "a.py"], tmp_path)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# made there\n\n", {}),
        ("PyYAML==6.0.3\nb_c\nd  two words  # not this\n", {"pyyaml": "6.0.3", "b-c": "", "d": "two words"}),
    ],
)  # fmt: skip
def test_lists_are_read(text: str, expected: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(text)
    assert read_list(tmp_path / "list.txt") == expected


def test_duplicate_entries(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a-b\nA_b  again\n")
    with pytest.raises(ValueError, match=r"^list\.txt: duplicate package: a-b$"):
        read_list(tmp_path / "list.txt")


def fetch(folder: Path) -> tuple[int, str, str]:
    """Run ``wheels.sh`` with failing downloads, and return exit status and output."""
    done = subprocess.run(
        [GPU / "wheels.sh", folder],
        env=os.environ | {"PYTHON": "false"},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    """Create a folder with a file of 2 MB for every wheel."""
    for name in WHEELS:
        file = tmp_path / f"{name.replace('-', '_')}-{PINS[name]}-py3-none-any.whl"
        file.touch()
        os.truncate(file, 2_000_000)
    return tmp_path


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    folder, first = tmp_path / "new", next(iter(WHEELS))
    message = f"wheels.sh: {first} {PINS[first]}: cannot be fetched\n"
    assert fetch(folder) == (1, "", message)


def test_existing_wheels_are_not_downloaded_again(complete: Path) -> None:
    status, sizes, errors = fetch(complete)
    assert (status, errors) == (0, "")
    *of_wheels, of_all = sizes.splitlines()
    assert sorted(of_wheels) == [f"  2.00 MB  {file.name}" for file in sorted(complete.iterdir())]
    assert of_all == f" {2 * len(WHEELS)}.00 MB  total"


def test_too_many_bytes_for_one_transfer(complete: Path) -> None:
    first = min(complete.iterdir())
    os.truncate(first, 55_000_001 - 2_000_000 * (len(WHEELS) - 1))
    status, _, errors = fetch(complete)
    assert status == 1
    assert (
        errors == f"wheels.sh: {complete}: 55000001 bytes of wheels; at most 55000000 can travel\n"
    )
    os.truncate(first, 55_000_000 - 2_000_000 * (len(WHEELS) - 1))
    assert fetch(complete)[0] == 0


def test_a_wheel_that_is_not_listed(complete: Path) -> None:
    other = complete / "ultralytics-8.0.0-py3-none-any.whl"
    other.touch()
    assert fetch(complete) == (1, "", f"wheels.sh: {other}: not on the list; remove it\n")
