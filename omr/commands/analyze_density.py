"""``omr analyze-density``."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from class_maps import ConfigError, some
from omr.console import entry, note, print_json, say, table
from omr.options import AsJson
from omr.settings_options import add_options, chosen_settings, option_name, require

if TYPE_CHECKING:
    from eval.reports.density_report import DensityReport
    from training.config import TrainConfig
    from training.density.initial_weights import InitialWeightAnalysis
    from training.density.report import DensityAnalysis
    from training.memory.step import StepSpec

SETTINGS = (
    *("model", "trust", "heads", "imgsz", "batch", "precision", "seed"),
    *("mosaic", "sampling_weights", "merge_classes"),
)
"""Settings of a training that the analysis depends on and that have an option here."""
MOST = 0.5
"""Share of a class's symbols."""
MIB = 2**20
GUARD = ("guard",)
LINES = (
    (
        "weights, gradients, optimizer, average",
        ("parameters", "gradients", "optimizer", "ema", "buffers"),
    ),
    ("images", ("inputs",)),
    ("activations", ("activations",)),
    ("loss", ("loss",)),
    ("assigner", ("assigner",)),
    ("workspace, allocator, libraries", ("workspace", "allocator", "library")),
    ("the NaN guard's states", GUARD),
)
"""Lines of the table, and what is in each."""


