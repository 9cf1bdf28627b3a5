"""Opens annotated data sets in any supported format."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from class_maps import (
    CategoryMapping,
    ClassMap,
    ConfigError,
    InputError,
    catalogue,
    listed,
    shown,
    with_nearest,
)
from converters.formats import READERS, AnnotationSource, Format, labelme
from converters.formats.data_yaml import DATA_YAML
from converters.formats.json_files import json_files, root_keys
from converters.formats.mung_documents import PAGE, PAGES, V1, V2
from converters.formats.voc import ROOT as VOC
from converters.formats.xml_files import elements, xml_files
from converters.names import IMAGE_FOLDER, LABELS

OTHER_SUFFIXES = frozenset({".csv", ".data", ".tfrecord", ".txt"})
"""Suffixes of annotations in formats that are not read; a JSON file may have one of them too."""
CVAT = "annotations"
"""Root element of CVAT's own format, which is not read."""


def open_source(
    path: Path, format_name: str | None = None, images: Path | None = None
) -> tuple[str, Sequence[AnnotationSource]]:
    """Open a data set.

    Args:
        path: DeepScoresV2 folder (dense or shards), engraved folder, YOLO folder, one of their
            annotation files, a COCO, labelme, MuNG or Pascal VOC file or folder, or a folder of
            Parquet tables.
        format_name: Format of the data set, one of :data:`READERS`; None to detect it.
        images: Folder of the images that JSON and XML files name; None to find it.

    Returns:
        Name of the format, and its annotation files or splits in the order of their names.

    Raises:
        ConfigError: The format is unknown.
        InputError: The path does not exist, has no known format, or contains no pages.
    """
    if format_name is not None and format_name not in READERS:
        raise ConfigError(
            f"unknown format: {with_nearest([format_name], READERS)}; expected one of "
            f"{', '.join(READERS)}",
            option="--source",
        )
    _check_readable(path)
    _check_suffix(path)
    if images and not images.is_dir():
        raise ConfigError("no such folder", option="--image-folder", value=images)
    chosen = READERS[format_name] if format_name else format_of(path)
    files = chosen.open(path, images)
    if not files:
        raise _no_annotations(path)
    if not any(file.images for file in files):
        raise InputError("contains no images", path=path)
    return chosen.name, files


def format_of(path: Path) -> Format:
    """Return the format of a file or folder.

    Raises:
        InputError: No format is recognised, or the file is damaged.
    """
    for candidate in READERS.values():
        if candidate.recognises(path):
            return candidate
    if (path / IMAGE_FOLDER).is_dir() and (path / LABELS).is_dir():
        raise _no_data_yaml(path)
    files = json_files(path)
    if not files and (unknown := xml_files(path)):
        raise _other_xml(unknown[0])
    if not files:
        if nested := labelme.json_files_below(path):
            root_keys(nested[0])  # raises if it is damaged
        raise _no_annotations(path)
    keys = listed(sorted(root_keys(files[0]).names)) or "none"
    raise InputError(
        f"neither DeepScoresV2, COCO nor labelme: its keys are {keys}; expected annotation_sets, "
        "images, categories, annotations",
        path=files[0],
    )


def identity_map(
    format_name: str, files: Sequence[AnnotationSource], annotation_set: str | None = None
) -> ClassMap:
    """Return a class map that makes every category a class of the same name.

    Args:
        format_name: Format of the data set as returned by :func:`open_source`.
        files: Opened annotation files.
        annotation_set: Annotation set to read; None for the first one of the data set.
    """
    sets = catalogue(format_name).annotation_sets
    source = CategoryMapping(
        name=format_name, annotation_set=annotation_set or next(iter(sets), None), class_of={}
    )
    names = tuple(dict.fromkeys(name for file in files for name in file.categories(source)))
    source = replace(source, class_of={name: name for name in names})
    return ClassMap(name="identity", names=names, sources={format_name: source}, path=files[0].path)


def _check_readable(path: Path) -> None:
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError("no such file or folder", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error


def _check_suffix(path: Path) -> None:
    """Reject label files of other formats, such as CSV, and single label files of YOLO."""
    if path.suffix.lower() not in OTHER_SUFFIXES or not path.is_file():
        return
    with path.open("rb") as file:
        is_json = file.read(64).lstrip().startswith(b"{")
    if not is_json:
        raise InputError(
            "not in a format that omr reads; expected DeepScoresV2, COCO or labelme JSON, MuNG or "
            "Pascal VOC XML, Parquet tables, or a YOLO folder with a data.yaml; export the data "
            "set in one of these formats",
            path=path,
        )


def _other_xml(file: Path) -> InputError:
    """Describe an XML file that is damaged or of another format."""
    try:
        root = next(elements(file, (), ()))
    except InputError as error:
        return error
    if root.tag == CVAT:
        return InputError("is in CVAT's own format; export COCO 1.0 from CVAT instead", path=file)
    return InputError(
        f"its root element is {shown(root.tag)}; expected {V1} or {V2} of MuNG, {PAGE} or "
        f"{PAGES} of DoReMi, or {VOC} of Pascal VOC",
        path=file,
    )


def _no_data_yaml(path: Path) -> InputError:
    """Describe how to write the missing file of a YOLO folder."""
    if yaml_files := sorted(p.name for p in path.glob("*.y*ml")):
        reason = f"no {DATA_YAML}; if {yaml_files[0]} names the classes, convert that file instead"
        return InputError(reason, path=path)
    folder = IMAGE_FOLDER
    if (path / IMAGE_FOLDER / "train").is_dir():
        folder = f"{IMAGE_FOLDER}/train"
    return InputError(
        f"no {DATA_YAML}, which names the classes of a YOLO folder; write one with the lines "
        f"`train: {folder}`, `val: {folder}` and `names: [A, B, ...]`, with the class names in the "
        "order of the labels",
        path=path,
    )


def _no_annotations(path: Path) -> InputError:
    if archives := sorted(p.name for p in path.glob("*") if p.suffix in {".zip", ".gz", ".tar"}):
        return InputError(
            f"no annotations, but {archives[0]}; unpack this archive and convert its content",
            path=path,
        )
    return InputError(
        "no annotations; expected deepscores_train.json or another .json file in this folder or in "
        "annotations/, .xml files of MuNG or Pascal VOC, Parquet tables, or a YOLO data.yaml or "
        "obj.data",
        path=path,
    )
