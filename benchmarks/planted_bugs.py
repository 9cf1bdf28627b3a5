"""Label bugs planted into engraved pages, and the rules of ``omr lint`` that find them.

    PYTHONPATH=tests/helpers python -m benchmarks.planted_bugs               the table
    PYTHONPATH=tests/helpers python -m benchmarks.planted_bugs --rule missing-labels unlabelled-ink
                                                                             rows of some rules
    PYTHONPATH=tests/helpers python -m benchmarks.planted_bugs --clean 200   pages without a bug

A bug is planted into a share of the boxes of the classes that it concerns, or of the pages.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import planted_labels as bugs
from planted_labels import Bug

import class_maps
from converters.conversion import ConversionOptions, convert
from converters.engraving.dataset import EngravingOptions, engrave
from converters.engraving.pages import PageOptions
from converters.formats.datasets import open_dataset
from eval.lint.findings import LintReport
from eval.lint.pages import LintPage, lint_pages
from eval.lint.rules import lint

WIDTH, HEIGHT = 1300, 1800
SHARES = (0.01, 0.05, 0.1, 0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """A bug, and the rule that should find it."""

    name: str
    rule: str
    plant: Callable[[list[LintPage], Sequence[str], float], list[LintPage]]
    """Plants the bug into a share of the boxes or pages."""


def in_boxes(bug: Bug, *only: str, adds: bool = False) -> Callable[..., list[LintPage]]:
    """Plant a bug into boxes of some classes, or of all; see :func:`planted_labels.planted`."""
    return partial(_in_boxes, bug, only, adds)


def _in_boxes(
    bug: Bug,
    only: Sequence[str],
    adds: bool,
    pages: list[LintPage],
    names: Sequence[str],
    share: float,
) -> list[LintPage]:
    return bugs.planted(pages, names, bug, share, only=only, adds=adds)


def mirrored(pages: list[LintPage], _names: Sequence[str], share: float) -> list[LintPage]:
    """Mirror the boxes of some pages."""
    n = max(1, round(share * len(pages)))
    return [*map(bugs.mirrored, pages[:n]), *pages[n:]]


def copied(name: str, pages: list[LintPage], _names: Sequence[str], share: float) -> list[LintPage]:
    """Copy some pages to another split, under a name with their number."""
    n = max(1, round(share * len(pages)))
    copies = [
        replace(
            p,
            split="val",
            page=replace(p.page, image=PurePosixPath(name.format(i=i, page=p.path.stem))),
        )
        for i, p in enumerate(pages[:n])
    ]
    return [*pages, *copies]


def only_fermatas(pages: list[LintPage], names: Sequence[str], share: float) -> list[LintPage]:
    """Remove the boxes of all other classes from some pages."""
    n = max(1, round(share * len(pages)))
    others = [name for name in names if name != "fermata"]
    return [*bugs.planted(pages[:n], names, bugs.removed, 1.0, only=others), *pages[n:]]


ONE_CLASS = (
    "noteheadHalf",
    "noteheadWhole",
    "clefG",
    "clefF",
    "keySharp",
    "keyFlat",
    "accidentalSharp",
    "accidentalNatural",
    "augmentationDot",
    "restQuarter",
)
"""Classes whose boxes are removed without those of others."""
PLANTED = (
    Planted(name="rows repeated", rule="exact-duplicate", plant=in_boxes(bugs.identity, adds=True)),
    Planted(
        name="rows repeated, moved by 1e-6 of the page",
        rule="near-duplicate",
        plant=in_boxes(bugs.jittered, adds=True),
    ),
    Planted(
        name="both annotation sets mapped: each box under a second class",
        rule="one-box-two-classes",
        plant=in_boxes(bugs.as_next_class, adds=True),
    ),
    Planted(
        name="corners read as x, y, width and height, clamped",
        rule="corners-as-sizes",
        plant=in_boxes(bugs.corners_as_sizes),
    ),
    Planted(
        name="boxes moved to the right edge",
        rule="edge-excess",
        plant=in_boxes(bugs.at_the_edge),
    ),
    Planted(
        name="width and height written before the centre, clamped",
        rule="edge-excess",
        plant=in_boxes(bugs.halves_swapped),
    ),
    Planted(
        name="boxes of 0.02 x 0.02",
        rule="constant-size",
        plant=in_boxes(bugs.of_one_size),
    ),
    Planted(
        name="boxes 4 times too large",
        rule="unlikely-size",
        plant=in_boxes(bugs.enlarged),
    ),
    Planted(
        name="boxes 5 px to the left", rule="shifted-boxes", plant=in_boxes(bugs.moved_by_5_px)
    ),
    Planted(name="boxes removed", rule="missing-labels", plant=in_boxes(bugs.removed)),
    *(
        Planted(
            name=f"boxes of {name} removed",
            rule="missing-labels",
            plant=in_boxes(bugs.removed, name),
        )
        for name in ONE_CLASS
    ),
    Planted(
        name="boxes of all classes but fermatas removed, on some pages",
        rule="unlabelled-ink",
        plant=only_fermatas,
    ),
    Planted(name="boxes at random places", rule="box-without-ink", plant=in_boxes(bugs.at_random)),
    Planted(
        name="filled and half noteheads swapped",
        rule="swapped-classes",
        plant=in_boxes(
            bugs.swapped("noteheadBlack", "noteheadHalf"), "noteheadBlack", "noteheadHalf"
        ),
    ),
    Planted(
        name="sharps and flats of key signatures swapped",
        rule="swapped-classes",
        plant=in_boxes(bugs.swapped("keySharp", "keyFlat"), "keySharp", "keyFlat"),
    ),
    Planted(
        name="sharps and naturals swapped",
        rule="swapped-classes",
        plant=in_boxes(
            bugs.swapped("accidentalSharp", "accidentalNatural"),
            "accidentalSharp",
            "accidentalNatural",
        ),
    ),
    Planted(
        name="second boxes with an IoU of 0.8",
        rule="self-suppressed",
        plant=in_boxes(bugs.overlapping, adds=True),
    ),
    Planted(name="boxes without height", rule="too-small", plant=in_boxes(bugs.flattened)),
    Planted(name="stems removed", rule="structure", plant=in_boxes(bugs.removed, "stem")),
    Planted(name="pages mirrored", rule="mirrored-image", plant=mirrored),
    Planted(
        name="pages copied to another split", rule="leak-image", plant=partial(copied, "{i}.png")
    ),
    Planted(
        name="pages of a work in two splits",
        rule="leak-work",
        plant=partial(copied, "{page}0.png"),
    ),
)


def main() -> None:
    """Print a table of the bugs, or the findings in pages without one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=12, help="pages to plant the bugs into")
    parser.add_argument("--clean", type=int, help="check this many pages without a bug instead")
    parser.add_argument("--rule", nargs="+", help="plant only the bugs that these rules find")
    arguments = parser.parse_args()
    print(f"`{' '.join(['python -m benchmarks.planted_bugs', *sys.argv[1:]])}`\n")
    with tempfile.TemporaryDirectory() as folder:
        data = _engraved(Path(folder), arguments.clean or arguments.pages)
        dataset = open_dataset(data)
        if arguments.clean:
            _print_clean(lint(lint_pages(dataset), dataset.names))
        else:
            _print_table(list(lint_pages(dataset)), dataset.names, arguments.rule)


