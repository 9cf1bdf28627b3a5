"""Numbers that must be a multiple of another."""

from class_maps import ConfigError


def check_multiple(name: str, value: int, of: int, what: str) -> None:
    """Make sure that a number is a multiple of another; 0 is one.

    Args:
        name: What the user calls the number.
        value: Its value.
        of: The other one, above 0.
        what: What the other one is, in words.

    Raises:
        ConfigError: It is none, or below 0; it says the next one.
    """
    if value < 0 or value % of:
        larger = max(-(-value // of), 1) * of
        raise ConfigError(f"{name} ({value}): must be a multiple of {what}; use {larger}")
