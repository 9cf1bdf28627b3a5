"""Sentence about the change that makes training steps faster."""

from collections.abc import Callable
from dataclasses import dataclass

from training.profiling.times import StepProfile

HIGH_LOAD, HIGH_ASSIGNER, HIGH_OPTIMISER = 0.15, 0.15, 0.2
"""Shares of a step above which a part other than the network is worth changing."""
LOW_BUSY = 0.7
"""Fraction of the time below which a GPU is badly used."""
MUCH_LARGER = 1.5
"""Ratio of image side and network input above which scaling the images once saves time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """A profile, and what can be changed."""

    profile: StepProfile
    cores: int
    """Cores that loader processes can use."""
    image_side: int
    """Median of the longer sides of the image files in pixels."""
    assigner: str
    """Value of ``--assigner``."""


def advise(situation: Situation) -> str:
    """Return a sentence about the change that saves most, for the first problem that applies."""
    return next(text for rule in RULES if (text := rule(situation)))


def _load(situation: Situation) -> str:
    profile = situation.profile
    waiting = profile.times.share("load")
    if waiting < HIGH_LOAD:
        return ""
    problem = f"Steps wait {waiting:.0%} of the time for data"
    if situation.image_side > MUCH_LARGER * profile.imgsz:
        return (
            f"{problem}, because images of {situation.image_side} px are scaled to {profile.imgsz} "
            "px in every epoch: convert the data again with omr convert --tile or --scale."
        )
    if profile.device == "cpu":
        return (
            f"Loading takes {waiting:.0%} of a step, because no other processes load images when "
            "training on a CPU: use a GPU."
        )
    if profile.workers < situation.cores:
        return (
            f"{problem}: raise --workers from {profile.workers}, up to the number of cores, "
            f"{situation.cores}."
        )
    return f"{problem} although every core loads images: use a machine with more cores."


def _busy(situation: Situation) -> str:
    profile = situation.profile
    if profile.gpu_busy is None or profile.gpu_busy >= LOW_BUSY:
        return ""
    return (
        f"The GPU is idle {1 - profile.gpu_busy:.0%} of the time although it has data: raise "
        f"--batch from {profile.batch}, for example with --batch auto."
    )


def _assigner(situation: Situation) -> str:
    share = situation.profile.times.share("assigner")
    if share < HIGH_ASSIGNER:
        return ""
    problem = f"Label assignment takes {share:.0%} of a step"
    if situation.assigner != "tal":
        return f"{problem}: --assigner tal is faster than {situation.assigner}."
    return (
        f"{problem} with {situation.profile.symbols_per_image:.0f} symbols per image: cut smaller "
        "tiles with omr convert --tile."
    )


def _optimiser(situation: Situation) -> str:
    share = situation.profile.times.share("optimiser")
    if share < HIGH_OPTIMISER:
        return ""
    return (
        f"The optimiser takes {share:.0%} of a step: raise --batch from "
        f"{situation.profile.batch}, or accumulate batches with --nominal-batch."
    )


def _precision(situation: Situation) -> str:
    profile = situation.profile
    if profile.device == "cpu" or profile.precision != "fp32":
        return ""
    return "The network computes in fp32: use --precision auto, unless bf16 and fp16 fail."


def _network(situation: Situation) -> str:
    profile = situation.profile
    return (
        f"The network takes {profile.times.share('forward', 'backward'):.0%} of a step: only a "
        f"smaller --model than {profile.model}, a smaller --imgsz or a faster device saves time."
    )


RULES: tuple[Callable[[Situation], str], ...] = (
    *(_load, _busy, _assigner, _optimiser, _precision, _network),
)
"""Rules in the order in which they are tried; each returns an empty text where it does not
apply."""
