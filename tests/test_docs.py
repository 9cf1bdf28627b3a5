"""Tests that links and module paths in the documentation exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/**/*.md")])
PACKAGES = "omr|eval|training|converters|settings|class_maps|benchmarks|tests"

LINK = re.compile(r"\]\(([^)\s]+)\)")
MODULE = re.compile(rf"`((?:{PACKAGES})/[\w./-]+\.(?:py|yaml|json|jsonl|sh|txt|md))`")
FOLDER = re.compile(rf"`((?:{PACKAGES})/[\w./-]*/)`")


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def missing_paths(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    paths = [*MODULE.findall(text), *FOLDER.findall(text)]
    return [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_exist(page: Path) -> None:
    assert broken_links(page) == []
    assert missing_paths(page) == []


def test_index_lists_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    links = {link.partition("#")[0] for link in LINK.findall(index.read_text(encoding="utf-8"))}
    assert {page.name for page in index.parent.glob("*.md")} - {"README.md"} <= links


@pytest.mark.parametrize(
    ("text", "links", "paths"),
    [
        ("", [], []),
        ("[a](gone.md)", ["gone.md"], []),
        ("[a](#title) [b](#gone) [c](https://a.b/c)", ["#gone"], []),
        ("`omr/cli.py` `omr/gone.py` `omr/gone/`", [], ["omr/gone.py", "omr/gone/"]),
    ],
)
def test_checks_find_problems(
    text: str, links: list[str], paths: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n{text}\n", encoding="utf-8")
    assert broken_links(page) == links
    assert missing_paths(page) == paths