@add_options(SETTINGS)
def analyze_density(
    context: typer.Context,
    gpu: Annotated[
        str,
        typer.Option(
            help="GPU to plan for, e.g. rtx5090 or a100-80gb.", show_default="the local device"
        ),
    ] = "",
    wanted: Annotated[
        str,
        typer.Option(
            help="Classes whose symbols must be large enough, e.g. stem,tie.", show_default="all"
        ),
    ] = "",
    report: Annotated[
        Path | None,
        typer.Option(help="Web page to write, with plots and all classes.", dir_okay=False),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Run real steps on this machine and compare their memory."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Report how dense the data is, how much memory a step needs, and which command to launch.

    Nothing is trained and no image is decoded; the GPU need not be present.

    With plots: omr analyze-density data --gpu rtx5090 --report page.html

    Example: omr analyze-density data --model yolo11n --batch 32 --gpu rtx5090
    """
    from training.density.report import analyze
    from training.memory.gpus import find_gpu

    config = _config(context)
    batch = config.batch
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if report and not report.parent.is_dir():
        raise ConfigError(f"{report.parent}: no such folder; make it, or choose another --report")
    found = analyze(config, find_gpu(gpu) if gpu else None, names)
    if found.config.batch < batch:
        note(f"batch {found.config.batch}, not {batch}: there are no more images")
    _show(found)
    density = found.report()
    plain = density.to_json()
    if measure:
        plain["measured"] = _measure(found.spec)
    if report:
        _write(density, report)
    if as_json:
        print_json(plain)
    if found.problem:
        raise ConfigError(found.problem)


def _config(context: typer.Context) -> "TrainConfig":
    """Build the configuration to analyse; the run folder may be left open."""
    values = {"out": Path("run")} | chosen_settings(context)
    require(context, values, "data")
    for name in ("batch", "lr"):
        if isinstance(values.get(name), str):
            raise ConfigError("expected a number", option=option_name(name), value=values[name])

    from training.config import TrainConfig

    return TrainConfig(**values)


def _write(density: "DensityReport", file: Path) -> None:
    from eval.reports.density import write_density_report

    try:
        write_density_report(density, file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
    say(f"plots, all classes: {file}")


def _show(found: "DensityAnalysis") -> None:
    from converters.reproduce_command import TO_CUT

    _show_symbols(found)
    _show_classes(found)
    _show_memory(found)
    if suggest := found.recommendation:
        say("\nWhat to launch:")
        for reason in suggest.reasons:
            entry(reason)
        if suggest.convert_command:
            say(f"\n{TO_CUT}")
            say(suggest.convert_command)
        say(f"\n{suggest.command}")


def _show_symbols(found: "DensityAnalysis") -> None:
    survey, batch = found.labels, found.config.batch
    table(
        "Symbols an image (P95: 95 of 100 images have no more)",
        ("", "images", "mean", "P50", "P95", "P99", "max"),
        [
            (stage.name, stage.n_images, f"{stage.mean:,.0f}", s.p50, s.p95, s.p99, s.max)
            if (s := stage.symbols)
            else (stage.name, stage.n_images, f"{stage.mean or 0:,.0f}", "", "", "", "")
            for stage in survey.stages
        ],
    )
    fullest, whole = survey.crowding.fullest_image(batch), survey.crowding.whole_batch(batch)
    if fullest and whole:
        entry(
            f"a batch of {batch}: {whole.expected:,.0f} symbols, {whole.p999:,} at most in 999 of "
            f"1,000; its fullest image: {fullest.expected:,.0f}, {fullest.p999:,}"
        )
    if batch < survey.n_images and (most := survey.crowding.epoch_max(batch)):
        entry(f"the fullest of an epoch: a batch {most.batch:,.0f}, an image {most.image:,.0f}")
    if not survey.n_symbols:
        note(f"no image has a symbol; nothing could be learnt from {found.config.data}")


def _show_classes(found: "DensityAnalysis") -> None:
    """Say what is wrong with which classes; all of them are in the report."""
    from training.density.recommendation import MOST_NAMES

    survey, start = found.labels, found.labels.initial_weights
    present = sorted((row for row in survey.sizes if row.count), key=lambda row: -row.count)
    if not present:
        return
    say(f"\nAt {found.config.imgsz} px, of {len(present)} classes with symbols:")
    told: Iterable[tuple[str, Iterable[str]]] = (
        ("others have no symbol", [row.name for row in survey.sizes if not row.count]),
        ("mostly under 2 px", [r.name for r in present if (r.under_2px or 0) > MOST]),
        ("mostly dropped by Ultralytics' augmentation", start.dropped_stock),
        ("without weight in the loss when Ultralytics' head starts", start.zero_weight_stock),
        ("mostly dropped by that of omr train", start.dropped_ours),
        ("without weight when the head of omr train starts", start.zero_weight_ours),
    )
    for what, names in told:
        if shown := list(names):
            entry(f"{len(shown)} {what}: {some(shown, MOST_NAMES)}")
    if start.priors:
        entry(f"first boxes of omr train: {some(_first_boxes(start), MOST_NAMES)}")
    contest = survey.competition
    if contest.max_recall_single_head is not None:
        heads = ""
        if found.heads and contest.max_recall_heads is not None:
            heads = f", {contest.max_recall_heads:.2%} with these heads"
        entry(f"{contest.max_recall_single_head:.2%} of the symbols find an anchor point{heads}")
    said = [
        f"{reach.iou50:.1%} {name.replace(',', '')}"
        for name, reach in survey.maximum_recall.overall.items()
        if reach
    ]
    entry(f"boxes that a head can say at IoU .5: {', '.join(said)}")


def _first_boxes(start: "InitialWeightAnalysis") -> list[str]:
    """Tell what each box branch begins with: a size for each stride, rising."""
    sizes: dict[str | None, list[str]] = {}
    for prior in start.priors:
        sizes.setdefault(prior.group, []).append(f"{prior.width_px:.0f} x {prior.height_px:.0f}")
    return [(f"{group} " if group else "") + f"{', '.join(own)} px" for group, own in sizes.items()]


def _show_memory(found: "DensityAnalysis") -> None:
    from eval.html.number_format import share

    memory, gpu = found.memory, found.gpu
    highest = memory.to_json()
    rows = [
        (
            what,
            sum(memory.at_peak.get(name, 0) for name in names),
            sum(highest[f"{name}_bytes"] for name in names),
        )
        for what, names in LINES
        if names != GUARD or gpu.device == "cpu"  # of a GPU's training they lie in main memory
    ]
    rest = memory.total_bytes - memory.at_peak["assigner"]
    stock = {
        f"all, with the assigner of Ultralytics {version}": rest + n_bytes
        for version, n_bytes in found.dense_by_version.items()
    }
    say("")
    table(
        f"Memory of a step, MiB: {memory.batch} images, {found.config.model}, {found.precision}",
        ("", "at the peak", "at its highest"),
        [(what, _mib(peak), _mib(most)) for what, peak, most in rows if most],
        [
            ("all", _mib(memory.total_bytes), ""),
            *((what, _mib(n_bytes), "") for what, n_bytes in stock.items()),
            (f"usable on {gpu.name}", _mib(gpu.usable_bytes), ""),
        ],
    )
    taken = share(memory.assigner_bytes / max(gpu.usable_bytes, 1))
    entry(
        f"Ultralytics compares {found.spec.boxes_max:,} symbols with {memory.n_anchors:,} points, "
        f"{memory.batch} times; omr lists {found.spec.pairs or 0:,} pairs: {taken} of the memory"
    )
    # Where ours does not fit, that theirs does not either is no news.
    fits = memory.total_bytes <= gpu.usable_bytes
    for what, n_bytes in (stock if fits else {"all": memory.total_bytes}).items():
        if n_bytes > gpu.usable_bytes:
            note(f"out of memory on {gpu.name}: {what}: {_mib(n_bytes)} MiB")


def _measure(spec: "StepSpec") -> dict[str, object] | None:
    """Run real steps, and show what they took beside what was predicted for the device here.

    Returns:
        None where they would not fit.
    """
    from dataclasses import replace

    from training.memory.batch_search import present_device
    from training.memory.profile import profile_step
    from training.memory.step import predict_step

    gpu = present_device()
    precision = "fp32" if gpu.device == "cpu" and spec.precision == "fp16" else spec.precision
    here = replace(spec, device=gpu.device, precision=precision)
    need = predict_step(here).total_bytes
    if need > gpu.usable_bytes:
        note(f"not measured: {_mib(need)} MiB do not fit on {gpu.name}; take a smaller --batch")
        return None
    measured = profile_step(here)
    predicted = predict_step(replace(here, pairs=measured.pairs))
    n_bytes = predicted.allocated_bytes
    say(
        f"Measured here ({measured.device}, {precision}, random boxes): "
        f"{_mib(measured.total_bytes)} MiB; predicted {_mib(n_bytes)} MiB, "
        f"{n_bytes / measured.total_bytes - 1:+.1%}"
    )
    return measured.to_json() | {"predicted_bytes": n_bytes, "precision": precision}


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / MIB:,.0f}"
