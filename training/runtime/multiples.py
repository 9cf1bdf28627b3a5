"""Check of numbers that must be a multiple of another."""

from class_maps import ConfigError


def check_multiple(name: str, value: int, of: int, description: str) -> None:
    """Check that a number is a multiple of another; 0 is one.

    Args:
        name: Name of the option.
        value: Value of the option.
        of: Divisor, above 0.
        description: Description of the divisor.

    Raises:
        ConfigError: The value is negative or not a multiple; the message suggests the nearest ones.
    """
    if value < 0 or value % of:
        smaller = max(value // of, 0) * of
        nearest = f"{smaller} or {smaller + of}" if smaller else str(of)
        raise ConfigError(f"{name} ({value}): must be a multiple of {description}; use {nearest}")
