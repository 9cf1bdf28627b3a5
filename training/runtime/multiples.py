"""Check of options that must be a multiple of a number."""

from class_maps import ConfigError


def check_multiple(name: str, value: int, of: int, description: str) -> None:
    """Check that a number is a multiple of another; 0 is accepted.

    Args:
        name: Name of the option.
        value: Value of the option.
        of: Divisor, above 0.
        description: Description of the divisor.

    Raises:
        ConfigError: The value is negative or not a multiple; the message suggests the next one.
    """
    if value < 0 or value % of:
        larger = max(-(-value // of), 1) * of
        raise ConfigError(f"{name} ({value}): must be a multiple of {description}; use {larger}")
