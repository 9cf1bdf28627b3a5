"""Files of a data set that are not read."""

import os
from pathlib import Path

from converters.files.process_pool import for_files
from converters.formats import image_folders
from converters.formats.parquet_dataset import ParquetDataset
from converters.formats.yolo_dataset import YoloDataset
from converters.image_headers import n_frames


def skipped_files(dataset: YoloDataset, *splits: str) -> list[str]:
    """Describe what is not read of some splits, such as hidden images, one per line.

    Raises:
        InputError: An image is missing or damaged.
    """
    if isinstance(dataset, ParquetDataset):
        return [*dataset.warnings]
    remarks, paths = [*dataset.warnings], dict[Path, None]()
    for split in splits:
        images, sources = dataset.image_paths(split), dataset.sources_of(split)
        is_complete = all(source.is_dir() for source in sources)
        folder = dataset.splits[split]
        remarks += image_folders.skipped_files(folder, images, is_complete=is_complete)
        paths |= dict.fromkeys(images)
    names = (os.path.relpath(path, dataset.root) for path in paths)
    frames = dict(zip(names, for_files(n_frames, [*paths]), strict=True))
    return [*dict.fromkeys(remarks), *image_folders.several_frames(frames)]
