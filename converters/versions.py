"""Versions of installed packages, recorded with results."""

import hashlib
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

TOOLKIT = "omr-toolkit"
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
"""Packages that provide cv2; usually exactly one is installed."""
PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
"""Project file of a source tree; installed packages have none."""


def installed_versions(*names: str) -> dict[str, str]:
    """Look up the installed version of each package.

    Args:
        names: Package names as on PyPI.

    Returns:
        Versions by name, in the order given; packages that are not installed are skipped.
    """
    versions = {}
    for name in names:
        try:
            versions[name] = toolkit_version() if name == TOOLKIT else version(name)
        except PackageNotFoundError:
            continue
    return versions


def toolkit_version() -> str:
    """Look up the version of this toolkit, which may run from a source tree without installation.

    Raises:
        PackageNotFoundError: The toolkit is neither installed nor a source tree with a
            ``pyproject.toml``.
    """
    try:
        return version(TOOLKIT)
    except PackageNotFoundError:
        if not PYPROJECT.is_file():
            raise
    return str(tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["version"])


@cache
def code_hash(*packages: str) -> str:
    """Hash the modules of packages: the version of a source tree does not change with them.

    Args:
        packages: Names of packages of this toolkit, which are not imported.
    """
    digest = hashlib.sha256()
    for name in packages:
        spec = find_spec(name)
        for folder in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.read_bytes())
    return digest.hexdigest()
