"""Structure variants of models: blocks of YOLO11 and later replaced by plain ``C2f``.

``yolo11n-c2f`` has ``C2f`` for every block without attention, ``yolo11n-noattn`` for every block
with attention, and ``yolo11n-c2f-noattn`` for both. A ``C2f`` has the channels and repeats of the
block that it replaces. Only blocks change: Ultralytics would also give a model without YOLO11's
blocks the heavier class branches of YOLOv8, and ``DEPTHWISE`` prevents that.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from class_maps import ConfigError

VARIANTS = ("-c2f", "-noattn", "-c2f-noattn")
"""Endings of the names of variants."""
VARIANT = re.compile(r"(?P<base>.+?)(?P<variant>-c2f(-noattn)?|-noattn)")
DEPTHWISE = "depthwise_class_branches"
"""Key in the content of a model file: class branches are depthwise, whatever the blocks."""

Row = list[Any]
"""Row of a model file: source, repeats, block and its arguments."""


def split_variant(model: str) -> tuple[str, str]:
    """Divide the name of a model into the name of its base and the ending of a variant."""
    match = VARIANT.fullmatch(model)
    return (match["base"], match["variant"]) if match else (model, "")


def has_variant(content: Mapping[str, Any], variant: str) -> bool:
    """Return whether a variant replaces any block of a model, for each of its endings.

    Args:
        content: Content of the model file of the base.
        variant: Ending of the name, such as ``-c2f-noattn``.
    """
    rows = [*content["backbone"], *content["head"]]
    kinds = {has_attention for row in rows if (has_attention := _attention(row)) is not None}
    return kinds >= {ending == "noattn" for ending in variant.split("-")[1:]}


def varied(content: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return the content of the model file of a variant.

    Args:
        content: Content of the model file of the base.
        model: Name of the variant.

    Raises:
        ConfigError: The base has no such blocks, so that the variant would be the same network.
    """
    base, variant = split_variant(model)
    if not has_variant(content, variant):
        blocks = {"-c2f": "C3k2 or A2C2f", "-noattn": "attention"}.get(variant, "both kinds of")
        raise ConfigError(
            f"{base} has no {blocks} blocks that C2f could replace; use {base}",
            option="--model",
            value=model,
        )
    endings = variant.split("-")
    replaced = {kind for kind in (False, True) if ("noattn" if kind else "c2f") in endings}
    rows = {part: _varied_rows(content[part], replaced) for part in ("backbone", "head")}
    return {**content, **rows, DEPTHWISE: True}


def _varied_rows(rows: Sequence[Row], replaced: set[bool]) -> list[Row]:
    """Replace blocks; ``replaced`` has True for those with attention, False for the others."""
    return [
        [source, repeats, "C2f", [args[0], True, 1, _expansion(block, args)]]
        if _attention([source, repeats, block, args]) in replaced
        else [source, repeats, block, args]
        for source, repeats, block, args in rows
    ]


def _attention(row: Row) -> bool | None:
    """Return whether a block has attention; None for blocks before YOLO11."""
    block, args = row[2], row[3]
    if block == "C3k2":
        return len(args) > 3 and bool(args[3])
    if block == "A2C2f":
        return bool(args[1])
    return True if block == "C2PSA" else None


def _expansion(block: str, args: Sequence[Any]) -> float:
    """Return the hidden channels of a block as a fraction of its channels."""
    return float(args[2]) if block == "C3k2" and len(args) > 2 else 0.5
