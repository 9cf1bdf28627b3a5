"""Layout of ``--help``: panels of options, arguments in capitals, and no Python types.

Usage errors name arguments in the same way.
"""

import re
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

PANELS: dict[str, dict[str, tuple[str, ...]]] = {
    "engrave": {
        "Music": ("scores", "style", "balance", "classes"),
        "Pages": ("pages", "size", "fonts", "degrade", "segmentation"),
        "Held-out pieces": ("val", "holdout_font"),
    },
    "convert": {
        "Source": ("classes", "source_format", "image_folder", "annotation_set"),
        "Output": ("formats", "images", "labels_only", "sheets"),
        "Scale and tiles": ("tile", "overlap", "min_visible", "blank_tiles", "scale"),
        "Invalid and duplicate symbols": ("dedup_iou", "min_side", "clip"),
        "Held-out pages": ("val", "split_by", "seed"),
        "Several machines": ("backend", "scheduler", "shard", "merge"),
    },
    "split": {
        "Splits": ("by", "val", "test", "seed"),
        "Output": ("images", "force", "as_json"),
        "Check": ("check",),
    },
    "analyze-density": {
        "Memory": ("gpu", "measure"),
        "Report": ("wanted", "report"),
    },
    "show": {
        "Page": ("page", "split"),
        "Data before conversion": ("classes", "annotation_set"),
        "Picture": ("only", "names", "scale"),
        "Probabilities": ("scores", "weights", "device", "trust"),
    },
    "profile": {
        "Measurement": ("steps",),
        "Output": ("trace", "force", "as_json"),
    },
    "predict": {
        "Pages": ("staff_space", "scale", "dpi", "max_pixels"),
        "Network": ("weights", "conf", "batch", "device", "trust"),
        "Output": ("formats", "overlay", "force", "as_json"),
    },
    "lint": {
        "Predictions": ("weights", "worklist", "device", "trust", "force"),
    },
    "export": {
        "TFLite": ("int8", "data", "calibrate", "decode"),
        "Output": ("export_format", "out", "force", "as_json"),
    },
    "eval": {
        "Data": ("unit", "split"),
        "Weights": ("imgsz", "batch", "device", "conf", "trust"),
        "Metrics": ("threshold", "backend"),
        "Predictions": ("annotations",),
        "Report": ("out", "tensorboard", "force", "as_json"),
    },
    "session": {
        "Check": ("check",),
        "Processes": ("devices", "keep_going"),
        "Output": ("out", "force", "as_json"),
    },
    "compare": {
        "Comparison": ("metric", "samples", "seed", "any_protocol"),
        "Report": ("out", "force", "as_json"),
    },
}
"""Parameters of each panel, by command; training settings declare their own panels."""


class HelpCommand(TyperCommand):
    """Command whose help groups options, capitalises arguments, and omits the types of switches."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401
        """Return the parameters, labelled for help and usage errors."""
        panels = PANELS.get(self.name or "", {})
        panel_of = {name: panel for panel, names in panels.items() for name in names}
        parameters = _labelled(super().get_params(ctx))
        for parameter in parameters:
            if parameter.name in panel_of:
                parameter.rich_help_panel = panel_of[parameter.name]
        return parameters

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Parse a command line; of ``SOURCE... OUT`` with a single word, OUT is missing.

        The parser takes this word for OUT, and reports that SOURCE is missing.
        """
        words = args.copy()
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            values = self.make_parser(ctx).parse_args(args=words)[0]
            arguments = [p for p in self.params if isinstance(p, TyperArgument)]
            if error.param in arguments and error.param.nargs < 0 and not values[error.param.name]:
                later = arguments[arguments.index(error.param) + 1 :]
                error.param = next((p for p in later if values[p.name]), error.param)
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """Return the words of the usage line, without Typer's braces around arguments."""
        return [re.sub("[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]


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
