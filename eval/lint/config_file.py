"""Configuration of the rules: a TOML file with levels and thresholds.

A rule is set by its level alone, or by a table::

    rare-class = "off"

    [unlikely-size]
    level = "error"
    min_share = 0.02
"""

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path

from class_maps import InputError, listed, shown, with_nearest
from class_maps.text_files import read_text
from eval.lint.findings import LEVELS
from eval.lint.rules import RULES, Rule, RuleSettings, default_settings

MAX_BYTES = 1_000_000


def read_config(path: Path) -> dict[str, RuleSettings]:
    """Read the settings of all rules; those that the file does not mention keep their defaults.

    Raises:
        InputError: The file cannot be read or is not TOML, or contains an unknown rule, level or
            threshold, or an invalid value.
    """
    text = read_text(path, "configuration file", max_bytes=MAX_BYTES)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"is not TOML: {error}", path=path) from error
    known = {rule.id: rule for rule in RULES}
    if unknown := content.keys() - known.keys():
        raise InputError(f"unknown rules: {with_nearest(unknown, known)}", path=path)
    settings = default_settings()
    for name, value in content.items():
        table = value if isinstance(value, dict) else {"level": value}
        settings[name] = _rule_settings(known[name], table, path)
    return settings


def _rule_settings(rule: Rule, table: Mapping[str, object], path: Path) -> RuleSettings:
    values = dict(table)
    level = values.pop("level", rule.level)
    if level not in LEVELS:
        expected = ", ".join(LEVELS)
        raise InputError(f"expected {expected}, got {shown(level)}", path=path, where=rule.id)
    if unknown := values.keys() - rule.thresholds.keys():
        has = f"thresholds: {', '.join(rule.thresholds)}" if rule.thresholds else "no thresholds"
        raise InputError(
            f"unknown threshold: {listed(sorted(unknown))}; the rule has {has}",
            path=path,
            where=rule.id,
        )
    thresholds = {name: _number(value, path, f"{rule.id}.{name}") for name, value in values.items()}
    return RuleSettings(level=level, thresholds={**rule.thresholds, **thresholds})


def _number(value: object, path: Path, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise InputError(
        f"expected a number that is not negative, got {shown(value)}", path=path, where=where
    )