def _engraved(folder: Path, n_pages: int) -> Path:
    page = PageOptions(width=WIDTH, height=HEIGHT)
    engrave(folder / "pages", EngravingOptions(pages=n_pages, page=page))
    convert(
        folder / "pages", folder / "data", ConversionOptions(class_map=class_maps.load("harmony"))
    )
    return folder / "data"


def _print_clean(report: LintReport) -> None:
    print(f"{report.n_images:,} pages with {report.n_boxes:,} boxes, {report.n_errors} errors\n")
    for finding in report.findings:
        occurrence = finding.occurrence
        print(
            f"* {finding.level}: {finding.rule}: {occurrence.count:,} ({occurrence.share:.1%}): "
            f"{occurrence.class_name} {occurrence.detail}"
        )


def _print_table(pages: list[LintPage], names: Sequence[str], rules: Sequence[str] | None) -> None:
    shares = [f"{share:.0%}" for share in SHARES]
    print(f"| bug | rule | {' | '.join(shares)} | other errors at {shares[-1]} |")
    print("|---" * (len(SHARES) + 3) + "|")
    for bug in (bug for bug in PLANTED if rules is None or bug.rule in rules):
        reports = [lint(bug.plant(pages, names, share), names) for share in SHARES]
        cells = [_cell(report, bug.rule) for report in reports]
        others = {f.rule: None for f in reports[-1].findings if f.level == "error"}
        others.pop(bug.rule, None)
        print(f"| {bug.name} | `{bug.rule}` | {' | '.join(cells)} | {', '.join(others) or '-'} |")


def _cell(report: LintReport, rule: str) -> str:
    """Describe the findings of a rule: the number of classes, and of boxes or images."""
    counts = Counter(
        {f.occurrence.class_name: f.occurrence.count for f in report.findings if f.rule == rule}
    )
    return f"{counts.total():,} in {len(counts)}" if counts else "no"


if __name__ == "__main__":
    main()
