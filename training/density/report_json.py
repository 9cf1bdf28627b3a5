"""The plain form of a density report, for machines and for the page that is drawn of it."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from training.density.analysis import Survey
from training.density.crowding import SPLIT
from training.density.initial_weights import Start, is_dropped
from training.density.representation import Reach
from training.memory.step import KINDS, KINDS_OF_CUDA, StepMemory

if TYPE_CHECKING:
    from training.density.report import DensityReport

Json = dict[str, Any]


def to_json(report: "DensityReport") -> Json:
    """Give nested dicts, lists and numbers; classes are in the order of their frequency."""
    config, found = report.config, report.survey
    fullest, whole = (
        found.fullness.fullest_image(config.batch),
        found.fullness.whole_batch(config.batch),
    )
    epoch = found.fullness.of_epoch(config.batch)
    order = sorted(range(len(found.names)), key=lambda label: -found.sizes[label].count)
    return {
        "data": " ".join(map(str, config.sources().folders)),
        "split": SPLIT,
        "imgsz": config.imgsz,
        "batch": config.batch,
        "model": config.model,
        "heads": config.heads or None,
        "precision": report.precision,
        "n_images": found.n_images,
        "n_symbols": found.n_symbols,
        "gpu": asdict(report.gpu),
        "symbols": asdict(found.symbols) if found.symbols else None,
        "stages": [asdict(stage) for stage in found.stages],
        "batch_max": asdict(fullest) if fullest else None,
        "batch_sum": asdict(whole) if whole else None,
        "epoch_most": asdict(epoch) if epoch else None,
        "classes": [_class(found, label) for label in order],
        "contest": _contest(found, order),
        "priors": [asdict(prior) | {"group": prior.group or ""} for prior in found.start.priors],
        "memory": report.memory.to_json(),
        "memory_over_batch": [
            _at_peak(row) | {"ultralytics_assigner_bytes": dense}
            for row, dense in zip(report.memory_over_batch, report.dense_bytes, strict=True)
        ],
        "memory_ultralytics_assigner_bytes": next(iter(report.dense_by_version.values())),
        "ultralytics_assigner_by_version": report.dense_by_version,
        "suggest": asdict(report.suggest) if report.suggest else None,
        "problem": report.problem,
    }


def _class(found: Survey, label: int) -> Json:
    size, points, start = found.sizes[label], found.anchors[label], found.start.classes[label]
    shares = points.candidates
    return {
        "name": size.name,
        "count": size.count,
        "share": size.count / max(found.n_symbols, 1),
        "width_px": asdict(size.width) if size.width else None,
        "height_px": asdict(size.height) if size.height else None,
        "under_1px": size.under_1px,
        "under_2px": size.under_2px,
        "under_4px": size.under_4px,
        "factor_for_4px": found.scale.get(size.name),
        "no_candidate": shares.none if shares else None,
        "one_candidate": shares.one if shares else None,
        "two_candidates": shares.two if shares else None,
        "dropped": size.dropped,
        "dropped_by_stock_filter": size.dropped_by_ultralytics,
        "representation": _representation(found, label),
        "start": _starts(start.stock, start.own),
    }


def _representation(found: Survey, label: int) -> Json | None:
    """Ceilings by the ways of saying a box; a head without distributions has the same twice."""
    if not found.sizes[label].count:
        return None
    own = found.ceilings.classes[label].settings
    ways: Json = {}
    for setting, reach in own.items():
        kind, _, fine = setting.partition(", ")
        for name in ("stock", "signed") if kind == "free" else (kind,):
            ways[f"{name}_p2" if fine else name] = _reach(reach)
    return ways


def _reach(reach: Reach | None) -> Json | None:
    return {"0.5": reach.iou50, "0.75": reach.iou75, "0.9": reach.iou90} if reach else None


def _starts(stock: Start | None, own: Start | None) -> Json | None:
    if not stock or not own:
        return None
    return {"stock": _start(stock), "ours": _start(own)}


def _start(start: Start) -> Json:
    """What a class starts with; it learns if it has a weight, and half of its labels at least."""
    return asdict(start) | {"learns": not start.cold and not is_dropped(start)}


def _contest(found: Survey, order: Iterable[int]) -> Json | None:
    if not found.n_symbols:
        return None
    contest = found.contest
    return {
        "points": contest.points,
        "contested": contest.contested,
        "without_candidate": contest.without_candidate,
        "ceiling_single": contest.ceiling_single,
        "ceiling_heads": contest.ceiling_heads,
        "collisions": [
            {"a": pair.first, "b": pair.second, "points": pair.points} for pair in contest.top_pairs
        ],
        "matrix": [[contest.collisions[a][b] for b in order] for a in order],
    }


def _at_peak(row: StepMemory) -> Json:
    """Lines that add up to the total, for a stack."""
    lines = {f"{kind}_bytes": 0 for kind in (*KINDS, *KINDS_OF_CUDA)}
    lines |= {f"{kind}_bytes": n_bytes for kind, n_bytes in row.at_peak.items()}
    return lines | {"batch": row.batch, "total_bytes": row.total_bytes}
