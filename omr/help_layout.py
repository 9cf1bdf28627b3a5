"""Layout of ``--help``: arguments in capitals, and no types that are only Python's."""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption


class HelpCommand(TyperCommand):
    """Command whose help names arguments as its texts do, and shows switches without a type."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401
        """Return the parameters, labelled for help and usage errors."""
        return _labelled(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """Return the words of the usage line, without Typer's braces around arguments."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class HelpGroup(TyperGroup):
    """Command group whose help shows switches without a type."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401
        """Return the parameters, labelled for help and usage errors."""
        return _labelled(super().get_params(ctx))


def _labelled(parameters: Sequence[Any]) -> list[Any]:
    """Give arguments and switches the labels that help shows, in place."""
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""
        elif isinstance(parameter, TyperArgument):
            parameter.metavar = parameter.metavar or parameter.name.upper()
            if parameter.nargs != 1:  # Typer shows a list as <list[Path]>
                parameter.display_type_rich = lambda **_: "<path>"  # type: ignore[method-assign]
    return list(parameters)
