"""Every planted bug is found under its name, and correct labels are clean."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import planted_labels as bugs
import pytest
from numpy.typing import NDArray
from planted_labels import Bug, planted, with_rows

from converters import images
from eval.lint.checks.leaks import SimilarImages
from eval.lint.findings import Finding, LintReport
from eval.lint.ink import Ink, is_negative
from eval.lint.pages import LintPage
from eval.lint.rules import RULES, RuleSettings, default_settings, lint

PLANTED: list[tuple[str, Bug, bool, tuple[float, ...]]] = [
    # rule, bug, whether it adds boxes, shares of the boxes at which it is found
    ("exact-duplicate", bugs.identity, True, (0.01, 0.05, 0.5)),
    ("near-duplicate", bugs.jittered, True, (0.01, 0.05, 0.5)),
    ("one-box-two-classes", bugs.as_next_class, True, (0.01, 0.05, 0.5)),
    ("corners-as-sizes", bugs.corners_as_sizes, False, (0.01, 0.05, 0.5)),
    ("edge-excess", bugs.at_the_edge, False, (0.01, 0.05, 0.5)),
    ("constant-size", bugs.of_one_size, False, (0.01, 0.05, 0.5)),
    ("unlikely-size", bugs.enlarged, False, (0.01, 0.05, 0.5)),
    ("shifted-boxes", bugs.moved_by_5_px, False, (0.05, 0.5, 1.0)),
    ("missing-labels", bugs.removed, False, (0.01, 0.05, 0.5)),
    ("box-without-ink", bugs.at_random, False, (0.01, 0.05, 0.5)),
    ("self-suppressed", bugs.overlapping, True, (0.05, 0.5)),
    ("too-small", bugs.flattened, False, (0.01, 0.05, 0.5)),
]


def only(rule: str) -> dict[str, RuleSettings]:
    """Return settings with which only one rule is checked."""
    off = RuleSettings(level="off", thresholds={})
    return dict.fromkeys(default_settings(), off) | {rule: default_settings()[rule]}


def found(report: LintReport, rule: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == rule]


def test_no_pages() -> None:
    report = lint([], ["stem"])
    assert [finding.rule for finding in report.findings] == ["rare-class"]
    assert (report.n_images, report.n_boxes, report.skipped) == (0, 0, [])


def test_correct_labels_are_clean(clean: list[LintPage], names: Sequence[str]) -> None:
    report = lint(clean, names)
    assert {finding.rule for finding in report.findings} <= {"rare-class", "too-small"}
    assert report.n_errors == 0
    thin = {f.occurrence.class_name for f in found(report, "too-small")}
    assert thin <= {"stem", "barlineSingle"}


@pytest.mark.parametrize(
    ("rule", "bug", "adds", "share"),
    [(rule, bug, adds, share) for rule, bug, adds, shares in PLANTED for share in shares],
)
def test_a_planted_bug_is_found_under_its_name(
    rule: str, bug: Bug, adds: bool, share: float, clean: list[LintPage], names: Sequence[str]
) -> None:
    pages = planted(clean, names, bug, share, adds=adds)
    findings = found(lint(pages, names, only(rule)), rule)
    assert findings
    for finding in findings:
        occurrence = finding.occurrence
        assert finding.level == next(r.level for r in RULES if r.id == rule)
        assert 0 < occurrence.share <= 1
        assert 1 <= len(occurrence.examples) <= 3
        assert all(example.box_xyxy for example in occurrence.examples)


def test_counts_and_examples_of_duplicates(clean: list[LintPage], names: Sequence[str]) -> None:
    page = clean[0]
    label = int(page.page.labels[0])
    n = int((page.page.labels == label).sum())
    repeated = with_rows(page, np.concatenate((page.rows, page.rows[:1], page.rows[:1])))
    (finding,) = found(lint([repeated], names, only("exact-duplicate")), "exact-duplicate")
    occurrence = finding.occurrence
    assert (occurrence.class_name, occurrence.count) == (names[label], 2)
    assert occurrence.share == pytest.approx(2 / (n + 2))
    (first, second) = occurrence.examples
    assert first == second
    assert first.page == page.page.image
    assert first.box_xyxy == pytest.approx(page.page.boxes_xyxy[0].tolist())


def test_duplicates_with_another_class_name_both_classes(
    clean: list[LintPage], names: Sequence[str]
) -> None:
    pages = planted(clean, names, bugs.as_next_class, 1.0, only=["clefG"], adds=True)
    (finding,) = found(lint(pages, names, only("one-box-two-classes")), "one-box-two-classes")
    assert finding.occurrence.class_name == "clefG + clefF"
    assert finding.occurrence.share == 1.0


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_copies_of_images_in_another_split(
    share: float, clean: list[LintPage], names: Sequence[str]
) -> None:
    n = max(1, round(share * len(clean)))
    name = PurePosixPath("copy.png")
    copies = [replace(p, split="val", page=replace(p.page, image=name)) for p in clean[:n]]
    (finding,) = found(lint([*clean, *copies], names, only("leak-image")), "leak-image")
    assert (finding.occurrence.count, finding.occurrence.detail) == (
        n,
        "equal images in train and val",
    )
    assert finding.occurrence.examples[0].page == clean[0].page.image


def rewritten(page: LintPage, path: Path, name: str, shift_px: int) -> LintPage:
    """Write an image of another split with moved pixels."""
    images.write(np.roll(images.read(page.path), shift_px, axis=(0, 1)), path)
    moved = replace(page.page, image=PurePosixPath(name))
    return replace(page, split="val", path=path, page=moved, recorded_hash="")


def test_shifted_copies_in_another_split(
    clean: list[LintPage], names: Sequence[str], tmp_path: Path
) -> None:
    copies = [
        rewritten(page, tmp_path / f"{i}.png", f"{i}.png", 9) for i, page in enumerate(clean[:2])
    ]
    assert not found(lint([*clean, *copies], names, only("leak-image")), "leak-image")
    (finding,) = found(lint([*clean, *copies], names, only("leak-similar")), "leak-similar")
    occurrence = finding.occurrence
    assert (finding.level, occurrence.count) == ("warning", 2)
    assert [example.page for example in occurrence.examples] == [p.page.image for p in clean[:2]]
    assert occurrence.detail == "the example is a copy of val/0.png"


def test_images_of_a_single_split_are_not_hashed(clean: list[LintPage]) -> None:
    check = SimilarImages([], {})
    assert check.measure(clean[0]) is not None
    assert check.measure(replace(clean[0], has_other_splits=False)) is None


def test_different_pages_and_equal_files_are_not_similar(
    clean: list[LintPage], names: Sequence[str], tmp_path: Path
) -> None:
    pages = [
        replace(page, split="val" if i % 2 else "train", recorded_hash="")
        for i, page in enumerate(clean)
    ]
    equal = rewritten(clean[0], tmp_path / "0.png", "0.png", 0)
    equal.path.write_bytes(clean[0].path.read_bytes())
    assert lint([*pages, equal], names, only("leak-similar")).findings == []


@pytest.mark.parametrize(
    ("train", "val", "is_leak"),
    [
        ("lg-12-aug-bravura-1--page-1", "lg-12-aug-petaluma-2--page-3", True),
        ("lg-12-aug-bravura-1--page-1", "lg-13-aug-bravura-1--page-1", False),
        ("CVC-MUSCIMA_W-01_N-10_D-ideal", "CVC-MUSCIMA_W-01_N-11_D-ideal", True),
        ("CVC-MUSCIMA_W-01_N-10_D-ideal", "CVC-MUSCIMA_W-02_N-10_D-ideal", False),
        ("sonata_page_1", "sonata_page_2", True),
        ("scan__x00000_y00000", "scan__x00512_y00000", True),
        ("0001", "0001", False),
        ("page-1", "page-1", False),
    ],
)
def test_works_in_two_splits(
    train: str, val: str, is_leak: bool, clean: list[LintPage], names: Sequence[str]
) -> None:
    pages = [
        replace(
            clean[i], split=split, page=replace(clean[i].page, image=PurePosixPath(f"{name}.png"))
        )
        for i, (split, name) in enumerate((("train", train), ("val", val)))
    ]
    assert bool(found(lint(pages, names, only("leak-work")), "leak-work")) == is_leak


@pytest.mark.parametrize(
    ("train", "val", "is_leak"),
    [
        (("sonata-page-1", "op1"), ("sonata-page-2", "op2"), False),
        (("scan-1", "op1"), ("photo-7", "op1"), True),
        (("scan-1", "12"), ("lg-12-aug-bravura--page-1", ""), True),
        (("CVC-MUSCIMA_W-01_N-10_D-ideal", "10"), ("CVC-MUSCIMA_W-01_N-11_D-ideal", "11"), True),
    ],
)
def test_recorded_works_in_two_splits(
    train: tuple[str, str],
    val: tuple[str, str],
    is_leak: bool,
    clean: list[LintPage],
    names: Sequence[str],
) -> None:
    pages = [
        replace(
            clean[i],
            split=split,
            page=replace(clean[i].page, image=PurePosixPath(f"{name}.png")),
            recorded_work=work,
        )
        for i, (split, (name, work)) in enumerate((("train", train), ("val", val)))
    ]
    assert bool(found(lint(pages, names, only("leak-work")), "leak-work")) == is_leak


@pytest.mark.parametrize(
    ("removed", "reported"),
    [
        ("noteheadHalf", "noteheadHalf"),
        ("augmentationDot", "augmentationDot + repeatDot"),
        ("keyFlat", "accidentalFlat + keyFlat"),
        ("clefG", "clefG"),
        ("stem", ""),
    ],
)
def test_classes_whose_boxes_are_missing(
    removed: str, reported: str, clean: list[LintPage], names: Sequence[str]
) -> None:
    pages = planted(clean, names, bugs.removed, 0.5, only=[removed])
    findings = found(lint(pages, names, only("missing-labels")), "missing-labels")
    assert [f.occurrence.class_name for f in findings] == [reported] * bool(reported)


def drawn(page: LintPage, what: str, names: Sequence[str]) -> LintPage:
    """Draw symbols that the class map lacks at every notehead, or above every staff."""
    space, pixels = float(page.staff_space or 0), page.pixels.copy()
    owner = names.index("noteheadBlack" if what == "staccato" else "staff")
    for x_min, y_min, x_max, y_max in page.page.boxes_xyxy[page.page.labels == owner].tolist():
        left, top = round(x_min + 9 * space), round(y_min - 3 * space)
        if what == "staccato":
            centre = round((x_min + x_max) / 2), round(y_max + 0.6 * space)
            cv2.circle(pixels, centre, round(0.2 * space), (0, 0, 0), -1)
        elif what == "grace notes":
            axes = round(0.42 * space), round(0.32 * space)
            for x in range(left, left + round(20 * space), round(3 * space)):
                cv2.ellipse(pixels, (x, top), axes, -20, 0, 360, (0, 0, 0), -1)
        else:
            corner = left + round(6 * space), top + round(0.95 * space)
            cv2.rectangle(pixels, (left, top), corner, (0, 0, 0), -1)
    changed = replace(page)
    vars(changed)["pixels"] = pixels
    return changed


@pytest.mark.parametrize("what", ["staccato", "grace notes", "bar of a rest"])
def test_other_symbols_are_no_missing_labels(
    what: str, clean: list[LintPage], names: Sequence[str]
) -> None:
    pages = [drawn(page, what, names) for page in clean]
    assert lint(pages, names, only("missing-labels")).findings == []


@pytest.mark.parametrize(
    ("labelled", "n_images"), [("fermata", 3), ("clef", 3), ("notehead,stem,beam", 0), ("", 0)]
)
def test_a_source_with_few_labelled_classes(
    labelled: str, n_images: int, clean: list[LintPage], names: Sequence[str]
) -> None:
    others = [name for name in names if not name.startswith(tuple(labelled.split(",")))]
    partial = planted(clean[3:], names, bugs.removed, 1.0, only=others) if others else clean[3:]
    pages = [*clean[:3], *(replace(page, source="scans") for page in partial)]
    findings = found(lint(pages, names, only("unlabelled-ink")), "unlabelled-ink")
    assert [(f.occurrence.source, f.occurrence.count) for f in findings] == [
        ("scans", n_images)
    ] * bool(n_images)


def test_negatives_are_reported_and_otherwise_checked_as_positives(
    clean: list[LintPage], names: Sequence[str]
) -> None:
    pages = [replace(page) for page in clean]
    for page in pages[3:]:
        vars(page)["pixels"] = ~page.pixels
    report = lint(pages, names)
    [finding] = found(report, "negative-image")
    assert (finding.occurrence.count, finding.occurrence.share) == (3, 0.5)
    assert {f.rule for f in report.findings} == {"negative-image", "rare-class", "too-small"}


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.zeros((1, 1), np.uint8), False),
        (np.full((99, 99), 255, np.uint8), False),
        (np.full((99, 99, 3), 40, np.uint8), False),
        (np.tril(np.full((99, 99), 255, np.uint8)), False),  # half dark
        (np.pad(np.full((60, 60), 230, np.uint8), (0, 39), constant_values=20), False),
        (np.pad(np.full((40, 40, 3), 230, np.uint8), ((0, 59), (0, 59), (0, 0))), True),
    ],
)
def test_is_negative(pixels: NDArray[np.uint8], expected: bool) -> None:
    assert is_negative(pixels) is expected


def test_a_page_without_ink(clean: list[LintPage], names: Sequence[str]) -> None:
    page, paper = replace(clean[0]), np.zeros((1800, 1300), np.uint8)
    vars(page)["ink"] = Ink(all=paper, without_lines=paper)
    settings = only("missing-labels") | {"unlabelled-ink": default_settings()["unlabelled-ink"]}
    assert lint([page], names, settings).findings == []


def test_a_page_whose_staves_are_not_found(clean: list[LintPage], names: Sequence[str]) -> None:
    """Text, the only ink that looks like a staff, is not judged."""
    page = replace(clean[0])
    unlabelled = clean[0].unlabelled
    assert unlabelled is not None
    staves, rest = np.zeros_like(unlabelled.staves), np.zeros_like(unlabelled.rest)
    staves[:12], rest[: 12 * unlabelled.cell] = 1, 255
    vars(page)["unlabelled"] = replace(unlabelled, all=rest, rest=rest, staves=staves)
    assert lint([page], names, only("unlabelled-ink")).findings == []


def test_ink_of_unknown_classes_is_not_judged(clean: list[LintPage]) -> None:
    page = with_rows(clean[0], clean[0].rows[:0])
    assert lint([page], ["hand", "fermata"], only("unlabelled-ink")).findings == []


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
@pytest.mark.parametrize(
    ("removed", "alone"),
    [
        ("stem", {"noteheadBlack", "flag8th"}),
        ("noteheadBlack", {"stem"}),
        ("augmentationDot", set()),
    ],
)
def test_parts_of_notes_without_their_partners(
    removed: str, alone: set[str], share: float, clean: list[LintPage], names: Sequence[str]
) -> None:
    pages = planted(clean, names, bugs.removed, share, only=[removed])
    findings = found(lint(pages, names, only("structure")), "structure")
    classes = {finding.occurrence.class_name for finding in findings}
    assert bool(classes) == bool(alone)
    assert alone <= classes or share < 0.1


def test_flags_are_not_checked_for_shifts(clean: list[LintPage], names: Sequence[str]) -> None:
    pages = planted(clean, names, bugs.moved_by_5_px, 1.0)
    findings = found(lint(pages, names, only("shifted-boxes")), "shifted-boxes")
    classes = {finding.occurrence.class_name for finding in findings}
    assert "noteheadBlack" in classes
    assert not {name for name in classes if name.startswith("flag")}


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        *(("noteheadBlack", "noteheadHalf", share) for share in (0.01, 0.05, 0.5, 1.0)),
        *(("keySharp", "keyFlat", share) for share in (0.05, 0.5, 1.0)),
    ],
)
def test_swapped_classes(
    first: str, second: str, share: float, clean: list[LintPage], names: Sequence[str]
) -> None:
    pages = planted(clean, names, bugs.swapped(first, second), share, only=[first, second])
    findings = found(lint(pages, names, only("swapped-classes")), "swapped-classes")
    pairs = {(f.occurrence.class_name, f.occurrence.detail) for f in findings}
    assert pairs & {(first, f"look like {second}"), (second, f"look like {first}")}
    assert {name for name, _ in pairs} <= {first, second}
    assert all(1 <= len(f.occurrence.examples) <= 3 for f in findings)


def test_dots_need_a_note(clean: list[LintPage], names: Sequence[str]) -> None:
    notes = [name for name in names if name.startswith(("notehead", "rest"))]
    pages = planted(clean, names, bugs.removed, 0.8, only=notes)
    findings = found(lint(pages, names, only("structure")), "structure")
    details = {f.occurrence.class_name: f.occurrence.detail for f in findings}
    assert details["augmentationDot"] == "no note or rest to the left"


def test_parts_of_notes_in_data_without_their_partners(
    clean: list[LintPage], names: Sequence[str]
) -> None:
    pages = planted(clean, names, bugs.removed, 1.0, only=["stem"])
    assert found(lint(pages, names, only("structure")), "structure") == []


@pytest.mark.parametrize("n_flipped", [0, 1, 6])
@pytest.mark.parametrize("flip", [bugs.mirrored, bugs.upside_down])
def test_flipped_pages(
    flip: Callable[[LintPage], LintPage],
    n_flipped: int,
    clean: list[LintPage],
    names: Sequence[str],
) -> None:
    pages = [*map(flip, clean[:n_flipped]), *clean[n_flipped:]]
    findings = found(lint(pages, names, only("mirrored-image")), "mirrored-image")
    assert [f.occurrence.count for f in findings] == [n_flipped] * bool(n_flipped)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_rare_classes(share: float, clean: list[LintPage], names: Sequence[str]) -> None:
    """A class that is nearly missing is found whatever the share of the others."""
    totals: Counter[int] = Counter()
    for page in clean:
        totals.update(page.page.labels.tolist())
    common = [label for label, n in totals.items() if n >= 100]
    rare = {names[label] for label in common[: max(1, round(share * len(common)))]}
    pages = planted(clean, names, bugs.removed, 0.99, only=list(rare))
    classes = ", ".join(
        f.occurrence.class_name for f in found(lint(pages, names, only("rare-class")), "rare-class")
    )
    assert rare <= set(classes.split(", "))


@pytest.mark.parametrize(("share", "is_found"), [(0.05, False), (1.0, True)])
def test_sizes_of_another_source(
    share: float, is_found: bool, clean: list[LintPage], names: Sequence[str]
) -> None:
    half = len(clean) // 2
    other = planted(clean[half:], names, bugs.enlarged, share, only=["noteheadBlack"])
    pages = [*clean[:half], *(replace(page, source="scans") for page in other)]
    findings = found(
        lint(pages, names, only("size-differs-between-sources")), "size-differs-between-sources"
    )
    assert [f.occurrence.class_name for f in findings] == ["noteheadBlack"] * is_found


def test_boxes_cut_by_a_tile_are_no_bug(clean: list[LintPage], names: Sequence[str]) -> None:
    pages = planted(clean, names, bugs.at_the_edge, 0.5)
    report = lint([replace(page, is_tile=True) for page in pages], names)
    cut = {"corners-as-sizes", "edge-excess", "near-duplicate", "self-suppressed", "unlikely-size"}
    assert not cut & {finding.rule for finding in report.findings}
    assert report.skipped == [
        "corners-as-sizes: needs whole pages, not tiles",
        "edge-excess: needs whole pages, not tiles",
        "structure: needs whole pages, not tiles",
    ]


@pytest.mark.parametrize("largest", [0.3, 0.6, 0.9])
def test_large_objects_are_no_corners(
    largest: float, clean: list[LintPage], names: Sequence[str]
) -> None:
    rng = np.random.default_rng(0)
    sides = rng.uniform(0.02, largest, (2000, 2))
    centres = sides / 2 + rng.random((2000, 2)) * (1 - sides)
    labels = rng.integers(0, len(names), 2000)
    rows = np.column_stack((labels, centres, sides)).astype(np.float64)
    findings = lint([with_rows(clean[0], rows)], names, only("corners-as-sizes")).findings
    assert findings == []


@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_symbols_at_one_place_of_small_images_are_no_corners(
    spread: float, clean: list[LintPage], names: Sequence[str]
) -> None:
    small = replace(clean[0].page, width=200, height=160)
    rows = np.tile([0, 0.1, 0.1125, 0.1, 0.1], (40, 1))  # [10 10 30 26] px
    rows[:, 3:] += np.random.default_rng(0).uniform(0, spread, (40, 2))
    page = with_rows(replace(clean[0], page=small), rows)
    assert lint([page], names, only("corners-as-sizes")).findings == []


def test_rules_that_are_off_are_not_checked(clean: list[LintPage], names: Sequence[str]) -> None:
    settings = {rule: RuleSettings(level="off", thresholds={}) for rule in default_settings()}
    pages = planted(clean, names, bugs.identity, 0.5, adds=True)
    assert lint(pages, names, settings).findings == []
