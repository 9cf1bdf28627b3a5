"""Wheelhouses: the lock, refused builds of torch, the installer, and an installation offline."""

import os
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from class_maps import ConfigError
from offline import wheelhouse
from offline.wheelhouse import (
    Device,
    check_torch,
    complete,
    lock_text,
    platform_tag,
    write_wheelhouse,
)

SUFFIX = "cp311-cp311-manylinux_2_28_x86_64.whl"


def tiny_wheel(folder: Path, name: str, version: str) -> Path:
    """Write a wheel with a module that contains its version."""
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"version = '{version}'\n")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A complete wheelhouse of two empty packages."""
    folder = tmp_path / "house"
    (folder / "wheels").mkdir(parents=True)
    for name in ("torch", "torchvision"):
        tiny_wheel(folder / "wheels", name, "2.15.0+cpu")
    complete(folder, "cpu")
    return folder


def install(house: Path, venv: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [house / "install.sh", venv],
        env=os.environ | {"PYTHON": sys.executable} | environment,
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_lock_pins_every_wheel() -> None:
    assert lock_text({}, "cuda") == f"# cuda {platform_tag()}\n"
    hashes = {f"torch-2.15.0+cpu-{SUFFIX}": "ab", "absl_py-2.5.1-py3-none-any.whl": "cd"}
    assert lock_text(hashes, "cpu") == (
        f"# cpu {platform_tag()}\n"
        "absl-py==2.5.1 \\\n    --hash=sha256:cd\n"
        "torch==2.15.0+cpu \\\n    --hash=sha256:ab\n"
    )


@pytest.mark.parametrize(
    ("torch", "torchvision", "device", "problem"),
    [
        ("2.15.0", "0.29.2", "cuda", ""),
        ("2.15.0+cpu", "0.29.2+cpu", "cpu", ""),
        ("2.15.0", "0.29.2", "cpu", "torch 2.15.0: expected a build for cpu"),
        ("2.15.0+cpu", "0.29.2", "cpu", "torchvision 0.29.2: expected a build for cpu"),
        ("2.15.0", "0.29.2+cpu", "cuda", "torchvision 0.29.2+cpu: expected a build for cuda"),
    ],
)
def test_torch_and_torchvision_are_of_the_same_kind(
    torch: str, torchvision: str, device: Device, problem: str
) -> None:
    wheels = [f"torch-{torch}-{SUFFIX}", f"torchvision-{torchvision}-{SUFFIX}"]
    if not problem:
        check_torch(wheels, device)
        return
    with pytest.raises(ConfigError) as error:
        check_torch(wheels, device)
    assert str(error.value) == f"{problem}; check the package index of torch (TORCH_INDEX)"
    with pytest.raises(ConfigError, match=r"^torch is missing: expected a build for"):
        check_torch([], device)


def test_a_failed_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "house"
    (tmp_path / ".house.part").mkdir()  # of a killed process

    def fail(*_arguments: object) -> None:
        raise ConfigError("pip wheel failed; see its messages above")

    monkeypatch.setattr(wheelhouse, "run_pip", fail)
    with pytest.raises(ConfigError, match=r"^pip wheel failed"):
        write_wheelhouse(out, "cpu", extras="pdf", index="")
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    with pytest.raises(ConfigError) as error:
        write_wheelhouse(out, "cpu", extras="pdf", index="")
    assert str(error.value) == f"{out}: already exists; remove it, or choose another folder"


def test_a_wheelhouse_is_installed(house: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    pip_conf = tmp_path / "pip.conf"
    pip_conf.write_text("[global]\nno-deps = nonsense\n")  # a user's file that would break pip
    done = install(house, venv, PIP_CONFIG_FILE=str(pip_conf), PIP_INDEX_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    code = "import torch, torchvision; print(torch.version, torchvision.version)"
    shown = subprocess.run(
        [venv / "bin/python", "-c", code], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "2.15.0+cpu 2.15.0+cpu\n"
    again = install(house, venv)
    assert (again.returncode, again.stderr) == (
        1,
        f"install.sh: {venv}: already exists; choose another folder\n",
    )


def test_a_damaged_wheel_is_not_installed(house: Path, tmp_path: Path) -> None:
    with next((house / "wheels").iterdir()).open("ab") as wheel:
        wheel.write(b"x")
    done = install(house, tmp_path / "venv")
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"install.sh: {house}: a file is damaged or missing; copy the wheelhouse again\n"
    )
    assert not (tmp_path / "venv").exists()


def test_wheels_of_another_platform(house: Path, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho cp399-riscv\n")
    fake.chmod(0o755)
    done = install(house, tmp_path / "venv", PYTHON=str(fake))
    assert (done.returncode, done.stderr) == (
        1,
        f"install.sh: {fake} is cp399-riscv, but the wheels are for {platform_tag()}; set PYTHON, "
        "or make a wheelhouse there\n",
    )


@pytest.mark.slow
@pytest.mark.offline
def test_the_demo_runs_without_a_network(tmp_path: Path) -> None:
    device: Device = "cuda" if os.environ.get("WHEELHOUSE_DEVICE") == "cuda" else "cpu"
    house, venv = tmp_path / "house", tmp_path / "venv"
    write_wheelhouse(house, device, extras=wheelhouse.EXTRAS, index=wheelhouse.CPU_INDEX)
    alone = ["unshare", "--net", "env", "--unset=PYTHONPATH"]
    offline = subprocess.run(
        [*alone, "cat", "/proc/net/dev"], capture_output=True, text=True, check=True
    )
    assert re.findall(r"^ *(\w+):", offline.stdout, flags=re.MULTILINE) == ["lo"]
    subprocess.run([*alone, house / "install.sh", venv], check=True)
    demo = ["demo", "--pages", "9", "--steps", "20", "--out", "demo", "--device", "cpu"]
    subprocess.run([*alone, venv / "bin" / "omr", *demo], cwd=tmp_path, check=True)
    assert (tmp_path / "demo" / "REPORT.md").is_file()
