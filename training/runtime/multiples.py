"""Check of options that must be a multiple of a number."""

from class_maps import ConfigError


def check_multiple(option: str, value: int, of: int, description: str) -> None:
    """Check that the value of an option is a multiple of a number; 0 is accepted.

    Args:
        option: Command-line option, such as ``--batch``.
        value: Value of the option.
        of: Divisor, above 0.
        description: Description of the divisor.

    Raises:
        ConfigError: The value is negative or not a multiple; the message suggests the nearest ones.
    """
    if value < 0 or value % of:
        smaller = max(value // of, 0) * of
        nearest = f"{smaller} or {smaller + of}" if smaller else str(of)
        reason = f"must be a multiple of {description}; use {nearest}"
        raise ConfigError(reason, option=option, value=value)
