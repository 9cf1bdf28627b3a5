"""Writes a folder from which omr is installed without a network: ``make wheelhouse``.

The folder contains the wheels of omr and of all packages it needs, at the versions of
``constraints.txt``, for the Python and the platform that run this module:

* ``wheels/``
* ``requirements.txt``: name, version and SHA-256 of each wheel, in pip's format
* ``install.sh``: creates a virtual environment from the above
* ``SHA256SUMS``: hashes of all other files
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from packaging.utils import parse_wheel_filename

from class_maps import ConfigError
from converters.files.hashes import sha256

ROOT = Path(__file__).parents[1]
EXTRAS = "engrave,export,log,pdf"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Index of the builds of torch and torchvision without CUDA; on Linux, those of PyPI have it."""
TORCH = "torch", "torchvision"
"""Packages with separate builds for a CPU; the two must be of the same kind."""
CPU_BUILD = "cpu"
"""Local version of a build without CUDA, as in ``2.15.0+cpu``."""

Device = Literal["cpu", "cuda"]


def platform_tag() -> str:
    """Return Python version and platform, such as ``cp311-linux_x86_64``."""
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"cp{sys.version_info.major}{sys.version_info.minor}-{platform}"


def write_wheelhouse(out: Path, device: Device, *, extras: str, index: str) -> None:
    """Download the wheels and write the folder; it appears only when it is complete.

    Args:
        out: Folder to create.
        device: Kind of torch: ``cpu``, or ``cuda`` for the build that runs on both.
        extras: Extras of omr, separated by commas.
        index: Package index of torch's builds for a CPU, used in addition to the configured one.

    Raises:
        ConfigError: The folder exists, pip failed, or torch is of the wrong kind.
    """
    if out.exists():
        raise ConfigError(f"{out}: already exists; remove it, or choose another folder")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    wheels = part / "wheels"
    wheels.mkdir(parents=True)
    try:
        own = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT]
        run_pip(*own)
        (wheel,) = wheels.iterdir()
        run_pip(
            *("download", "--only-binary=:all:", "--dest", wheels),
            *("--constraint", ROOT / "constraints.txt"),
            *(("--extra-index-url", index) if device == "cpu" else ()),
            f"omr-toolkit[{extras}] @ {wheel.absolute().as_uri()}",
        )
        complete(part, device)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def run_pip(*arguments: object) -> None:
    """Run pip with the user's configuration, which may name a mirror or a proxy.

    Raises:
        ConfigError: pip failed; its messages were printed.
    """
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    quiet = ["--quiet", "--disable-pip-version-check"]
    if subprocess.run([*command, *quiet], check=False).returncode:
        raise ConfigError(f"pip {arguments[0]} failed; see its messages above")


def complete(folder: Path, device: Device) -> None:
    """Add the lock, the installer and the hashes to a folder with wheels.

    Args:
        folder: Folder with ``wheels/``.
        device: Kind of torch that is expected.

    Raises:
        ConfigError: torch is of another kind.
    """
    wheels = sorted((folder / "wheels").iterdir())
    check_torch([wheel.name for wheel in wheels], device)
    hashes = {wheel.name: sha256(wheel) for wheel in wheels}
    (folder / "requirements.txt").write_text(lock_text(hashes, device), "utf-8")
    shutil.copy(ROOT / "offline" / "install.sh", folder)
    hashes = {f"wheels/{name}": digest for name, digest in hashes.items()}
    hashes |= {name: sha256(folder / name) for name in ("install.sh", "requirements.txt")}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(hashes.items())]
    (folder / "SHA256SUMS").write_text("".join(lines), "utf-8")


def check_torch(wheels: Sequence[str], device: Device) -> None:
    """Check that torch and torchvision are builds for the device.

    Args:
        wheels: File names of all wheels.
        device: Kind of torch that is expected.

    Raises:
        ConfigError: A build is of another kind, or a package is missing.
    """
    versions = {name: version for name, version, *_ in map(parse_wheel_filename, wheels)}
    for name in TORCH:
        version = versions.get(name)  # type: ignore[call-overload]
        if version is None or (version.local == CPU_BUILD) != (device == "cpu"):
            raise ConfigError(
                f"{name} {version or 'is missing'}: expected a build for {device}; check the "
                "package index of torch (TORCH_INDEX)"
            )


def lock_text(hashes: Mapping[str, str], device: Device) -> str:
    """Format the requirements file.

    Args:
        hashes: SHA-256 of each wheel by its file name.
        device: Kind of torch, for the first line, which ``install.sh`` reads as well.
    """
    requirements = []
    for file, digest in hashes.items():
        name, version, *_ = parse_wheel_filename(file)
        requirements.append(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")
    return "".join([f"# {device} {platform_tag()}\n", *sorted(requirements)])


def main() -> None:
    """Write the wheelhouse that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to create")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--extras", default=EXTRAS, help=f"extras of omr (default: {EXTRAS})")
    options = parser.parse_args()
    index = os.environ.get("TORCH_INDEX", CPU_INDEX)
    try:
        write_wheelhouse(options.out, options.device, extras=options.extras, index=index)
    except ConfigError as error:
        sys.exit(f"wheelhouse: {error}")
    files = [file for file in options.out.rglob("*") if file.suffix == ".whl"]
    size_mb = sum(file.stat().st_size for file in files) / 1e6
    print(f"{len(files)} wheels, {size_mb:,.0f} MB, {platform_tag()} -> {options.out}")


if __name__ == "__main__":
    main()
