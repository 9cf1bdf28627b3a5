"""Findings of the checks, and the report that contains them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

Level = Literal["error", "warning", "off"]
"""Severity of a rule's findings; rules that are off are not checked."""
LEVELS: tuple[Level, ...] = ("error", "warning", "off")
N_EXAMPLES = 3
"""Maximum number of examples per finding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A place where a finding can be seen."""

    split: str
    page: PurePosixPath
    """Image, relative to the image folder of its split."""
    box_xyxy: tuple[float, float, float, float] | None = None
    """Box in pixels; None if the finding is about the whole image."""

    @property
    def text(self) -> str:
        """The example as ``split/page [x_min y_min x_max y_max]``."""
        box = " ".join(f"{side:.0f}" for side in self.box_xyxy or ())
        return f"{self.split}/{self.page}" + (f" [{box}]" if box else "")

    def to_json(self) -> dict[str, Any]:
        """Return the example with the keys ``split``, ``page`` and ``box_xyxy``."""
        box = [round(side, 2) for side in self.box_xyxy] if self.box_xyxy else None
        return {"split": self.split, "page": str(self.page), "box_xyxy": box}


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedLabel:
    """A label that a prediction contradicts, or a prediction without a label."""

    score: float
    """Quality of the label, 0 to 1; low for likely bugs."""
    example: Example
    """Box of the label, or of the prediction if it has no label."""
    class_name: str
    """Class of the label; empty if there is none."""
    predicted_class: str
    confidence: float
    """Confidence of the prediction, scaled so that the threshold of its class is 0.5."""
    predicted_xyxy: tuple[float, float, float, float]
    """Box of the prediction in pixels."""
    source: str
    """Source of the page; empty if the data set has only one."""
    path: Path
    staff_space: float
    """Staff space of the image in pixels."""

    @property
    def group(self) -> tuple[str, str]:
        """Class and source under which it is counted."""
        return self.class_name or self.predicted_class, self.source


@dataclass(frozen=True, kw_only=True, slots=True)
class Occurrence:
    """Result of a check for one class and source."""

    class_name: str
    """Class; two classes as ``a + b``; empty if the finding is about images."""
    source: str
    """Source of the pages; empty if the data set has only one."""
    count: int
    """Number of boxes, images, works or classes."""
    share: float
    """Count divided by the number that was checked, 0 to 1."""
    examples: tuple[Example, ...] = ()
    detail: str = ""
    """Figures that explain this occurrence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """An occurrence, with the rule that reports it."""

    rule: str
    level: Level
    occurrence: Occurrence
    meaning: str
    """Usual cause."""
    remedy: str
    """Recommended action."""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as in ``omr lint --json``."""
        fields = asdict(self.occurrence)
        fields["class"] = fields.pop("class_name")
        fields["examples"] = [example.to_json() for example in self.occurrence.examples]
        level = {"rule": self.rule, "level": self.level}
        return level | fields | {"meaning": self.meaning, "remedy": self.remedy}


@dataclass(frozen=True, kw_only=True, slots=True)
class LintReport:
    """All findings about a data set."""

    n_images: int
    n_boxes: int
    findings: Sequence[Finding]
    """Errors first, in the order of the rules."""
    skipped: Sequence[str] = ()
    """Rules that could not be checked, each with the reason."""
    ranked: Mapping[str, Sequence[RankedLabel]] = field(default_factory=dict)
    """Labels that predictions contradict by rule, lowest score first."""

    @property
    def n_errors(self) -> int:
        """Number of findings with level ``error``."""
        return sum(finding.level == "error" for finding in self.findings)

    @property
    def n_warnings(self) -> int:
        """Number of findings with level ``warning``."""
        return len(self.findings) - self.n_errors

    def to_json(self) -> dict[str, Any]:
        """Return the report as in ``omr lint --json``."""
        return {
            "images": self.n_images,
            "boxes": self.n_boxes,
            "errors": self.n_errors,
            "warnings": self.n_warnings,
            "findings": [finding.to_json() for finding in self.findings],
            "skipped": list(self.skipped),
        }
