"""Class maps: names of the symbol classes, and the categories of each data set that map to them.

Main path: :func:`loader.load` reads and checks a YAML file and returns a :class:`ClassMap`, whose
:meth:`~ClassMap.source` is the mapping of one data set.
"""

from class_maps.catalogues import Catalogue, Category, catalogue
from class_maps.class_map import CategoryMapping, ClassMap
from class_maps.errors import (
    ConfigError,
    InputError,
    MissingExtraError,
    OmrError,
    and_more,
    listed,
    one_line,
    short_list,
    shortened,
    shown,
    with_nearest,
)
from class_maps.loader import load, shipped

__all__ = [
    "Catalogue",
    "Category",
    "CategoryMapping",
    "ClassMap",
    "ConfigError",
    "InputError",
    "MissingExtraError",
    "OmrError",
    "and_more",
    "catalogue",
    "listed",
    "load",
    "one_line",
    "shipped",
    "short_list",
    "shortened",
    "shown",
    "with_nearest",
]
