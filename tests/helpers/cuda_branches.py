"""Functions with code for CUDA, and the tests under ``tests/gpu`` that name them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("training", "omr", "eval", "reading", "converters", "class_maps")
CUDA_NAME = re.compile(r"(cuda|nccl)(:.*)?")
"""Strings that name a device or a backend: ``cuda``, ``cuda:0``, ``nccl``."""
CUDA_WORDS = frozenset(
    {
        "GradScaler",
        "current_device",
        "empty_cache",
        "is_cuda",
        "non_blocking",
        "pin_memory",
        "record_stream",
        "synchronize",
    }
)
"""Attributes and keyword arguments that matter on a GPU only."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def cuda_functions(root: Path) -> dict[str, int]:
    """Find every function of the packages that mentions CUDA.

    Args:
        root: Folder of the packages.

    Returns:
        Line of the first mention for each name, such as ``training.runtime.distributed:leave``.
    """
    found: dict[str, int] = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            for name, function in functions(ast.parse(path.read_text("utf-8"))):
                lines = [node.lineno for node in own_nodes(function) if mentions_cuda(node)]
                if lines:
                    found[f"{module}:{name}"] = min(lines)
    return found


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield the functions of a module or class with their qualified names, outer before inner.

    A function within a function belongs to the outer one and is not listed.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield f"{prefix}{child.name}", child
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{prefix}{child.name}.")
        else:
            yield from functions(child, prefix)


def own_nodes(function: Function) -> Iterator[ast.expr | ast.keyword]:
    """Yield the expressions in a function's body, without annotations and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.expr | ast.keyword):
                yield node


def mentions_cuda(node: ast.expr | ast.keyword) -> bool:
    """Check whether an expression is typical of code for CUDA or for a device type."""
    match node:
        case ast.Constant(value=str(text)):
            return bool(CUDA_NAME.fullmatch(text))
        case ast.Attribute(value=ast.Name(id="torch"), attr="cuda"):
            return True
        case ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
            return name in CUDA_WORDS
        case ast.Compare(left=left, comparators=others):
            return any(map(is_device, [left, *others])) and any(map(mentions_cpu, others))
    return False


def is_device(node: ast.expr) -> bool:
    """Recognise ``x.device``, ``x.type``, ``x.device.type`` and ``device``."""
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in {"device", "type"}


def mentions_cpu(node: ast.expr) -> bool:
    """Check whether an expression contains ``"cpu"``."""
    return any(isinstance(n, ast.Constant) and n.value == "cpu" for n in ast.walk(node))


def named_functions(folder: Path) -> dict[str, list[str]]:
    """Read the names in ``@pytest.mark.gpu(covers=[...], covers_on_cuda=[...])``.

    Args:
        folder: Folder of the test modules.

    Returns:
        Names of the tests that name each function.
    """
    named: dict[str, list[str]] = {}
    for path in sorted(folder.glob("test_*.py")):
        for name, test in functions(ast.parse(path.read_text("utf-8"))):
            for covered in covered_names(test):
                named.setdefault(covered, []).append(f"{path.name}::{name}")
    return named


def covered_names(test: Function) -> Iterator[str]:
    """Yield the functions that a test's ``gpu`` marks name."""
    for mark in test.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.gpu":
            for keyword in mark.keywords:
                yield from ast.literal_eval(keyword.value)
