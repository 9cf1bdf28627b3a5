import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from converters import versions
from converters.versions import OPENCV, TOOLKIT, installed_versions, toolkit_version

ROOT = Path(versions.__file__).parents[1]


@pytest.fixture
def _not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_others(name: str) -> str:
        if name == TOOLKIT:
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(versions, "version", only_others)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), []),
        (("no-such-package",), []),
        (("pytest", "no-such-package", "numpy"), ["pytest", "numpy"]),
        (("numpy", *OPENCV), ["numpy", "opencv-python"]),
    ],
)
def test_packages_that_are_not_installed_are_skipped(
    names: tuple[str, ...], expected: list[str]
) -> None:
    assert [*installed_versions(*names).items()] == [(name, version(name)) for name in expected]


@pytest.mark.usefixtures("_not_installed")
def test_a_source_tree_has_the_version_of_its_project_file() -> None:
    expected = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert toolkit_version() == expected
    assert installed_versions(TOOLKIT) == {TOOLKIT: expected}


@pytest.mark.usefixtures("_not_installed")
def test_no_version_without_project_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(versions, "PYPROJECT", tmp_path / "pyproject.toml")
    with pytest.raises(PackageNotFoundError):
        toolkit_version()
    assert installed_versions(TOOLKIT) == {}
