"""Coverage of a data set by a class map: which symbols a conversion would write or drop."""

from collections import Counter
from pathlib import Path
from typing import Any

from class_maps import ClassMap
from converters.formats.sources import open_source
from converters.tally import Tally, count, most_frequent_first


def coverage(
    class_map: ClassMap,
    path: Path,
    annotation_set: str | None = None,
    images: Path | None = None,
) -> dict[str, Any]:
    """Count the symbols of each class in a data set, and the symbols that the class map drops.

    Args:
        class_map: Class map to apply.
        path: Data set in any format that can be converted.
        annotation_set: Annotation set to read; None to use the class map's.
        images: Folder of the images that JSON and XML files name; None to find it.

    Returns:
        ``classes``: name, categories and count of each class; ``dropped``: number of symbols by
        category; ``empty``: classes without symbols in this data set; ``unlabelled``: classes that
        the source never labels; ``without_category``: classes without a category in any source;
        ``warnings``: remarks on what was assumed or skipped.

    Raises:
        OmrError: The data set cannot be read, or the class map has no entry for its format.
    """
    format_name, files = open_source(path, images=images)
    source = class_map.source(format_name, annotation_set)
    counts, symbols = Tally(), Counter[str]()
    for file in files:
        for page in file.pages(source, class_map.labels, counts, clip=True):
            symbols.update(count(page.labels, class_map.names))
    dropped = Counter[str]()
    for (_, name), n in counts.dropped.items():
        dropped[name] += n
    filled = {name for s in class_map.sources.values() for name in s.class_of.values()}
    return {
        "source": format_name,
        "annotation_set": source.annotation_set,
        "classes": [
            {
                "name": name,
                "categories": [
                    category
                    for category, class_name in source.class_of.items()
                    if class_name == name
                ],
                "count": symbols[name],
            }
            for name in class_map.names
        ],
        "dropped": most_frequent_first(dropped),
        "empty": [name for name in class_map.names if not symbols[name]],
        "unlabelled": list(source.unlabelled),
        "without_category": [name for name in class_map.names if name not in filled],
        "warnings": [
            *filter(None, [*counts.warnings, counts.similar(source.class_of)]),
            *(note for file in files for note in file.warnings),
        ],
    }
