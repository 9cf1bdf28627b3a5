"""Options of a conversion."""

from dataclasses import dataclass, field

from class_maps import ClassMap, ConfigError
from converters.formats import REFERRING_WRITERS, check_formats
from converters.names import ImageMode
from converters.prepare.candidates import CandidateLimits
from converters.prepare.preparation import PreparationOptions
from converters.prepare.splits import SplitBy


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversionOptions:
    """Everything that determines the output; the number of workers does not."""

    class_map: ClassMap
    formats: tuple[str, ...] = ("yolo",)
    """Output formats, see :data:`converters.formats.WRITERS`."""
    annotation_set: str | None = None
    """Annotation set to read; None to use the class map's."""
    preparation: PreparationOptions = field(default_factory=PreparationOptions)
    val: float = 0.0
    """Fraction of the training pages to hold out."""
    split_by: SplitBy = "work"
    """Unit that is never divided between train and val: a work or a page."""
    seed: int = 0
    """Seed for choosing the pages to hold out."""
    labels_only: bool = False
    """Whether to write labels only, without reading or writing images."""
    image_mode: ImageMode = "copy"
    """How images get into the output. Links and references need whole pages in their own size."""
    candidates: CandidateLimits | None = None
    """Numbers of candidates for contact sheets to find on each page; None without sheets."""

    def __post_init__(self) -> None:
        """Reject unknown formats, invalid fractions, and links to tiles or scaled pages."""
        check_formats(self.formats)
        if not 0 <= self.val < 1:
            raise ConfigError(
                "expected a fraction of at least 0 and below 1",
                option="--val",
                value=f"{self.val:g}",
            )
        if self.image_mode != "copy":
            self._check_image_mode()

    def _check_image_mode(self) -> None:
        others = [name for name in self.formats if name not in REFERRING_WRITERS]
        problem = ""
        if self.labels_only:
            problem = "--labels-only omits images; use one of the two options"
        elif self.image_mode == "tar":
            if self.formats != ("parquet",):
                problem = "readers of other formats than Parquet expect files; use --format parquet"
        elif self.preparation.tiles or self.preparation.staff_space:
            problem = "tiles and scaled pages are new images; omit --tile and --scale"
        elif self.image_mode == "reference" and others:
            problem = (
                f"readers of {' and '.join(others)} expect the images in OUT; use --images link, "
                f"or --format {', '.join(REFERRING_WRITERS)}"
            )
        if problem:
            raise ConfigError(problem, option="--images", value=self.image_mode)
