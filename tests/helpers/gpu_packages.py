"""Packages that the GPU run needs, and where each comes from."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OWN = ("omr", "eval", "training", "reading", "converters", "settings", "class_maps", "benchmarks")
START = (
    "omr",
    "eval",
    "training",
    "reading",
    "converters",
    "settings",
    "class_maps",
    "benchmarks/gpu",
    "tests/gpu",
)
"""Folders whose modules run on the machine, with all that they import."""
EXTRAS = ("engrave", "export")
"""Extras of the project that the run uses."""
MACHINE = {
    "python_version": "3.12",
    "python_full_version": "3.12.3",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "sys_platform": "linux",
    "os_name": "posix",
}
"""Markers of the machine, as in PEP 508."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Packages by where the machine gets them from."""

    wheels: Mapping[str, str] = field(default_factory=dict)
    """Version of each wheel that is fetched."""
    machine: Mapping[str, str] = field(default_factory=dict)
    """Packages of the machine; version, or empty if unknown."""
    left_out: frozenset[str] = frozenset()
    """Requirements that the run does without."""


def read_list(path: Path) -> dict[str, str]:
    """Read a list of packages.

    Args:
        path: File with a package and a remark per line; comments start with ``#``.

    Returns:
        Remark by canonical name; empty where there is none.

    Raises:
        ValueError: A package occurs in two lines.
    """
    remarks: dict[str, str] = {}
    for line in path.read_text("utf-8").splitlines():
        words = re.split(r"==|\s+", line.partition("#")[0].strip(), maxsplit=1)
        name = canonicalize_name(words[0])
        if name in remarks:
            raise ValueError(f"{path.name}: duplicate package: {name}")
        if name:
            remarks[name] = words[1] if len(words) > 1 else ""
    return remarks


def imported_modules(start: Iterable[Path], root: Path = ROOT) -> Iterator[str]:
    """Find top-level imports from elsewhere, also those of the project's modules imported on the way.

    Args:
        start: Python files to begin with.
        root: Folder with the packages in :data:`OWN` and with ``tests/helpers``.

    Yields:
        Names of modules that are neither the project's nor Python's; may repeat.
    """
    waiting, seen = list(start), set[Path]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module in _imports(path):
            top = module.partition(".")[0]
            helper = root / "tests" / "helpers" / f"{top}.py"
            if helper.is_file():
                waiting.append(helper)
            elif top in OWN:
                waiting += _files(root / module.replace(".", "/"))
            elif top not in sys.stdlib_module_names:
                yield top


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(module: Path) -> list[Path]:
    """List the file of a module or package; empty for a name inside a module."""
    candidates = module.with_name(module.name + ".py"), module / "__init__.py"
    return [path for path in candidates if path.is_file()]


def imported_packages(start: Iterable[Path]) -> set[Requirement]:
    """Name the package that provides each imported module."""
    providers = packages_distributions()
    modules = set(imported_modules(start))
    return {
        Requirement(canonicalize_name(providers.get(module, [module])[0])) for module in modules
    }


def project_requirements() -> list[Requirement]:
    """Read the requirements of the project and of the extras in :data:`EXTRAS`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    return [Requirement(line) for line in lines]


def wheel_requirements(wheels: Iterable[str]) -> list[Requirement]:
    """Read the requirements that installed packages have on the machine, without extras."""
    needs = [Requirement(line) for name in wheels for line in requires(name) or ()]
    return [
        need
        for need in needs
        if need.marker is None or need.marker.evaluate(MACHINE | {"extra": ""})
    ]


def problems(needs: Iterable[Requirement], sources: Sources) -> list[str]:
    """Report needs that nothing satisfies, and entries that nothing needs.

    Args:
        needs: Imports and requirements of all that runs on the machine.
        sources: Lists of packages.

    Returns:
        A line per problem, sorted.
    """
    lines = set()
    needed = set()
    versions = {**sources.machine, **sources.wheels}
    for need in needs:
        name = canonicalize_name(need.name)
        needed.add(name)
        if name not in versions and name not in sources.left_out:
            lines.add(f"{name}: neither on the machine, nor fetched, nor left out")
        elif (version := versions.get(name)) and version not in need.specifier:
            lines.add(f"{name} {version}: does not satisfy {need}")
    lines |= {f"{name}: left out, but nothing needs it" for name in sources.left_out - needed}
    lines |= {f"{name}: left out, but available" for name in sources.left_out & versions.keys()}
    lines |= {f"{name}: fetched, but nothing needs it" for name in sources.wheels.keys() - needed}
    both = sources.wheels.keys() & sources.machine.keys()
    return sorted(lines | {f"{name}: fetched, but the machine has it" for name in both})
