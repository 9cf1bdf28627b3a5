"""Says what a class map makes of a data set, without converting it."""

from collections import Counter
from pathlib import Path
from typing import Any

from class_maps import ClassMap
from converters.formats.sources import open_source
from converters.tally import Tally, count


def coverage(class_map: ClassMap, path: Path, annotation_set: str | None = None) -> dict[str, Any]:
    """Count what a class map takes from a data set and what it drops.

    Args:
        class_map: Whose classes are filled.
        path: What ``omr convert`` would read.
        annotation_set: Instead of the one that the class map names.

    Returns:
        ``classes``: name, categories, count of each; ``dropped``: symbols by category;
        ``empty``: classes without a symbol here; ``unlabelled``: those the source never labels;
        ``unfillable``: those that no source of the map fills.

    Raises:
        OmrError: The data set cannot be read, or the class map does not speak of it.
    """
    found, files = open_source(path)
    source = class_map.source(found, annotation_set)
    counts, symbols = Tally(), Counter[str]()
    for file in files:
        for page in file.file.pages(source, class_map.labels, counts, clip=True):
            symbols.update(count(page.labels, class_map.names))
    filled = {name for s in class_map.sources.values() for name in s.class_of.values()}
    return {
        "source": found,
        "annotation_set": source.annotation_set,
        "classes": [
            {
                "name": name,
                "categories": [c for c, of in source.class_of.items() if of == name],
                "count": symbols[name],
            }
            for name in class_map.names
        ],
        "dropped": dict(
            sorted(
                ((name, n) for (_, name), n in counts.dropped.items()),
                key=lambda item: (-item[1], item[0]),
            )
        ),
        "empty": [name for name in class_map.names if not symbols[name]],
        "unlabelled": list(source.unlabelled),
        "unfillable": [name for name in class_map.names if name not in filled],
    }
