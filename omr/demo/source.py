"""Source of the demo's pages: engraved by the demo, or given by the user."""

from dataclasses import dataclass
from pathlib import Path

from class_maps import ConfigError
from converters.files.overwriting import is_inside
from converters.formats.sources import open_source
from converters.names import work_of
from omr.demo.options import HOLDOUT_FONT


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSource:
    """Properties of the pages that are known before any of them is read."""

    path: Path
    has_val: bool
    """Whether some pages are held out already."""
    has_works: bool
    """Whether the pages belong to more than one work, so that works can be held out."""
    has_staves: bool
    """Whether staff lines are labelled, so that pages can be scaled to one staff space."""
    is_engraved: bool = False
    """Whether the demo engraves the pages itself."""

    @property
    def is_held_out(self) -> bool:
        """Whether scores are computed on pages that are not trained on."""
        return self.has_val or self.has_works

    @property
    def interpretation(self) -> str:
        """Sentences that explain what the demo's scores measure."""
        if self.is_engraved:
            return (
                "Scored on engraved pages held out from training: other pieces, in a font "
                f"({HOLDOUT_FONT}) that no training page uses. All pages are clean and come from "
                "one engraver, so the scores do not carry over to scans."
            )
        if self.is_held_out:
            return "Scored on works held out from training."
        return (
            "Scored on the TRAINING pages, because there was no second work to hold out. The "
            "scores show that the model can memorise these pages, not that it generalises."
        )


def engraved_source(pages: Path) -> DemoSource:
    """Describe pages that the demo will engrave.

    Args:
        pages: Folder to engrave to.

    Raises:
        MissingExtraError: A package that engraving needs is not installed.
    """
    import converters.engraving  # noqa: F401, checks that its packages are installed

    return DemoSource(path=pages, has_val=True, has_works=True, has_staves=True, is_engraved=True)


def inspect_source(path: Path, out: Path) -> DemoSource:
    """Inspect the user's pages.

    Args:
        path: Data set that ``omr convert`` reads.
        out: Folder of the demo.

    Raises:
        ConfigError: The data set is inside ``out``, or has no training pages.
        InputError: The data set cannot be read.
    """
    if is_inside(path, out):
        raise ConfigError(
            f"is inside the demo's folder {out}; choose another --out", option="--data", value=path
        )
    source_format, files = open_source(path)
    splits = {file.split for file in files if file.images}
    works = {work_of(i) for file in files if file.split == "train" for i in file.images}
    if not works:
        raise ConfigError(
            "contains no training pages; add some, the demo trains on them",
            option="--data",
            value=path,
        )
    return DemoSource(
        path=path,
        has_val="val" in splits,
        has_works=None not in works and len(works) > 1,
        has_staves=source_format in {"deepscoresv2", "engraved"},
    )
