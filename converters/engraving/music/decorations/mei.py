"""MEI as a tree: tags, ids and new elements."""

from collections.abc import Mapping

from lxml import etree
from lxml.etree import _Element as Element

_NAMESPACE = "{http://www.music-encoding.org/ns/mei}"
ID = "{http://www.w3.org/XML/1998/namespace}id"


def tag(name: str) -> str:
    """Return the tag of an MEI element as used by lxml."""
    return _NAMESPACE + name


def name(element: Element) -> str:
    """Return the name of an MEI element; empty for comments and processing instructions."""
    return element.tag.removeprefix(_NAMESPACE) if isinstance(element.tag, str) else ""


def inside(element: Element, *names: str) -> bool:
    """Check whether an element has an ancestor with one of these names."""
    return next(element.iterancestors(*map(tag, names)), None) is not None


class Pen:
    """Writer of new elements, each with an ``xml:id`` that is unique in the score."""

    def __init__(self, root: Element) -> None:
        """Collect the ids of the score."""
        self._taken = {element.get(ID) for element in root.iter(etree.Element)}
        self._n = 0

    def write(
        self, name: str, attributes: Mapping[str, str] | None = None, *children: Element
    ) -> Element:
        """Create an MEI element without a parent."""
        element = etree.Element(tag(name), {ID: self._id(), **(attributes or {})})
        element.extend(children)
        return element

    def id_of(self, element: Element) -> str:
        """Return the ``xml:id`` of an element, adding one if needed."""
        if element.get(ID) is None:
            element.set(ID, self._id())
        return str(element.get(ID))

    def _id(self) -> str:
        while (new := f"d{self._n}") in self._taken:
            self._n += 1
        self._n += 1
        return new
