"""MEI as a tree: names, and new elements."""

from collections.abc import Mapping

from lxml import etree
from lxml.etree import _Element as Element

_NAMESPACE = "{http://www.music-encoding.org/ns/mei}"
ID = "{http://www.w3.org/XML/1998/namespace}id"


def tag(name: str) -> str:
    """Tag of an MEI element as lxml gives it."""
    return _NAMESPACE + name


def name(element: Element) -> str:
    """Name of an MEI element; of a comment or a processing instruction, nothing."""
    return element.tag.removeprefix(_NAMESPACE) if isinstance(element.tag, str) else ""


def inside(element: Element, *names: str) -> bool:
    """Whether the element stands somewhere in one with such a name."""
    return next(element.iterancestors(*map(tag, names)), None) is not None


class Pen:
    """Writes new elements, each with an ``xml:id`` that the score does not have yet."""

    def __init__(self, root: Element) -> None:
        """Take note of the ids of the score."""
        self._taken = {element.get(ID) for element in root.iter(etree.Element)}
        self._n = 0

    def write(
        self, name: str, attributes: Mapping[str, str] | None = None, *children: Element
    ) -> Element:
        """Make an MEI element that stands nowhere yet."""
        element = etree.Element(tag(name), {ID: self._id(), **(attributes or {})})
        element.extend(children)
        return element

    def id_of(self, element: Element) -> str:
        """The ``xml:id`` of an element; one that has none is given one."""
        if element.get(ID) is None:
            element.set(ID, self._id())
        return str(element.get(ID))

    def _id(self) -> str:
        while (new := f"d{self._n}") in self._taken:
            self._n += 1
        self._n += 1
        return new
