"""Differences between the protocols of two evaluations, in words."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from class_maps import short_list
from eval.html.number_format import counted
from omr.scoring.evaluation_folders import Evaluation, EvaluationGroup, ProtocolEntry

_MOST_NAMES = 3
_NONE = "-"


def truth_differences(a: Evaluation, b: Evaluation) -> list[str]:
    """List how the ground truth of two evaluations differs; empty if it is the same."""
    if a.protocol.data.truths == b.protocol.data.truths and a.symbols.names == b.symbols.names:
        return []
    first, second = a.protocol, b.protocol
    parts = [
        *_pair("data", first.data.name, second.data.name),
        *_pair("split", first.split, second.split),
        *_pair("unit", first.unit, second.unit),
        *_class_differences(a.symbols.names, b.symbols.names),
    ]
    images = [{str(page.image) for page in one.symbols.truths} for one in (a, b)]
    if images[0] != images[1]:
        only = len(images[0] - images[1]), len(images[1] - images[0])
        parts.append(f"images ({only[0]} only in the first, {only[1]} only in the second)")
    elif first.data.truths != second.data.truths:
        totals = [sum(len(page.labels) for page in one.symbols.truths) for one in (a, b)]
        parts.append(f"symbols ({totals[0]:,}, {totals[1]:,})")
    return parts


def _class_differences(a: Sequence[str], b: Sequence[str]) -> list[str]:
    if a == b:
        return []
    if others := sorted({*a} ^ {*b}):
        count = counted(len(others), "class", "classes")
        return [f"{count} only in one of them ({short_list(others, _MOST_NAMES)})"]
    return ["order of the classes"]


def protocol_differences(a: ProtocolEntry, b: ProtocolEntry) -> list[str]:
    """List the parts of two protocols that differ, with both values.

    Args:
        a: First protocol.
        b: Second protocol, with the same ground truth.

    Returns:
        For example ``max_det (300, 450)``; empty if scores are comparable.
    """
    if a.hash == b.hash:
        return []
    parts = [
        *_pair("data", a.data.name, b.data.name),
        *_pair("split", a.split, b.split),
        *_pair("unit", a.unit, b.unit),
        *_pair("max_det", a.settings.max_det, b.settings.max_det),
        *_pair("confidence threshold", _cut_off(a), _cut_off(b)),
        *_pair("definition of the metrics", a.metrics, b.metrics),
    ]
    if a.data.unlabelled != b.data.unlabelled:
        parts.append("classes that are unlabelled on some pages")
    if not parts and a.data.labels != b.data.labels:
        parts.append("label files")
    return parts or [f"hash of the protocol ({a.hash}, {b.hash})"]


def _cut_off(protocol: ProtocolEntry) -> str:
    """Describe whether predictions were cut off by a confidence threshold."""
    if not protocol.settings.is_truncated:
        return "none"
    lowest = protocol.settings.lowest_score
    return "cut off" if lowest is None else f"lowest score {lowest:g}"


def _pair(label: str, a: object, b: object) -> list[str]:
    return [] if a == b else [f"{label} ({a}, {b})"]


def settings_rows(groups: Sequence[EvaluationGroup]) -> list[tuple[str, tuple[str, ...]]]:
    """Return inputs and settings as rows of a table, with a value per group.

    Settings that no group has are omitted.
    """
    columns = [
        [_values(evaluation.protocol) for evaluation in group.evaluations] for group in groups
    ]
    rows = []
    for label in columns[0][0]:
        values = [dict.fromkeys(run[label] for run in column) for column in columns]
        if {*chain.from_iterable(values)} != {_NONE}:
            rows.append((label, tuple(", ".join(value) for value in values)))
    return rows


def _values(protocol: ProtocolEntry) -> dict[str, str]:
    settings = protocol.settings
    tiles = settings.tiles or {}
    return {
        "weights": protocol.weights.name,
        "SHA-256 of the weights": protocol.weights.sha256[:12],
        "data": protocol.data.name,
        "split": protocol.split,
        "unit": protocol.unit,
        "class map": protocol.class_map.name or _NONE,
        "max_det": _text(settings.max_det),
        "confidence threshold": _text(settings.conf),
        "lowest score": _text(settings.lowest_score),
        "imgsz": _text(settings.imgsz),
        "staff space": _text(settings.staff_space),
        "tiles": ", ".join(f"{key} {value:g}" for key, value in tiles.items()) or _NONE,
        "protocol": protocol.hash,
        "versions": ", ".join(f"{key} {value}" for key, value in protocol.versions.items()),
    }


def _text(value: Any) -> str:  # noqa: ANN401
    return _NONE if value is None else f"{value:g}"
