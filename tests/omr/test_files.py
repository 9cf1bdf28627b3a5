"""Tests that commands access only the files that ``docs/files.md`` lists."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest
from cli_commands import commands
from file_tables import Access, documented, matches
from PIL import Image
from scored_folders import write_scored
from traced_commands import ROOT, Trace, run_traced
from yolo_folders import write_yolo

SCORE = ROOT / "tests" / "converters" / "engraving" / "scores" / "plain.mxl"
INSTALLED = (
    *(sys.prefix, sys.base_prefix, str(ROOT), *filter(None, sys.path)),
    *("/proc", "/sys", "/etc", "/usr", "/dev", "/lib"),
)
"""Folders of Python, of packages and of the system, from which every command may read."""
POOL = (
    *("joblib.", "multiprocessing.", "cloudpickle.", "importlib."),
    *("converters.", "eval.sheets.", "eval.lint.", "pathlib.", "collections.", "numpy."),
)
"""Modules of objects that worker processes exchange."""
USERS_OF_POOL = {"omr engrave", "omr convert", "omr lint", "omr demo"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Command line whose file accesses are checked."""

    command: str
    arguments: str
    paths: Mapping[str, str] = field(default_factory=dict)
    """Values of the names in the tables, relative to the current folder."""


SMALL = "--model omr-tiny --imgsz 64 --batch 2"
CASES = [
    Case(command="omr classes list", arguments=""),
    Case(command="omr classes show", arguments="own.yaml", paths={"NAME": "own.yaml"}),
    Case(
        command="omr engrave",
        arguments="pages --pages 3 --size 500x400 --workers 2",
        paths={"OUT": "pages", "CLASSES": "own.yaml"},
    ),
    Case(
        command="omr engrave",
        arguments="pages --pages 1 --size 500x400 --scores scores --workers 1 --force",
        paths={"OUT": "pages", "SCORES": "scores"},
    ),
    Case(
        command="omr classes check",
        arguments="own.yaml pages",
        paths={"NAME": "own.yaml", "DATASET": "pages"},
    ),
    Case(
        command="omr convert",
        arguments="pages data --classes own.yaml --tile 200 --format yolo,coco,parquet",
        paths={"SOURCE": "pages", "OUT": "data", "CLASSES": "own.yaml"},
    ),
    Case(
        command="omr convert",
        arguments="data/annotations coco --classes own.yaml --image-folder data/images",
        paths={
            "SOURCE": "data/annotations",
            "OUT": "coco",
            "CLASSES": "own.yaml",
            "FOLDER": "data/images",
        },
    ),
    Case(
        command="omr convert",
        arguments="data tables --source parquet --classes own.yaml --format parquet --images tar",
        paths={"SOURCE": "data", "OUT": "tables", "CLASSES": "own.yaml"},
    ),
    Case(
        command="omr convert",
        arguments="data yolo --classes own.yaml --format coco",
        paths={"SOURCE": "data", "OUT": "yolo", "CLASSES": "own.yaml"},
    ),
    Case(
        command="omr split",
        arguments="works divided --by work --val 0.5",
        paths={"DATA": "works", "OUT": "divided"},
    ),
    Case(
        command="omr split",
        arguments="divided --by font --val 0.5",
        paths={"DATA": "divided", "OUT": "divided"},
    ),
    Case(command="omr split", arguments="divided --check", paths={"DATA": "divided"}),
    Case(command="omr show", arguments="data", paths={"DATA": "data"}),
    Case(
        command="omr lint",
        arguments="data --config lint.toml",
        paths={"DATA": "data", "CONFIG": "lint.toml"},
    ),
    Case(
        command="omr lint",
        arguments="tables --config lint.toml",
        paths={"DATA": "tables", "CONFIG": "lint.toml"},
    ),
    Case(
        command="omr lint",  # the first to load torch
        arguments="data --weights harmony-tiny --worklist worklist --device cpu",
        paths={"DATA": "data", "OUT": "worklist"},
    ),
    Case(
        command="omr sheet",
        arguments="data sheets --config lint.toml",
        paths={"DATA": "data", "CONFIG": "lint.toml", "OUT": "sheets"},
    ),
    Case(
        command="omr analyze-density",
        arguments=f"data {SMALL} --report density.html",
        paths={"DATA": "data", "REPORT": "density.html"},
    ),
    Case(command="omr heads list", arguments=""),
    Case(
        command="omr heads suggest",
        arguments="data --strategy geometry --heads 2 --out heads.yaml",
        paths={"DATA": "data", "OUT": "heads.yaml"},
    ),
    Case(command="omr heads show", arguments="heads.yaml", paths={"NAME": "heads.yaml"}),
    Case(
        command="omr train",
        arguments=f"data {SMALL} --find-lr --out rate --device cpu",
        paths={"DATA": "data", "OUT": "rate"},
    ),
    Case(
        command="omr train",
        arguments=f"data {SMALL} --epochs 1 --out run --device cpu --tensorboard",
        paths={"DATA": "data", "OUT": "run"},
    ),
    Case(
        command="omr eval",
        arguments="run/weights/best.pt data --split train --out metrics --tensorboard logs "
        "--device cpu",
        paths={
            "SOURCE": "run/weights/best.pt",
            "DATA": "data",
            "OUT": "metrics",
            "TENSORBOARD": "logs",
        },
    ),
    Case(
        command="omr compare",
        arguments="scored scored --samples 100 --out compared",
        paths={"FOLDER": "scored", "OUT": "compared"},
    ),
    Case(command="omr runs", arguments="run", paths={"FOLDER": "run"}),
    Case(
        command="omr log cut",
        arguments="run --out cut --to 1",
        paths={"RUN": "run", "OUT": "cut"},
    ),
    Case(
        command="omr log merge",
        arguments="cut --out merged",
        paths={"RUN": "cut", "OUT": "merged"},
    ),
    Case(
        command="omr export",
        arguments="run/weights/best.pt --format onnx --out model.onnx",
        paths={"MODEL": "run/weights/best.pt", "OUT": "model.onnx"},
    ),
    Case(
        command="omr predict",
        arguments="pages/images read --weights run/weights/best.pt --staff-space none "
        "--conf 0.9 --format coco,yolo --device cpu",
        paths={"SOURCE": "pages/images", "OUT": "read", "WEIGHTS": "run/weights/best.pt"},
    ),
    Case(
        command="omr predict",
        arguments="score.pdf onnx --weights model.onnx --staff-space none --conf 0.9 "
        "--overlay png --format mung,labelme,parquet --dpi 72",
        paths={"SOURCE": "score.pdf", "OUT": "onnx", "WEIGHTS": "model.onnx"},
    ),
    Case(
        command="omr export",
        arguments="run/weights/best.pt --format ultralytics --out model.pt",
        paths={"MODEL": "run/weights/best.pt", "OUT": "model.pt"},
    ),
    Case(
        command="omr demo",
        arguments="--data pages --classes own.yaml --steps 1 --out demo --device cpu",
        paths={"DATA": "pages", "CLASSES": "own.yaml", "OUT": "demo"},
    ),
]
DOCUMENTED = documented()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def traces(folder: Path) -> list[Trace]:
    work = folder / "work"
    (work / "scores").mkdir(parents=True)
    shutil.copy(SCORE, work / "scores")
    class_map = (ROOT / "class_maps" / "maps" / "harmony.yaml").read_text("utf-8")
    others = "".join(f"  {name}: {{map: same names}}\n" for name in ("coco", "yolo", "parquet"))
    (work / "own.yaml").write_text(class_map + others, "utf-8")
    (work / "lint.toml").write_text('rare-class = "off"\n', "utf-8")
    Image.new("L", (60, 80), 255).save(work / "score.pdf")
    write_scored(work / "scored")
    write_yolo(work / "works", {f"train/lg-{i}-aug-{i}--page-1.png": [0] for i in range(2)})
    for name in ("json.py", "pickle.py"):  # would be imported by a worker process
        (work / name).write_text("raise SystemExit('imported from the current folder')")
    words = [[*case.command.split()[1:], *case.arguments.split()] for case in CASES]
    return run_traced(words, folder)


