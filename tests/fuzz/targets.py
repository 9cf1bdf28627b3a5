"""Readers of files from outside, each a function of the bytes of a file."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from yolo_folders import write_yolo

import class_maps
from converters import images
from converters.engraving import music_files
from converters.formats.datasets import open_dataset
from converters.formats.sources import identity_map, open_source
from converters.formats.yolo_labels import parse
from converters.manifest import Manifest, read_manifest
from converters.tally import Tally
from eval.lint.config_file import read_config
from omr.run_listing import read_run
from omr.scoring.evaluation_folders import read_group
from omr.scoring.evaluation_set import EvaluationSet, read_evaluation_set
from omr.scoring.prediction_formats import read_predictions
from omr.scoring.symbols_file import read_symbols
from settings import head_config
from settings.yaml_file import read_settings
from training.grouping.conflicts import read_confusion, read_pairs
from training.runs import resume_state

CORPUS = Path(__file__).parent / "corpus"
NAMES = ("stem", "beam")
MANIFEST_PARTS = [name for name, value in vars(Manifest).items() if isinstance(value, property)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A reader, and the file that it reads."""

    name: str
    file: str
    """Path of the file in a temporary folder."""
    read: Callable[[Path, Path], object]
    """Function of the file and of the temporary folder."""

    def run(self, data: bytes, folder: Path) -> None:
        """Write the bytes to the file, and read it."""
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.read(path, folder)

    def seeds(self) -> Iterator[bytes]:
        """Yield the contents of the valid files in the corpus."""
        for path in sorted((CORPUS / self.name).iterdir()):
            yield path.read_bytes()


def prepare(folder: Path) -> None:
    """Write a small data set, and the image that the files of the corpus refer to."""
    write_yolo(folder / "data", {"train/a.png": [0, 1]}, NAMES)
    shutil.copy(folder / "data/images/train/a.png", folder)


def _source(path: Path, _folder: Path) -> None:
    """Read all pages of annotations."""
    source, files = open_source(path)
    names = identity_map(source, files)
    for file in files:
        list(file.pages(names.source(source), names.labels, Tally()))


def _tables(path: Path, _folder: Path) -> None:
    """Read a table of images, or one of symbols with the table of images of a valid data set."""
    other = "images" if "symbols" in path.name else "symbols"
    seed = next((CORPUS / f"parquet_{other}").iterdir())
    shutil.copy(seed, path.with_name(f"{other}_train.parquet"))
    _source(path.parent, path.parent)


def _dataset(path: Path, _folder: Path) -> None:
    dataset = open_dataset(path.parent)
    for split in dataset.splits:
        list(dataset.pages(split))


def _manifest(path: Path, _folder: Path) -> None:
    manifest = read_manifest(path.parent)
    for part in MANIFEST_PARTS:
        getattr(manifest, part)


@cache
def _truths(folder: Path) -> EvaluationSet:
    return read_evaluation_set(folder / "data", "train", None)


def _predictions(path: Path, folder: Path) -> None:
    read_predictions(path, _truths(folder), None)


def _evaluation(path: Path, _folder: Path) -> None:
    symbols = path.with_name("symbols.npz")
    shutil.copy(next((CORPUS / "symbols").iterdir()), symbols)
    read_group(path.parent)


def _image(path: Path, _folder: Path) -> None:
    images.check_complete(path)
    images.read(path)


TARGETS = (
    Target(name="class_map", file="a.yaml", read=lambda path, _: class_maps.load(str(path))),
    Target(name="head_config", file="a.yaml", read=lambda path, _: head_config.load(str(path))),
    Target(name="settings", file="a.yaml", read=lambda path, _: read_settings(path)),
    Target(name="lint_config", file="a.toml", read=lambda path, _: read_config(path)),
    Target(name="pairs_yaml", file="a.yaml", read=lambda path, _: read_pairs(path, NAMES)),
    Target(name="pairs_text", file="a.txt", read=lambda path, _: read_pairs(path, NAMES)),
    Target(name="confusion_csv", file="a.csv", read=lambda path, _: read_confusion(path, NAMES)),
    Target(name="confusion_json", file="a.json", read=lambda path, _: read_confusion(path, NAMES)),
    Target(name="labels", file="a.txt", read=lambda path, _: parse(path.read_bytes(), path, 2)),
    Target(name="data_yaml", file="data/data.yaml", read=_dataset),
    Target(name="manifest", file="manifest.json", read=_manifest),
    Target(name="deepscores", file="a.json", read=_source),
    Target(name="coco", file="a.json", read=_source),
    Target(name="labelme", file="a.json", read=_source),
    Target(name="mung", file="a.xml", read=_source),
    Target(name="voc", file="a.xml", read=_source),
    Target(name="parquet_images", file="tables/images_train.parquet", read=_tables),
    Target(name="parquet_symbols", file="tables/symbols_train.parquet", read=_tables),
    Target(name="music", file="a.musicxml", read=lambda path, _: music_files.read(path)),
    Target(name="music_archive", file="a.mxl", read=lambda path, _: music_files.read(path)),
    Target(name="predicted_coco", file="a.json", read=_predictions),
    Target(name="predicted_labelme", file="b.json", read=_predictions),
    Target(name="predicted_mung", file="a.xml", read=_predictions),
    Target(name="predicted_parquet", file="a.parquet", read=_predictions),
    Target(name="predicted_yolo", file="yolo/labels/a.txt", read=lambda p, f: _predictions(p.parent, f)),
    Target(name="symbols", file="symbols.npz", read=lambda path, _: read_symbols(path)),
    Target(name="evaluation", file="run/report.json", read=_evaluation),
    Target(name="run_settings", file="omr.yaml", read=lambda path, _: read_run(path.parent)),
    Target(name="run_record", file="run.json", read=lambda path, _: read_run(path.parent)),
    Target(name="run_results", file="results.csv", read=lambda path, _: read_run(path.parent)),
    Target(name="results", file="results.csv", read=lambda path, _: resume_state.cut_results(path, 1)),
    Target(name="image", file="a.png", read=_image),
)  # fmt: skip
