"""The ``manifest.json`` of a converted data set: its source, options, and counts of all symbols.

:class:`ManifestBuilder` writes it, :func:`read_manifest` reads it; both use the same types.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from class_maps import InputError
from class_maps.text_files import read_bytes
from converters.files.atomic_folder import MANIFEST
from converters.formats.yolo_dataset import YoloDataset
from converters.json_text import decode, decode_unique
from converters.names import ImageMode
from converters.page_entries import PageEntries
from converters.prepare.cleaning import CleaningOptions
from converters.prepare.preparation import PageProperties, PreparedPage
from converters.prepare.splits import SplitBy
from converters.prepare.tiles import TileOptions
from converters.tally import Tally
from converters.versions import OPENCV, TOOLKIT, installed_versions

T = TypeVar("T")


class SourceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An annotation file that was read, or a split of a YOLO folder."""

    name: str
    bytes: int
    """Size of the file."""
    sha256: str
    """Hash of the annotations."""
    split: str
    pages: int


class DataSetEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One of several data sets that were converted together."""

    name: str
    """Folder of its images inside that of each split, and ``source`` of their properties."""
    format: str
    annotation_set: str | None
    files: tuple[SourceEntry, ...]
    unlabelled: tuple[str, ...] = ()
    """Classes that occur in its images but are never labelled there."""


class ClassMapEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The class map that was used."""

    name: str = ""
    sha256: str = ""
    """Hash of the class map's file."""
    unlabelled: tuple[str, ...] = ()
    """Classes that occur in the images but are never labelled; of merged data sets, those that none
    labels, see :class:`DataSetEntry`."""


class OptionsEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the conversion."""

    formats: tuple[str, ...] = ()
    cleaning: CleaningOptions
    staff_space: Annotated[float, msgspec.Meta(gt=0)] | None
    tiles: TileOptions | None
    val: float
    split_by: SplitBy
    seed: int
    labels_only: bool = False
    images: ImageMode = "copy"
    """How images got into the data set."""


class ConversionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs and options of a conversion: everything in the manifest that is not a count."""

    source: str
    """Format of the source, such as ``deepscoresv2``; ``coco+yolo`` for several formats."""
    annotation_set: str | None
    """Annotation set that was read; None for formats with a single one."""
    files: tuple[SourceEntry, ...]
    class_map: ClassMapEntry
    options: OptionsEntry
    data_sets: tuple[DataSetEntry, ...] = ()
    """The data sets that were merged; empty for a single one."""


class SplitEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one split."""

    pages: int = 0
    images: int = 0
    """Pages or, if pages were cut, tiles."""
    empty_images: int = 0
    """Images without symbols."""


class SymbolsEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of symbols in all splits."""

    read: int = 0
    written: int = 0
    dropped: int = 0
    labels: int = 0
    """Number of labels in all images; more than ``written`` if tiles overlap."""
    cut: int = 0
    """Labels of symbols that are cut at the border of a tile."""


class TiledPage(msgspec.Struct, frozen=True):
    """A page that was cut into tiles."""

    symbols: int
    """Number of symbols on the page, each counted once however many tiles show it."""
    scale_x: float
    """Width of the scaled page divided by the width of the page."""
    scale_y: float
    """Height of the scaled page divided by the height of the page."""
    tiles: dict[str, tuple[int, int]]
    """Left and top edge of each tile on the scaled page, in pixels, by image name."""
    sha256: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    """Hash of the page's image file; empty with labels only, and in manifests of old versions."""


