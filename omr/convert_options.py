"""Arguments and options of ``omr convert``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, TypedDict

import typer

from class_maps import ConfigError
from class_maps.catalogues import SOURCES
from converters.names import ImageMode
from converters.prepare.splits import SplitBy
from omr.options import CLASS_MAP, FORMATS

if TYPE_CHECKING:
    from converters.prepare.preparation import PreparedPage
    from converters.tracking import Track

SourceData: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        help="Data sets: folders or files of DeepScoresV2, `omr engrave`, COCO, YOLO, Pascal VOC, "
        "labelme, MUSCIMA++, DoReMi or Parquet, also as CVAT, Label Studio and Roboflow export "
        "them. Several are merged.",
    ),
]
Out: TypeAlias = Annotated[Path, typer.Argument(help="Folder to create.")]
Classes: TypeAlias = Annotated[str, typer.Option(help=CLASS_MAP)]
SourceFormat: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--source",
        help=f"Format of every SOURCE: {', '.join(SOURCES)}.",
        show_default="detected",
    ),
]
ImageFolder: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the images that the JSON or XML files refer to.",
        show_default="looked for next to these files",
    ),
]
Images: TypeAlias = Annotated[
    ImageMode,
    typer.Option(
        help="How the images get into OUT: as copies, as links, not at all (labels refer to the "
        "images of SOURCE), or as copies in large tar files (Parquet only)."
    ),
]
AnnotationSet: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Annotation set to read.", show_default="as in the class map"),
]
Formats: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help=FORMATS,
        metavar="<name>",
        show_default="yolo",
    ),
]
Tile: TypeAlias = Annotated[
    int | None,
    typer.Option(help="Side length of square tiles in pixels.", min=32, show_default="whole pages"),
]
Overlap: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="Overlap of adjacent tiles in pixels.", min=0, show_default="a fifth of --tile"
    ),
]
MinVisible: TypeAlias = Annotated[
    float,
    typer.Option(
        help="Fraction of a symbol that must be visible in a tile for the tile to keep it.",
        min=0.01,
        max=1,
    ),
]
BlankTiles: TypeAlias = Annotated[
    float,
    typer.Option(
        help="Fraction of the training tiles without symbols to keep; validation keeps all.",
        min=0,
        max=1,
    ),
]
Scale: TypeAlias = Annotated[
    str,
    typer.Option(
        help="Scale of the pages: native, or staff-space:PX, at which adjacent staff lines are "
        "PX pixels apart."
    ),
]
DedupIou: TypeAlias = Annotated[
    float,
    typer.Option(
        help="Minimum IoU at which two symbols of the same class count as duplicates.",
        min=0.5,
        max=1,
    ),
]
MinSide: TypeAlias = Annotated[
    float,
    typer.Option(
        help="Side length in pixels that replaces a zero width or height of a box.", min=0.1
    ),
]
Clip: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--clip", help="Clip boxes that extend beyond the page; by default, they are errors."
    ),
]
Val: TypeAlias = Annotated[
    float,
    typer.Option(
        help="Fraction of the training pages to hold out for validation.", min=0, max=0.99
    ),
]
HeldOutUnit: TypeAlias = Annotated[
    SplitBy, typer.Option(help="Unit that is never split between train and val.")
]
Seed: TypeAlias = Annotated[int, typer.Option(help="Random seed for the choice of held-out pages.")]
LabelsOnly: TypeAlias = Annotated[
    bool,
    typer.Option("--labels-only", help="Convert labels only; images are neither read nor written."),
]
Sheets: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--sheets/--no-sheets",
        help="Show symbols of every class in OUT/sheets.html; takes little time.",
    ),
]
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Replace OUT if omr wrote all files in it.")
]
Backend: TypeAlias = Annotated[
    Literal["loky", "dask"],
    typer.Option(
        help="Where to work: processes on this machine, or the workers of a Dask cluster."
    ),
]
Scheduler: TypeAlias = Annotated[
    str,
    typer.Option(
        help="Address of the Dask scheduler, such as tcp://10.0.0.1:8786.", show_default=False
    ),
]
Shard: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Convert only part I of N (from 1), as one of N jobs; merge with --merge.",
        metavar="I/N",
    ),
]
Merge: TypeAlias = Annotated[
    bool, typer.Option("--merge", help="Merge what all jobs with --shard have converted.")
]


class Work(TypedDict):
    """How a conversion or a shard of it is done."""

    source_format: str | None
    images: Path | None
    workers: int
    track: "Track[PreparedPage]"


def parse_shard(text: str) -> tuple[int, int]:
    """Parse the value of ``--shard``: number of the shard, from 1, and number of shards.

    Raises:
        ConfigError: It is not of this form.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    shard = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= shard[0] <= shard[1]:
        raise ConfigError(
            "expected I/N, such as 3/26 for the third of 26 jobs", option="--shard", value=text
        )
    return shard


def check_execution(backend: str, scheduler: str, shard: str | None, *, merge: bool) -> None:
    """Check options that exclude or need each other.

    Raises:
        ConfigError: They do not fit together.
    """
    if (backend == "dask") != bool(scheduler):
        raise ConfigError("--backend dask and --scheduler ADDRESS need each other")
    if shard and (merge or scheduler):
        other = "--merge" if merge else "--backend dask"
        raise ConfigError(f"--shard and {other} exclude each other")
