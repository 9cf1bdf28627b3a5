"""Command-line options made from :mod:`settings`: one option per setting, and ``--config``."""

import inspect
from collections.abc import Callable, Collection, Iterator
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from class_maps import ConfigError
from settings.setting import Setting, settings_of
from settings.training import TrainingSettings
from settings.yaml_file import read_settings

CONFIG = "config"
"""Name of the parameter of ``--config``."""
OFF = "no_"
"""Prefix of the hidden parameter that switches off what a file switches on."""


def add_options(names: Collection[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command with DATA, an option per setting and ``--config``.

    The command itself takes the context, from which :func:`chosen_settings` reads the values, and
    its further options.

    Args:
        names: Settings to make options of; settings without a flag are skipped.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        further = inspect.signature(command, eval_str=True).parameters
        generated = _parameters(names)

        @wraps(command)
        def run(**arguments: Any) -> None:  # noqa: ANN401
            # Older versions of typer convert the arguments only, and leave text in the context.
            arguments[context.name].params.update(
                (name, value) for name, value in arguments.items() if name != context.name
            )
            command(**{name: value for name, value in arguments.items() if name in further})

        context, *others = (p.replace(kind=p.KEYWORD_ONLY) for p in further.values())
        parameters = [context, *generated, *others]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def chosen_settings(context: typer.Context) -> dict[str, Any]:
    """Return the settings that the user chose; options replace values of the file.

    Raises:
        ConfigError: The value of an option is invalid.
        InputError: The configuration file is invalid.
    """
    file = context.params[CONFIG]
    values = read_settings(file) if file else {}
    known = settings_of(TrainingSettings)
    for name in given_parameters(context):
        value = context.params[name]
        if name == "data":
            first, *others = value
            values |= {"data": first, "joint": tuple(others)}
        elif name in known:
            values[name] = _converted(known[name], value)
        elif name.removeprefix(OFF) in known:
            values[name.removeprefix(OFF)] = False
    return values


def with_recorded_imgsz(values: dict[str, Any]) -> dict[str, Any]:
    """Add the input size of the weights in ``model``, unless the user chose one."""
    if "imgsz" in values or "model" not in values:
        return values

    from training.models.checkpoints import recorded_imgsz, weights_file

    weights = weights_file(values["model"])
    imgsz = recorded_imgsz(weights) if weights else None
    return values | {"imgsz": imgsz} if imgsz else values


def given_parameters(context: typer.Context) -> list[str]:
    """Return the names of the parameters that the user gave on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def option_name(parameter: str) -> str:
    """Return the option of a parameter: ``--warmup-epochs`` for ``warmup_epochs``."""
    return f"--{parameter.replace('_', '-')}"


def require(context: typer.Context, values: Collection[str], *names: str) -> None:
    """Exit with a usage error unless the user chose these settings.

    Args:
        context: Context of the command.
        values: Names of the settings that the user chose.
        names: Names of the required settings.
    """
    shown = {"data": "argument 'DATA...'", "out": "option '--out'"}
    for name in names:
        if name not in values:
            context.fail(f"Missing {shown[name]}: give it here or in a --config file.")


def _converted(declared: Setting, value: Any) -> Any:  # noqa: ANN401
    if not _is_text(declared):
        return value
    try:
        return declared.from_flag(value)
    except ValueError:
        expected = declared.expected()
        if declared.is_list:
            expected = f"{expected.removeprefix('a list of ')} such as {declared.declared.example}"
        raise ConfigError(
            f"expected {expected}", option=declared.flag, value=value or "''"
        ) from None


def _is_text(declared: Setting) -> bool:
    """Whether the option takes text that :meth:`Setting.from_flag` converts."""
    return declared.is_list or bool(declared.declared.keywords)


def _parameters(names: Collection[str]) -> Iterator[inspect.Parameter]:
    data = settings_of(TrainingSettings)["data"].declared
    argument = typer.Argument(help=data.help, metavar=data.metavar, exists=True)
    yield _parameter("data", list[Path] | None, argument, None)
    for name, declared in settings_of(TrainingSettings).items():
        if name in names and declared.declared.flag:
            yield _option(declared)
            if declared.hint is bool and not declared.default:
                switch = typer.Option(option_name(OFF + name), hidden=True)
                yield _parameter(OFF + name, bool, switch, False)
    config = typer.Option(
        help="YAML file with settings, such as the omr.yaml of a run folder; options override it.",
        metavar="<.yaml>",
        dir_okay=False,
    )
    yield _parameter(CONFIG, Path | None, config, None)


def _option(setting: Setting) -> inspect.Parameter:
    declared, kind, default = setting.declared, setting.hint, setting.default
    if _is_text(setting):
        kind, default = str | None, None if setting.is_list else str(default)
    elif kind is Path:
        kind, default = Path | None, None
    # A switch that is off by default is shown without its negative form.
    names = [setting.flag] if kind is bool and not default else []
    limited = kind in (int, float)
    option = typer.Option(
        *names,
        help=declared.help,
        rich_help_panel=declared.group,
        metavar=declared.metavar,
        show_default=declared.default_text or True,
        min=declared.minimum if limited else None,
        max=declared.maximum if limited else None,
        file_okay=False,
    )
    return _parameter(setting.name, kind, option, default)


def _parameter(name: str, kind: Any, info: Any, default: object) -> inspect.Parameter:  # noqa: ANN401
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, info],
    )
