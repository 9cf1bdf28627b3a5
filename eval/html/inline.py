"""Style sheets and scripts inside of an HTML page."""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from markupsafe import Markup

FOLDER = Path(__file__).parent
"""Folder of the style sheets, scripts and templates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inline:
    """Content of a ``style`` or ``script`` element."""

    text: Markup
    hash: str
    """Source expression that permits the element in a content security policy."""


def inline(files: Iterable[str]) -> Inline:
    """Join style sheets or scripts of this folder into one element.

    Args:
        files: Paths of the files, relative to this folder.
    """
    text = "\n".join((FOLDER / file).read_text("utf-8") for file in files)
    digest = b64encode(sha256(text.encode()).digest()).decode()
    return Inline(text=Markup(text), hash=f"sha256-{digest}")
