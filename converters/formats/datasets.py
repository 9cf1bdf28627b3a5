"""Data sets for training, evaluation and checks: YOLO folders and Parquet tables."""

from pathlib import Path

from converters.formats import parquet_source, yolo
from converters.formats.parquet_dataset import open_tables
from converters.formats.yolo_dataset import YoloDataset, open_yolo_folder


def open_dataset(folder: Path) -> YoloDataset:
    """Open a data set; a folder that contains both formats is read as a YOLO folder.

    Args:
        folder: Folder that contains a ``data.yaml``, the file of a labelling tool or Parquet
            tables; or the path of the file or of the folder of tables.

    Raises:
        InputError: The data set is missing or malformed, or the folder of a split is missing.
        MissingExtraError: The data set consists of Parquet tables, and polars is not installed.
    """
    if folder.is_dir() and not yolo.recognises(folder) and parquet_source.recognises(folder):
        return open_tables(folder)
    return open_yolo_folder(folder)