def paths_of(case: Case, folder: Path) -> dict[str, Path]:
    """Return the absolute values of the names in the tables."""
    work = folder / "work"
    paths = {name: work / path for name, path in case.paths.items()}
    return paths | {"TMPDIR": folder / "tmp", "HOME": folder / "home", "CURRENT": work}


def temporary(access: Access) -> list[str]:
    """Return the patterns of temporary files, with those of FILE for each output file."""
    patterns = []
    for pattern in access.temporary:
        for name in access.writes if "FILE" in pattern else [""]:
            folder, slash, file = name.rpartition("/")
            patterns.append(folder + slash + pattern.replace("FILE", file))
    return patterns


def test_every_command_has_a_row_and_a_case() -> None:
    names = {name for name, _ in commands()}
    assert set(DOCUMENTED) == names
    assert {case.command for case in CASES} == names


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.command} {case.arguments}"[:50])
def test_a_command_accesses_only_documented_files(
    case: Case, folder: Path, traces: list[Trace]
) -> None:
    trace, access = traces[CASES.index(case)], DOCUMENTED[case.command]
    paths = paths_of(case, folder)
    written = {what for kind, what in trace.accesses if kind == "write"} - {os.devnull}
    read = {what for kind, what in trace.accesses if kind == "read"}
    writable = [*access.writes, *temporary(access)]
    folders = [str(folder) for pattern in writable for folder in PurePosixPath(pattern).parents]
    writable += [folder for folder in folders if folder != "."]
    assert [path for path in written if not matches(path, writable, paths)] == []
    assert [path for path in trace.changed if not matches(path, writable, paths)] == []
    readable = [*access.reads, *writable]
    allowed = {str(path.parent) for path in paths.values()}  # opened to flush a new name
    others = [path for path in read - allowed if not path.startswith(INSTALLED)]
    assert [path for path in others if not matches(path, readable, paths)] == []


