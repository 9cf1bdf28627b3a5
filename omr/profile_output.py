"""Printed results of ``omr profile``."""

from rich.console import Console

from eval.html.number_format import counted, share
from omr.console import entry, paragraph, say, table
from training.profiling.times import DensityTimes, StepProfile, StepTimes


def show_profile(profile: StepProfile, *, to: Console) -> None:
    """Print the time of each part of a step, the effect of the density, and the advice.

    Args:
        profile: Profile to print.
        to: Console to print on.
    """
    times = profile.times
    table(
        f"Mean of {counted(profile.steps, 'step', 'steps')}: {profile.model}, "
        f"{counted(profile.batch, 'image', 'images')} of {profile.imgsz} px, {profile.precision}, "
        f"{profile.device}",
        ("part", "ms", "share"),
        [(part.name, _ms(part.ms), share(part.share)) for part in times.parts],
        [("step", _ms(times.step_ms), "")],
        to=to,
    )
    loaders = counted(profile.workers, "process", "processes") if profile.workers else "no process"
    entry(
        f"{times.images_per_s:.1f} images/s, {profile.symbols_per_image:,.0f} symbols per image",
        to=to,
    )
    entry(
        f"waiting for data: {share(times.share('load'))} of the time, with {loaders} for loading",
        to=to,
    )
    if profile.gpu_busy is not None:
        entry(f"GPU busy: {share(profile.gpu_busy)} of the time", to=to)
    if profile.densities:
        _show_densities(profile.densities, to)
    paragraph(f"\n{profile.advice}", to=to)


def _show_densities(densities: tuple[DensityTimes, ...], to: Console) -> None:
    """Print the time of both losses by density, and why they differ."""
    say("", to=to)
    table(
        "Loss of omr and of Ultralytics with the same batches, in ms",
        (
            *("images", "symbols per image", "omr: assigner", "rest of loss", "step"),
            *("Ultralytics: assigner", "rest of loss", "step"),
        ),
        [
            (
                one.name,
                f"{one.symbols_per_image:,.0f}",
                *_cells(one.omr),
                *(_cells(one.ultralytics) if one.ultralytics else ("-", "-", "-")),
            )
            for one in densities
        ],
        to=to,
    )
    densest = densities[-1]
    entry(
        f"{densest.name}: Ultralytics compares {densest.ultralytics_pairs:,} pairs of symbols and "
        f"anchor points, because it pads every image to {densest.symbols_max:,} symbols and "
        f"compares each with every point; omr compares {densest.omr_pairs:,}",
        to=to,
    )
    for one in densities:
        if one.reason:
            entry(f"{one.name}: Ultralytics' loss was not measured: {one.reason}", to=to)


def _cells(times: StepTimes) -> tuple[str, str, str]:
    return _ms(times.ms("assigner")), _ms(times.ms("rest of loss")), _ms(times.step_ms)


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:,.1f}"
