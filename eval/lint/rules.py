"""The rules, and the run of their checks over a data set."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from eval.lint.checks.badly_placed_labels import BadlyPlacedLabels
from eval.lint.checks.boxes_without_ink import BoxesWithoutInk
from eval.lint.checks.constant_sizes import ConstantSizes
from eval.lint.checks.corners_as_sizes import CornersAsSizes
from eval.lint.checks.edge_excess import EdgeExcess
from eval.lint.checks.exact_duplicates import ExactDuplicates
from eval.lint.checks.leaks import LeakedImages, LeakedWorks, SimilarImages
from eval.lint.checks.mirrored_images import MirroredImages
from eval.lint.checks.missing_labels import MissingLabels
from eval.lint.checks.near_duplicates import NearDuplicates
from eval.lint.checks.negative_images import NegativeImages
from eval.lint.checks.one_box_two_classes import OneBoxTwoClasses
from eval.lint.checks.overlooked_labels import OverlookedLabels
from eval.lint.checks.rare_classes import RareClasses
from eval.lint.checks.self_suppressed import SelfSuppressed
from eval.lint.checks.shifted_boxes import ShiftedBoxes
from eval.lint.checks.size_differences import SizeDifferences
from eval.lint.checks.structure import Structure
from eval.lint.checks.swapped_classes import SwappedClasses
from eval.lint.checks.swapped_labels import SwappedLabels
from eval.lint.checks.too_small import TooSmall
from eval.lint.checks.unlabelled_ink import UnlabelledInk
from eval.lint.checks.unlikely_sizes import UnlikelySizes
from eval.lint.findings import Finding, Level, LintReport, Occurrence
from eval.lint.pages import LintPage
from eval.lint.ranking import RankingCheck


class Check(Protocol):
    """Counts of one rule, filled image by image."""

    def add(self, page: LintPage) -> None:
        """Add an image."""

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the results for all images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One kind of label bug, and how to look for it."""

    id: str
    level: Level
    """Level unless the configuration sets another."""
    check: Callable[[Sequence[str], Mapping[str, float]], Check]
    """Makes the check from the names of the classes and the thresholds."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Thresholds and their defaults."""
    needs_whole_pages: bool = False
    """Whether tiles are skipped."""
    needs_predictions: bool = False
    """Whether the rule compares the labels with what a trained network finds."""
    before_training: bool = False
    """Whether ``omr train`` checks the rule: an error that shows in boxes alone, whatever part of a
    page the images show."""
    meaning: str
    """Usual cause of the findings."""
    remedy: str
    """Recommended action."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleSettings:
    """Level and thresholds of a rule in one run."""

    level: Level
    thresholds: Mapping[str, float]


RULES = (
    Rule(
        id="corners-as-sizes",
        level="error",
        check=CornersAsSizes,
        thresholds={
            "min_side": 0.1,
            "max_side": 0.75,
            "max_symbol": 0.1,
            "min_share_of_large": 0.5,
            "min_sizes": 5,
            "min_share": 0.002,
            "min_count": 3,
        },
        needs_whole_pages=True,
        before_training=True,
        meaning="corners x1 y1 x2 y2 were read as x y width height, and clamped to the page",
        remedy="read the boxes as corners, and convert again",
    ),
    Rule(
        id="exact-duplicate",
        level="error",
        check=ExactDuplicates,
        thresholds={"min_share": 0.0, "min_count": 1},
        meaning="two annotation sets were merged, or a file was appended to itself",
        remedy="remove the duplicates, and check which step wrote them",
    ),
    Rule(
        id="near-duplicate",
        level="error",
        check=NearDuplicates,
        thresholds={"min_iou": 0.95, "min_share": 0.002, "min_count": 1},
        before_training=True,
        meaning="symbols were annotated in two sets with small differences; training keeps both",
        remedy="keep one annotation set, or convert with --dedup-iou",
    ),
    Rule(
        id="one-box-two-classes",
        level="error",
        check=OneBoxTwoClasses,
        thresholds={"min_iou": 0.95, "min_share": 0.002, "min_count": 1},
        before_training=True,
        meaning="categories of two annotation sets were mapped to different classes",
        remedy="map one annotation set, and correct the class map",
    ),
    Rule(
        id="edge-excess",
        level="error",
        check=EdgeExcess,
        thresholds={"min_share": 0.002, "min_count": 3},
        needs_whole_pages=True,
        meaning="boxes were clamped to the page, because their coordinates were wrong",
        remedy="compare the boxes with the source before clamping",
    ),
    Rule(
        id="size-differs-between-sources",
        level="error",
        check=SizeDifferences,
        thresholds={"factor": 3.0, "min_count": 10},
        before_training=True,
        meaning="the boxes of a source are in another unit or format, or the class means another "
        "symbol there",
        remedy="look at the examples with omr show, and correct the reader or the class map",
    ),
    Rule(
        id="constant-size",
        level="error",
        check=ConstantSizes,
        thresholds={
            "min_share": 0.002,
            "min_share_if_usual": 0.3,
            "min_count": 5,
            "min_range": 1.2,
            "unusual": 0.15,
            "glyph_spread": 1.6,
        },
        before_training=True,
        meaning="boxes of a fixed size were placed around points, or guessed",
        remedy="label the outlines of the symbols, or remove these boxes",
    ),
    Rule(
        id="unlikely-size",
        level="warning",
        check=UnlikelySizes,
        thresholds={
            "factor": 1.6,
            "slack_px": 1.5,
            "min_learnt": 20,
            "min_share": 0.005,
            "min_count": 3,
        },
        meaning="the class id or the class map is wrong, or the boxes are not around the symbols",
        remedy="look at the examples with omr show, and correct the names or the boxes",
    ),
    Rule(
        id="shifted-boxes",
        level="error",
        check=ShiftedBoxes,
        thresholds={
            "min_shift": 0.15,
            "max_ink": 0.85,
            "min_share": 0.02,
            "min_share_of_others": 0.5,
            "min_count": 3,
        },
        meaning="the image was cropped, padded, rotated or scaled without its labels",
        remedy="look at the examples with omr show, and correct the labels of these pages",
    ),
    Rule(
        id="missing-labels",
        level="warning",
        check=MissingLabels,
        thresholds={
            "min_similarity": 0.65,
            "max_distance": 1.5,
            "min_share": 0.005,
            "min_share_of_others": 0.02,
            "min_count": 3,
        },
        meaning="pages were labelled in part; training takes unlabelled symbols for background",
        remedy="label the rest, or remove these pages",
    ),
    Rule(
        id="unlabelled-ink",
        level="warning",
        check=UnlabelledInk,
        thresholds={"min_covered": 0.5, "min_share": 0.05, "min_count": 1},
        meaning="only some of the symbols were labelled; training takes the others for background",
        remedy="label the rest, or remove these pages, or these classes from the class map",
    ),
    Rule(
        id="box-without-ink",
        level="error",
        check=BoxesWithoutInk,
        thresholds={"max_ink": 0.05, "min_share": 0.002, "min_count": 3},
        meaning="boxes were guessed, or belong to another image or another version of it",
        remedy="look at the examples with omr show, and remove or correct the boxes",
    ),
    Rule(
        id="swapped-classes",
        level="error",
        check=SwappedClasses,
        thresholds={"factor": 1.1, "min_share": 0.005, "min_count": 3},
        meaning="ids or names of classes were typed in the wrong order, or mapped wrongly",
        remedy="look at the examples with omr show, and correct data.yaml or the class map",
    ),
    Rule(
        id="structure",
        level="warning",
        check=Structure,
        thresholds={"min_share": 0.006, "min_count": 3},
        needs_whole_pages=True,
        meaning="symbols are not labelled, or their boxes are at the wrong place",
        remedy="look at the examples with omr show, and complete the labels",
    ),
    Rule(
        id="mirrored-image",
        level="error",
        check=MirroredImages,
        thresholds={"min_stems": 10, "min_wrong": 0.6},
        before_training=True,
        meaning="images were flipped, by an augmentation that does not suit music",
        remedy="remove these images, and do not flip (fliplr=0, flipud=0)",
    ),
    Rule(
        id="negative-image",
        level="warning",
        check=NegativeImages,
        meaning="binary images were stored as negatives; networks that learn light ink do not find "
        "dark ink",
        remedy="invert the images, such as with `mogrify -negate`, and convert again",
    ),
    Rule(
        id="self-suppressed",
        level="error",
        check=SelfSuppressed,
        thresholds={"nms_iou": 0.7, "min_kept": 0.98, "min_count": 3},
        before_training=True,
        meaning="symbols are labelled more than once; prediction with NMS cannot return both",
        remedy="remove the duplicates, or convert with a lower --dedup-iou",
    ),
    Rule(
        id="too-small",
        level="warning",
        check=TooSmall,
        thresholds={"imgsz": 0, "min_side_px": 1.5, "min_share": 0.01, "min_count": 3},
        meaning="symbols are too thin to be learnt at this size",
        remedy="train on tiles, or convert with a larger --scale",
    ),
    Rule(
        id="rare-class",
        level="warning",
        check=RareClasses,
        thresholds={"min_boxes": 30},
        meaning="the classes are not labelled in this data, or too few to be learnt",
        remedy="omit them in the class map, or add pages that contain them",
    ),
    Rule(
        id="overlooked-label",
        level="warning",
        check=OverlookedLabels,
        thresholds={"max_score": 0.4, "min_share": 0.005, "min_count": 3},
        needs_predictions=True,
        meaning="symbols were not labelled; training takes them for background",
        remedy="look through the worklist, and label them",
    ),
    Rule(
        id="badly-placed-label",
        level="warning",
        check=BadlyPlacedLabels,
        thresholds={"max_score": 0.7, "min_share": 0.005, "min_count": 3},
        needs_predictions=True,
        meaning="boxes were drawn carelessly, or moved",
        remedy="look through the worklist, and correct the boxes",
    ),
    Rule(
        id="swapped-label",
        level="warning",
        check=SwappedLabels,
        thresholds={"max_score": 0.4, "min_share": 0.005, "min_count": 3},
        needs_predictions=True,
        meaning="symbols were labelled as another class, or the class map merges them differently",
        remedy="look through the worklist, and correct the classes",
    ),
    Rule(
        id="leak-image",
        level="error",
        check=LeakedImages,
        meaning="files were copied before the split, so that scores measure memory",
        remedy="split again, by work",
    ),
    Rule(
        id="leak-similar",
        level="warning",
        check=SimilarImages,
        meaning="copies were scaled, cropped, shifted or encoded again before the split",
        remedy="compare the images, and remove one of them or split again, by work",
    ),
    Rule(
        id="leak-work",
        level="error",
        check=LeakedWorks,
        meaning="pages of a work, piece or writer were divided between splits",
        remedy="split again with omr split, by work",
    ),
)
"""All rules, in the order of their findings: a cause before what follows from it."""


def default_settings() -> dict[str, RuleSettings]:
    """Return the settings of all rules without a configuration file."""
    return {rule.id: RuleSettings(level=rule.level, thresholds=rule.thresholds) for rule in RULES}


def training_settings() -> dict[str, RuleSettings]:
    """Return the default settings, with the rules off that ``omr train`` does not check."""
    settings = default_settings()
    off = {
        rule.id: replace(settings[rule.id], level="off")
        for rule in RULES
        if not rule.before_training
    }
    return settings | off


def lint(
    pages: Iterable[LintPage],
    names: Sequence[str],
    settings: Mapping[str, RuleSettings] | None = None,
    *,
    with_predictions: bool = False,
) -> LintReport:
    """Check the labels of a data set.

    Args:
        pages: Images with their boxes; only one is held in memory.
        names: Names of the classes.
        settings: Settings by rule; None for the defaults.
        with_predictions: Whether to check the rules that need predictions.
    """
    settings = settings or default_settings()
    active = [
        rule
        for rule in RULES
        if settings[rule.id].level != "off" and (with_predictions or not rule.needs_predictions)
    ]
    checks = {rule.id: rule.check(names, settings[rule.id].thresholds) for rule in active}
    n_boxes, n_images, n_tiles = 0, 0, 0
    for page in pages:
        n_images, n_boxes, n_tiles = n_images + 1, n_boxes + len(page.rows), n_tiles + page.is_tile
        for rule in active:
            if not (page.is_tile and rule.needs_whole_pages):
                checks[rule.id].add(page)
    return LintReport(
        n_images=n_images,
        n_boxes=n_boxes,
        findings=_findings(active, checks, settings),
        skipped=[
            f"{rule.id}: needs whole pages, not tiles"
            for rule in active
            if rule.needs_whole_pages and n_images and n_tiles == n_images
        ],
        ranked={
            name: check.ranked()
            for name, check in checks.items()
            if isinstance(check, RankingCheck)
        },
    )


def _findings(
    rules: Sequence[Rule], checks: Mapping[str, Check], settings: Mapping[str, RuleSettings]
) -> list[Finding]:
    """Return the findings of all checks, errors first."""
    findings = [
        Finding(
            rule=rule.id,
            level=settings[rule.id].level,
            occurrence=occurrence,
            meaning=rule.meaning,
            remedy=rule.remedy,
        )
        for rule in rules
        for occurrence in checks[rule.id].occurrences()
    ]
    return sorted(findings, key=lambda finding: finding.level != "error")
