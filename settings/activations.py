"""Activation functions of the parts of a network, as options and weights files write them."""

from collections.abc import Mapping

from class_maps import ConfigError, with_nearest

PARTS = ("backbone", "neck", "head")
"""Parts of a detector; the head is its last layer, and the neck is everything between the two."""
NAMES = ("silu", "relu", "relu6", "leaky", "hardswish", "gelu", "mish")
"""Activation functions; ``leaky`` is written with its slope, ``leaky:0.1``."""
LEAKY = "leaky"


def parse_activations(text: str) -> dict[str, str]:
    """Read the value of ``--activation``.

    Args:
        text: One activation function for all parts, or ``backbone=relu,head=leaky:0.1``; empty for
            those of the model.

    Returns:
        Activation function of each part that ``text`` mentions, in the order of ``PARTS``.

    Raises:
        ConfigError: A part or an activation function is unknown, a part is a duplicate, or a slope
            is missing or invalid.
    """
    if not text:
        return {}
    if "=" not in text and "," not in text:
        return dict.fromkeys(PARTS, _canonical(text.strip(), text))
    chosen: dict[str, str] = {}
    for item in text.split(","):
        part, equals, name = (word.strip() for word in item.partition("="))
        if not equals:
            name = item.strip() or "an empty element"
            raise _invalid(text, f"{name}: no part; expected part=name, such as head=relu")
        if part not in PARTS:
            raise _invalid(text, f"unknown part: {with_nearest([part], PARTS)}")
        if part in chosen:
            raise _invalid(text, f"duplicate part: {part}")
        chosen[part] = _canonical(name, text)
    return {part: chosen[part] for part in PARTS if part in chosen}


def leaky_slope(name: str) -> float | None:
    """Return the slope for negative values in ``leaky:SLOPE``; None for other functions."""
    kind, colon, slope = name.partition(":")
    return float(slope) if kind == LEAKY and colon else None


def leaky_name(slope: float) -> str:
    """Return the name of a leaky ReLU, such as ``leaky:0.1``."""
    return f"{LEAKY}:{slope:g}"


def counts_text(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Write the number of uses of each activation function in each part.

    Args:
        counts: Uses by part and activation function.

    Returns:
        For example ``backbone 36 relu, neck 23 silu, head 18 silu``.
    """
    return ", ".join(
        f"{part} {' + '.join(f'{n} {name}' for name, n in by_name.items()) or 'none'}"
        for part, by_name in counts.items()
    )


def _canonical(name: str, text: str) -> str:
    """Check the name of an activation function, and write its slope in one way."""
    kind, colon, slope = name.partition(":")
    if kind not in NAMES:
        raise _invalid(text, f"unknown: {with_nearest([kind], NAMES)}; use {', '.join(NAMES)}")
    if kind != LEAKY:
        if colon:
            raise _invalid(text, f"{kind} has no slope; only leaky has")
        return kind
    try:
        value = float(slope)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise _invalid(text, f"{name}: expected a slope above 0 and below 1, such as leaky:0.1")
    return leaky_name(value)


def _invalid(text: str, problem: str) -> ConfigError:
    return ConfigError(problem, option="--activation", value=text)