@dataclass(kw_only=True)
class ManifestBuilder:
    """Counts of a conversion, added page by page; equal inputs and options give equal bytes.

    Its memory does not grow with the number of pages.
    """

    names: Sequence[str]
    """Names of the classes."""
    scratch: Path
    """Folder of temporary files."""
    counts: Tally = field(default_factory=Tally)
    written_of_source: defaultdict[str, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    """Number of symbols written, by the source of their page and their class."""
    pages: Counter[str] = field(default_factory=Counter)
    """Number of pages by split."""
    images: Counter[str] = field(default_factory=Counter)
    """Number of images, which are pages or tiles, by split."""
    empty_images: Counter[str] = field(default_factory=Counter)
    """Number of images without symbols, by split."""
    n_measured: int = 0
    """Number of pages whose staff space was measured in the image."""
    doubts: list[str] = field(default_factory=list)
    """Reasons to doubt these staff spaces, at most one per page, each of which names its page."""
    reencoded: list[str] = field(default_factory=list)
    """Pages whose image had to be re-encoded instead of linked."""

    def __post_init__(self) -> None:
        """Create the entries of pages, which are kept on disk."""
        self._annotations = PageEntries(self.scratch, "annotations")
        self._properties = PageEntries(self.scratch, "properties")
        self._tiles = PageEntries(self.scratch, "tiles")

    def add(self, prepared: PreparedPage) -> None:
        """Add the counts and tiles of one page."""
        split, counts = prepared.split, prepared.counts
        self.pages[split] += 1
        self.images[split] += len(prepared.outputs)
        self.empty_images[split] += prepared.n_empty
        self.n_measured += prepared.is_measured
        self.reencoded += [str(prepared.page)] if prepared.is_reencoded else []
        self.doubts += [f"{prepared.page}: {doubt}" for doubt in prepared.doubts[:1]]
        self.counts.update(counts)
        self.written_of_source[prepared.properties.source].update(counts.written)
        page = prepared.page.as_posix()
        if prepared.n_annotations is not None:
            self._annotations.add(split, page, prepared.n_annotations)
        if prepared.properties != PageProperties():
            self._properties.add(split, page, _known(prepared.properties))
        placed = [(image.image, image.placement) for image in prepared.outputs if image.placement]
        if placed:
            _, first = placed[0]
            tiled = TiledPage(
                symbols=counts.written.total(),
                scale_x=first.scale_x,
                scale_y=first.scale_y,
                tiles={image.as_posix(): (placement.x, placement.y) for image, placement in placed},
                sha256=prepared.sha256,
            )
            self._tiles.add(split, first.page.as_posix(), msgspec.to_builtins(tiled))

    def summary(self) -> dict[str, Any]:
        """Return the counts: ``pages``, ``images``, ``symbols``, ``classes`` and others."""
        counts = self.counts
        splits = {
            split: SplitEntry(
                pages=n, images=self.images[split], empty_images=self.empty_images[split]
            )
            for split, n in sorted(self.pages.items())
        }
        symbols = SymbolsEntry(
            read=counts.read,
            written=counts.written.total(),
            dropped=counts.dropped.total(),
            labels=counts.labels.total(),
            cut=counts.cut.total(),
        )
        summary: dict[str, Any] = msgspec.to_builtins(
            {
                "pages": self.pages.total(),
                "images": self.images.total(),
                "splits": splits,
                "symbols": symbols,
                "dropped_by_reason": counts.by_reason(),
                "changed": _nested(counts.changed),
                "same_box_two_classes": {
                    f"{a} + {b}": n for (a, b), n in sorted(counts.two_classes.items())
                },
                "classes": [self._class_counts(name) for name in self.names],
                "warnings": counts.warnings,
                "dropped": _nested(counts.dropped),
            }
        )
        return summary

    def write(self, folder: Path, conversion: ConversionEntry) -> None:
        """Write ``manifest.json`` into ``folder``: the inputs and options, then all counts."""
        entry = msgspec.to_builtins(conversion)
        if not conversion.data_sets:
            del entry["data_sets"]
        versions = installed_versions(TOOLKIT, "numpy", *OPENCV, "polars")
        data = {**entry, "versions": versions, **self.summary()}
        head = json.dumps(data, indent=1, ensure_ascii=False).removesuffix("\n}")
        with (folder / MANIFEST).open("w", encoding="utf-8") as out:
            out.write(head)
            for entries in (self._annotations, self._properties, self._tiles):
                out.writelines(entries.lines())
            out.write("\n}\n")

    def _class_counts(self, name: str) -> dict[str, Any]:
        counts = self.counts
        return {
            "name": name,
            "written": counts.written[name],
            "labels": counts.labels[name],
            "cut": counts.cut[name],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A ``manifest.json`` that was read; every part is empty if the file or the part is missing.

    Other programs write files of this name as well. Each part is therefore decoded when it is
    accessed, and raises an InputError only then if it is malformed.
    """

    path: Path
    """The file."""
    parts: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    """Undecoded parts by name."""

    @property
    def source(self) -> str:
        """Format of the source, such as ``deepscoresv2``."""
        return self._part("source", str, "")

    @property
    def data_sets(self) -> tuple[DataSetEntry, ...]:
        """Data sets that were merged; empty for a single one."""
        return self._part("data_sets", tuple[DataSetEntry, ...], ())

    @property
    def class_map(self) -> ClassMapEntry:
        """Class map of the conversion."""
        return self._part("class_map", ClassMapEntry, ClassMapEntry())

    @property
    def pages(self) -> dict[str, int]:
        """Number of pages by split."""
        splits: dict[str, SplitEntry] = self._part("splits", dict[str, SplitEntry], {})
        return {name: split.pages for name, split in splits.items()}

    @property
    def n_read(self) -> int:
        """Number of annotations read in all splits."""
        return self._part("symbols", SymbolsEntry, SymbolsEntry()).read

    @property
    def annotations(self) -> dict[str, dict[str, int]]:
        """Number of annotations read, by split and page; empty in manifests of old versions."""
        return self._part("annotations", dict[str, dict[str, int]], {})

    @property
    def tiles(self) -> dict[str, dict[str, TiledPage]]:
        """Scaled or cut pages, by split and page; a page that was only scaled has one tile."""
        return self._part("tiles", dict[str, dict[str, TiledPage]], {})

    @property
    def properties(self) -> dict[str, dict[str, PageProperties]]:
        """Known properties, by split and page; empty in manifests of old versions."""
        return self._part("properties", dict[str, dict[str, PageProperties]], {})

    @property
    def annotation_set(self) -> str | None:
        """Annotation set that was read; None for formats with a single one."""
        return self._part("annotation_set", str | None, None)

    @property
    def options(self) -> OptionsEntry | None:
        """Options of the conversion; None if incomplete or malformed.

        The options only serve to recommend commands, so a malformed part is not an error.
        """
        try:
            return self._part("options", OptionsEntry | None, None)
        except InputError:
            return None

    def _part(self, name: str, kind: Any, default: T) -> T:  # noqa: ANN401
        if name not in self.parts:
            return default
        part: T = decode(self.parts[name], kind, self.path, name)
        return part


def read_manifest(folder: Path) -> Manifest:
    """Read the ``manifest.json`` in ``folder``; a missing file gives an empty manifest.

    Raises:
        InputError: The file is not a JSON object, repeats a key, or cannot be read.
    """
    path = folder / MANIFEST
    if not path.exists():
        return Manifest(path=path)
    content = read_bytes(path, "manifest")
    parts = decode_unique(content, dict[str, msgspec.Raw], path, expected="a JSON object")
    return Manifest(path=path, parts=parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedPages:
    """The pages that the images of a split were made from."""

    n_pages: int
    mean_annotations: float | None
    """Mean number of annotations per page over all splits; known from manifests of all versions."""
    annotations: tuple[int, ...] | None
    """Number of annotations per page, including those without a class; None in old manifests."""
    symbols: tuple[int, ...] | None
    """Number of symbols per page, each counted once however many tiles show it; None if pages were
    neither scaled nor cut and therefore equal the images."""
    are_cut: bool
    """Whether a page has more than one tile."""


def converted_pages(dataset: YoloDataset, split: str) -> ConvertedPages | None:
    """Return the pages that a split's images were made from; None if they are not recorded.

    Raises:
        InputError: ``manifest.json`` is malformed.
    """
    manifest, name = read_manifest(dataset.root), dataset.folder_name(split)
    pages = manifest.pages
    if name not in pages:
        return None
    n_pages = sum(pages.values())
    annotations = manifest.annotations.get(name)
    tiled = manifest.tiles.get(name)
    return ConvertedPages(
        n_pages=pages[name],
        mean_annotations=manifest.n_read / n_pages if n_pages else None,
        annotations=tuple(annotations.values()) if annotations else None,
        symbols=tuple(page.symbols for page in tiled.values()) if tiled else None,
        are_cut=any(len(page.tiles) > 1 for page in tiled.values()) if tiled else False,
    )


def _known(properties: PageProperties) -> dict[str, Any]:
    """Return the properties that have a value."""
    return {name: value for name, value in asdict(properties).items() if value}


def _nested(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Convert ``{(reason, name): n}`` to ``{reason: {name: n}}``, sorted."""
    nested: dict[str, dict[str, int]] = {}
    for (reason, name), n in sorted(counts.items()):
        nested.setdefault(reason, {})[name] = n
    return nested


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """Preparation of a data set's images, according to its manifest."""

    tile: int | None
    """Side of the tiles in pixels; None for whole pages."""
    staff_space: float | None
    """Staff space in pixels to which pages were scaled; None if they were not scaled."""
    class_map: str
    """Name of the class map."""
    class_map_sha256: str
    """Hash of the class map's file."""


def preparation(manifest: Manifest) -> Preparation | None:
    """Return how the images of a data set were prepared; None if this is not recorded.

    Raises:
        InputError: The class map in the manifest is malformed.
    """
    options = manifest.options
    if options is None:
        return None
    return Preparation(
        tile=options.tiles.size if options.tiles else None,
        staff_space=options.staff_space,
        class_map=manifest.class_map.name,
        class_map_sha256=manifest.class_map.sha256,
    )
