"""Contact sheets of a data set for ``omr sheet``."""

import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from class_maps import InputError
from converters import tally
from converters.files.atomic_folder import MANIFEST, atomic_folder
from converters.formats.datasets import open_dataset
from converters.prepare.candidates import CandidateLimits, find_candidates
from converters.tracking import untracked
from converters.versions import TOOLKIT, installed_versions
from eval.lint.config_file import read_config
from eval.lint.findings import Finding
from eval.lint.pages import LintPage, lint_pages
from eval.lint.rules import lint
from eval.sheets.crops import cut_crops
from eval.sheets.selection import ChosenSymbol, Group, Selector, SourceImage
from eval.sheets.sheet_files import INDEX, write_sheets

N_EXTREME = 4
"""Number of symbols per class and source of each extreme size and shape."""
ImageKey: TypeAlias = tuple[str, PurePosixPath]
"""Split and name of an image."""
Show: TypeAlias = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Function that shows progress: items, description and number of items to the same items."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetOptions:
    """Options of contact sheets."""

    n_random: int = 16
    """Random symbols per class and source."""
    lint: bool = True
    """Whether the labels are checked, and the examples of the findings shown."""
    config: Path | None = None
    """TOML file with levels and thresholds of the checks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetsResult:
    """Counts of the sheets that were written, and warnings."""

    n_sheets: int
    n_crops: int
    n_symbols: int
    """Symbols of the data set."""
    n_findings: int
    """Findings of the checks; 0 if they were not made."""
    warnings: tuple[str, ...]
    index: str = INDEX

    def to_json(self) -> dict[str, Any]:
        """Return the counts, with the keys ``sheets``, ``crops``, ``symbols`` and ``findings``."""
        counts = asdict(self)
        return {name.removeprefix("n_"): value for name, value in counts.items()}


def draw_sheets(
    data: Path,
    out: Path,
    options: SheetOptions,
    *,
    force: bool = False,
    track: Show = untracked,
) -> SheetsResult:
    """Draw contact sheets of a data set.

    Args:
        data: Data set in YOLO format.
        out: Folder to create.
        options: Options of the sheets.
        force: Whether to replace ``out`` if omr wrote all files in it.
        track: Progress display.

    Raises:
        ConfigError: ``out`` exists, or is the data set.
        InputError: The data set or the configuration is malformed, or no image has a label.
    """
    dataset = open_dataset(data)
    settings = read_config(options.config) if options.config else None
    with atomic_folder(out, force=force, inputs=(data,)) as folder:
        n_images = sum(len(dataset.image_paths(split)) for split in dataset.own_splits())
        pages = track(lint_pages(dataset), "Reading labels", n_images)
        limits = CandidateLimits(n_random=options.n_random, n_extreme=N_EXTREME)
        selector, images = Selector(limits), dict[ImageKey, SourceImage]()
        added = _added(selector, limits, images, dataset.names, pages)
        findings: Sequence[Finding] = ()
        if options.lint:
            findings = lint(added, dataset.names, settings).findings
        else:
            deque(added, maxlen=0)
        if not selector.counts:
            raise InputError(f"none of the {n_images:,} images has a label", path=data)
        symbols = selector.chosen(_examples(findings, images, selector.counts.keys()))
        crops = track(cut_crops(symbols), "Drawing symbols", len(symbols))
        sheets = write_sheets(crops, selector.counts, folder, title=dataset.root.resolve().name)
        result = SheetsResult(
            n_sheets=len(sheets),
            n_crops=len(symbols),
            n_symbols=selector.counts.total(),
            n_findings=len(findings),
            warnings=tuple(dataset.warnings),
        )
        content = {"versions": installed_versions(TOOLKIT, "numpy"), **result.to_json()}
        (folder / MANIFEST).write_text(f"{json.dumps(content, indent=1)}\n", encoding="utf-8")
    return result


def _added(
    selector: Selector,
    limits: CandidateLimits,
    images: dict[ImageKey, SourceImage],
    names: Sequence[str],
    pages: Iterable[LintPage],
) -> Iterator[LintPage]:
    """Yield pages unchanged, each after its candidates were added to a selector."""
    for page in pages:
        image = SourceImage(
            source=page.source,
            split=page.split,
            name=page.page.image,
            path=page.path,
            staff_space=page.recorded_space,
        )
        images[page.split, page.page.image] = image
        symbols = replace(page.page, cut=~page.is_complete, staff_space=page.recorded_space)
        selector.add([image], find_candidates([symbols], limits), names)
        counts = tally.count(page.page.labels, names)
        selector.counts.update({(name, page.source): n for name, n in counts.items()})
        yield page


def _examples(
    findings: Iterable[Finding], images: Mapping[ImageKey, SourceImage], groups: Collection[Group]
) -> Iterator[ChosenSymbol]:
    """Yield the symbols that findings of the checks refer to."""
    for finding in findings:
        for example in finding.occurrence.examples:
            image = images[example.split, example.page]
            for name in finding.occurrence.class_name.split(" + "):
                if example.box_xyxy and (name, image.source) in groups:
                    yield ChosenSymbol(
                        class_name=name,
                        image=image,
                        box_xyxy=example.box_xyxy,
                        reason=finding.rule,
                    )
