"""Number formats for readers; None becomes a dash."""

MIB, GIB = 2**20, 2**30
NONE = "-"
_SPACE = "\u00a0"  # prevents a line break


def memory(n_bytes: float | None) -> str:
    """Format bytes in the units of ``nvidia-smi``: ``19.3 GiB`` or ``312 MiB``."""
    if n_bytes is None:
        return NONE
    if n_bytes >= GIB:
        return f"{n_bytes / GIB:,.1f}{_SPACE}GiB"
    if 0 < n_bytes < MIB:
        return f"under 1{_SPACE}MiB"
    return f"{n_bytes / MIB:,.0f}{_SPACE}MiB"


def share(value: float | None) -> str:
    """Format a fraction from 0 to 1 as a percentage; only exact values become 0% and 100%."""
    if value is None:
        return NONE
    if 0 < value < 0.0005:
        return "< 0.1%"
    if 0.9995 <= value < 1:
        return "> 99.9%"
    return f"{value:.1%}".replace(".0%", "%")


def amount(value: int | float | None) -> str:
    """Format a count such as ``1,234``, or a small mean such as ``12.5``."""
    if value is None:
        return NONE
    whole = isinstance(value, int) or value >= 100
    return f"{value:,.0f}" if whole else f"{value:,.1f}"


def counted(n: int, one: str, many: str) -> str:
    """Format a count with its noun: ``1 image``, ``1,714 images``."""
    return f"{amount(n)} {one if n == 1 else many}"


def pixels(value: float | None) -> str:
    """Format a length in pixels, without its unit."""
    if value is None:
        return NONE
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def short_number(value: int) -> str:
    """Format a count for a small cell: ``999``, ``1.2k``, ``12k``."""
    if value < 1000:
        return f"{value}"
    return f"{value / 1000:.1f}k" if value < 9950 else f"{value / 1000:.0f}k"
