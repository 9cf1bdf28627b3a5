"""Tests of the processes with the tools for NPUs, and of their errors."""

import sys
from pathlib import Path

import pytest

from class_maps import ConfigError, InputError, MissingExtraError, OmrError
from training.export.npu_tools import LOCK, VARIABLE, run_tool, tools_folder
from training.export.vela import DEFAULT_TARGETS, TARGETS, npu_figures, parse_targets


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of tools that cannot do anything."""
    folder = tmp_path / "tools"
    for name in ("litert_torch", "ethosu"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def test_missing_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(MissingExtraError) as raised:
        tools_folder()
    assert str(raised.value) == (
        f"the tools for NPUs are not installed in {tmp_path}/npu-tools; run make npu in the source "
        f"folder of omr, or python -m pip install --no-deps --require-hashes --target "
        f"{tmp_path}/npu-tools -r {LOCK}"
    )
    assert LOCK.is_file()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(MissingExtraError, match=r"not installed in .*/elsewhere; run make npu"):
        npu_figures(tmp_path / "model.tflite", TARGETS["ethos-u55-32"])


def test_a_tool_imports_its_own_packages_first(tools: Path, tmp_path: Path) -> None:
    (tools / "yaml.py").write_text("NAME = 'of the tools'")
    (tmp_path / "json.py").write_text("raise SystemExit(3)")  # in the current folder
    code = "import json, yaml, msgspec; print(yaml.NAME)"
    assert run_tool(["-c", code], task="a test", folder=tmp_path) == "of the tools\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ValueError('no such operator')", "ValueError: no such operator"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal 11"),
        ("raise SystemExit(7)", "exit status 7"),
    ],
)
@pytest.mark.usefixtures("tools")
def test_a_failing_tool(code: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(OmrError) as raised:
        run_tool(["-c", code], task="converting", folder=tmp_path)
    assert str(raised.value) == f"converting failed: {reason}"


def test_targets_are_named_with_or_without_ethos() -> None:
    assert parse_targets([]) == []
    first, second = parse_targets(["u65-512", "ethos-u85-256", "ethos-u65-512"])
    assert (first.accelerator, first.system) == ("ethos-u65-512", "Ethos_U65_High_End")
    assert (second.accelerator, second.memory_mode) == ("ethos-u85-256", "Dedicated_Sram_512KB")
    assert [target.accelerator for target in parse_targets([*TARGETS])] == [*TARGETS]
    assert set(DEFAULT_TARGETS) <= set(TARGETS)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("u55-265", "u55-256"), ("ethos-u58-32", "ethos-u55-32"), ("U85-2048", "u85-2048")],
)
def test_an_unknown_target_has_nearest_names(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_targets([name])
    assert str(raised.value).startswith(f"--target {name}: unknown NPU: {name}")
    assert f"{nearest}?" in str(raised.value)
    assert str(raised.value).endswith(", ".join(TARGETS))


@pytest.mark.usefixtures("tools")
def test_files_that_are_no_tflite(tmp_path: Path) -> None:
    for content in (b"", b"TFL3", b"GIF89a..........."):
        file = tmp_path / "model.tflite"
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.tflite: is not a TFLite file"):
            npu_figures(file, TARGETS["ethos-u55-32"])
    with pytest.raises(InputError, match=r"none\.tflite: cannot be read: No such file"):
        npu_figures(tmp_path / "none.tflite", TARGETS["ethos-u55-32"])
