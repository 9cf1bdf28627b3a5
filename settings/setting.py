"""Declaration of a setting: one field of a dataclass that flags and YAML files can fill.

The declaring dataclass gives a field its type and default, and :func:`setting` adds the help, the
limits and the way the value is written. :func:`settings_of` lists the declarations.
"""

from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

KEY = "setting"
"""Key of :class:`Declaration` in a field's metadata."""
NOUNS: dict[object, tuple[str, str]] = {
    bool: ("true or false", ""),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("text", "names"),
    Path: ("a path", "paths"),
}
"""Singular and plural of each type in messages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """Help, limits and notation of a setting."""

    help: str
    """Description of the setting, then its values."""
    group: str | None = None
    """Panel of ``--help``; None for the general one."""
    metavar: str | None = None
    """Placeholder of the value in ``--help``; None for the name of its type."""
    default_text: str = ""
    """Default as shown in ``--help``, where the value is not self-explanatory."""
    minimum: float | None = None
    """Smallest valid value."""
    maximum: float | None = None
    """Largest valid value."""
    above: float | None = None
    """Exclusive lower limit."""
    keywords: tuple[str, ...] = ()
    """Keywords that stand for a value computed later, such as ``auto``."""
    separator: str = ","
    """Separator of a list's elements in a flag."""
    example: str = ""
    """Example of a list as written in a flag."""
    flag: bool = True
    """Whether the setting has an option on the command line."""
    in_file: bool = True
    """Whether a configuration file may contain the setting."""


def setting(default: T, **declaration: Any) -> T:  # noqa: ANN401
    """Declare a field with a default; the arguments are the fields of :class:`Declaration`."""
    return field(default=default, metadata={KEY: Declaration(**declaration)})


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A setting with its name, type, default and declaration."""

    name: str
    hint: Any
    """Type of the value as annotated."""
    type: Any
    """Type of the value, or of an element if the value is a list."""
    is_list: bool
    choices: tuple[str, ...]
    """Valid names; empty if any value of the type is valid."""
    default: Any
    """Default value; ``dataclasses.MISSING`` for a required setting."""
    declared: Declaration

    @property
    def flag(self) -> str:
        """Option on the command line, such as ``--warmup-epochs``."""
        return f"--{self.name.replace('_', '-')}"

    def expected(self, *, keywords: bool = True) -> str:
        """Describe the valid values for a message, such as ``a number from 0 to 1``.

        Args:
            keywords: Whether to include keywords that stand for a value computed later.
        """
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        singular, plural = NOUNS[self.type]
        noun = f"a list of {plural}" if self.is_list else singular
        alternatives = [" ".join(filter(None, (noun, self._limits())))]
        if keywords:
            alternatives += [", ".join(self.declared.keywords)] if self.declared.keywords else []
        return " or ".join(alternatives)

    def _limits(self) -> str:
        limits = self.declared
        if limits.minimum is not None and limits.maximum is not None:
            return f"from {limits.minimum:g} to {limits.maximum:g}"
        if limits.above is not None and limits.maximum is not None:
            return f"above {limits.above:g} and at most {limits.maximum:g}"
        if limits.above is not None:
            return f"above {limits.above:g}"
        return "" if limits.minimum is None else f"of at least {limits.minimum:g}"

    def is_valid(self, value: Any) -> bool:  # noqa: ANN401
        """Whether a value of the right type is within the limits; a list is always valid."""
        if self.choices:
            return value in self.choices
        if self.is_list or value in self.declared.keywords:
            return True
        limits = self.declared
        return not (
            (limits.minimum is not None and not value >= limits.minimum)
            or (limits.maximum is not None and not value <= limits.maximum)
            or (limits.above is not None and not limits.above < value < float("inf"))
        )

    def from_flag(self, text: str) -> Any:  # noqa: ANN401
        """Convert the text of an option.

        Raises:
            ValueError: The text is not a valid value.
        """
        if self.is_list:
            parts = text.split(self.declared.separator)
            return tuple(self._element(part.strip()) for part in parts)
        return self._element(text)

    def from_yaml(self, value: Any) -> Any:  # noqa: ANN401
        """Convert a value of a YAML file.

        Raises:
            ValueError: The value has another type, or is outside the limits.
        """
        if self.is_list:
            if not isinstance(value, list):
                raise ValueError(value)
            return tuple(self._element(element) for element in value)
        converted = self._element(value)
        if not self.is_valid(converted):
            raise ValueError(value)
        return converted

    def _element(self, value: Any) -> Any:  # noqa: ANN401
        """Convert one value; text such as ``1e-3``, not a number in YAML 1.1, becomes one."""
        if isinstance(value, str) and (value in self.declared.keywords or self.type is str):
            return value
        accepted: dict[object, tuple[type, ...]] = {
            bool: (bool,),
            int: (int, str),
            float: (int, float, str),
            str: (int,),  # such as `device: 0`
            Path: (str,),
        }
        has_right_type = isinstance(value, accepted[self.type])
        if not has_right_type or isinstance(value, bool) != (self.type is bool):
            raise ValueError(value)
        return Path(value).expanduser() if self.type is Path else self.type(value)

    def to_yaml(self, value: Any) -> Any:  # noqa: ANN401
        """Convert a value for a YAML file; paths become absolute."""
        if self.is_list:
            return [str(item.absolute()) if self.type is Path else item for item in value]
        return str(value.absolute()) if self.type is Path else value


@cache
def settings_of(declaring: type) -> dict[str, Setting]:
    """List the settings that a dataclass declares, by their names.

    Args:
        declaring: Dataclass whose fields are made with :func:`setting`.
    """
    hints = get_type_hints(declaring)
    return {f.name: _setting(f, hints[f.name]) for f in fields(declaring)}


def _setting(declared: Field[Any], hint: Any) -> Setting:  # noqa: ANN401
    is_list = get_origin(hint) is tuple
    kind = get_args(hint)[0] if is_list else hint
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    return Setting(
        name=declared.name,
        hint=hint,
        type=str if choices else kind,
        is_list=is_list,
        choices=choices,
        default=MISSING if declared.default is MISSING else declared.default,
        declared=declared.metadata[KEY],
    )