@pytest.mark.slow
def test_no_command_has_another_side_effect(traces: list[Trace]) -> None:
    for case, trace in zip(CASES, traces, strict=True):
        pool = POOL if case.command in USERS_OF_POOL else ()
        programs = (sys.executable, "/sbin/ldconfig")
        allowed = {"network": (), "program": programs, "pickle": pool}
        assert [
            (kind, what)
            for kind, what in trace.accesses
            if kind in allowed and not what.startswith(allowed[kind])
        ] == []


@pytest.mark.slow
def test_nothing_is_left_in_home_and_temporary_folder(folder: Path, traces: list[Trace]) -> None:
    assert traces
    assert list((folder / "home").iterdir()) == []
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("pattern", "path", "matching"),
    [
        ("OUT", "/a/out", True),
        ("OUT", "/a/out/file", False),
        ("OUT/", "/a/out/new/file", True),
        ("OUT/", "/a/outer", False),
        ("OUT/*.pt", "/a/out/best.pt", True),
        ("OUT/*.pt", "/a/out/weights/best.pt", False),
        (".OUT.partial-*/", "/a/.out.partial-12/file", True),
        (".OUT.partial-*/", "/b/.out.partial-12", False),
        ("show-*.png", "/c/show-1.png", True),
        ("WEIGHTS", "/a/out", False),
    ],
)
def test_patterns(pattern: str, path: str, matching: bool) -> None:
    assert matches(path, [pattern], {"OUT": Path("/a/out"), "CURRENT": Path("/c")}) is matching
