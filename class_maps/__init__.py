"""Class maps: the names of the symbol classes, and what each data set calls them."""

from class_maps.catalogues import Catalogue, Category, catalogue
from class_maps.class_map import ClassMap, Source
from class_maps.errors import ConfigError, InputError, MissingExtraError, OmrError, with_nearest
from class_maps.loader import load, shipped

__all__ = [
    "Catalogue",
    "Category",
    "ClassMap",
    "ConfigError",
    "InputError",
    "MissingExtraError",
    "OmrError",
    "Source",
    "catalogue",
    "load",
    "shipped",
    "with_nearest",
]
