"""``omr npu-report``."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omr.console import loading_torch, note, print_json, results, say, table
from omr.options import AsJson, Trust, words_of
from settings.published import DEFAULT_WEIGHTS, weights_path
from settings.training import MAX_IMGSZ

if TYPE_CHECKING:
    from omr.npu_figures import ModelFigures
    from training.export.vela import NpuFigures

COLUMNS = "model", "NPU", "ms", "MMAC", "SRAM KiB", "DRAM KiB", "flash KiB", "on NPU", "on CPU"


def npu_report(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help=f"Files of `omr export --format tflite --int8`, and weights: files, or "
            f"{DEFAULT_WEIGHTS}, which comes with omr.",
            parser=weights_path,
            metavar="SOURCE",
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="Arm Ethos-U NPU and its MACs per cycle, such as ethos-u55-256; can be repeated, "
            "or a list.",
            metavar="<name>",
            show_default="ethos-u55-256,ethos-u65-512,ethos-u85-2048",
        ),
    ] = None,
    imgsz: Annotated[
        int | None,
        typer.Option(
            help="Side length of the network input of weights in pixels.",
            min=32,
            max=MAX_IMGSZ,
            show_default="as in training",
        ),
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Estimate the speed and memory of models on Arm Ethos-U NPUs, with Arm's compiler Vela.

    Weights are converted to int8 first, which takes up to a minute; the result is not kept.

    Examples:
        omr npu-report model.tflite
        omr npu-report run/weights/best.pt harmony-tiny --target u55-128,u85-512
    """
    with loading_torch(as_json=as_json):
        from omr.npu_figures import model_figures, model_names
        from training.export.vela import DEFAULT_TARGETS, parse_targets

    targets = parse_targets(list(words_of(target, ",".join(DEFAULT_TARGETS))))
    models = model_figures(
        sources,
        targets,
        imgsz=imgsz,
        trust=trust,
        converting=lambda file: say(f"Converting {file} to int8 ..."),
    )
    to = results(as_json=as_json)
    names = model_names(sources)
    named = [*zip(names, models, strict=True)]
    rows = [_row(name, figures) for name, model in named for figures in model.targets]
    table("Estimate by Vela, without the decoding of boxes", COLUMNS, rows, to=to)
    for chosen in targets:
        say(f"{chosen.accelerator}: {chosen.system}, {chosen.memory_mode}", to=to)
    for name, model in named:
        _say_operators(name, model)
    if as_json:
        print_json(_json(models))


def _row(name: str, figures: "NpuFigures") -> list[object]:
    return [
        name,
        figures.target.accelerator,
        f"{figures.ms:.2f}",
        f"{figures.macs / 1e6:,.1f}",
        f"{figures.sram_kib:,.0f}",
        f"{figures.dram_kib:,.0f}",
        f"{figures.flash_kib:,.0f}",
        sum(figures.npu_operators.values()),
        sum(figures.cpu_operators.values()),
    ]


def _say_operators(name: str, model: "ModelFigures") -> None:
    """List the operators of a model; for the CPU on each target that leaves some to it."""
    first = model.targets[0]
    say(f"{name}: {_counts(first.npu_operators)}")
    for figures in model.targets:
        if figures.cpu_operators:
            note(
                f"{name}: {figures.target.accelerator} leaves to the CPU "
                f"{_counts(figures.cpu_operators)}; their time is not included"
            )


def _counts(operators: Mapping[str, int]) -> str:
    ordered = sorted(operators.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n} {name}" for name, n in ordered)


def _json(models: "list[ModelFigures]") -> dict[str, object]:
    """Return the figures; those of a single model also at the top level."""
    result: dict[str, object] = {"models": [model.to_json() for model in models]}
    return result | (models[0].to_json() if len(models) == 1 else {})
