"""Reports of ``omr analyze-density`` to draw: an ordinary one, one at the limits, an empty one."""

from typing import Any

import numpy as np

GIB = 2**30
THIN = (
    "stem",
    "barlineSingle",
    "ledgerLine",
    "beam",
    "staffLine",
    "tie",
    "slur",
    "augmentationDot",
)
NAMES = (
    "noteheadBlackOnLine", "noteheadBlackInSpace", "stem", "beam", "ledgerLine", "barlineSingle",
    "accidentalSharp", "accidentalFlat", "accidentalNatural", "accidentalDoubleSharp",
    "augmentationDot", "restQuarter", "rest8th", "rest16th", "restHalf", "restWhole",
    "noteheadHalfOnLine", "noteheadHalfInSpace", "noteheadWholeOnLine", "flag8thUp", "flag8thDown",
    "flag16thUp", "clefG", "clefF", "clefCAlto", "keySharp", "keyFlat", "slur", "tie", "staffLine",
    "timeSig4", "timeSigCommon", "dynamicP", "dynamicF", "dynamicMezzo", "fermataAbove",
    "articStaccatoAbove", "articStaccatoBelow", "articAccentAbove", "articTenutoBelow", "tuplet3",
    "brace", "repeatDot", "barlineDouble", "barlineFinal", "crescendoHairpin", "diminuendoHairpin",
    "graceNoteAcciaccaturaStemUp", "ornamentTrill", "ornamentMordent", "arpeggiato", "fingering1",
    "pedalMark", "tremolo1", "segno", "coda", "breathMark", "stringsUpBow", "stringsDownBow",
    "accidentalQuarterToneSharpStein",
)  # fmt: skip


def full(n_classes: int = len(NAMES)) -> dict[str, Any]:
    """A report with everything in it; its numbers are invented, and agree with each other."""
    rng = np.random.default_rng(6)
    names = [*NAMES, *(f"class{i}" for i in range(len(NAMES), n_classes))][:n_classes]
    counts = [int(220_000 / (1 + i) ** 1.3) for i in range(n_classes)]
    counts[-1] = 0
    matrix = np.zeros((n_classes, n_classes), dtype=int)
    for a in range(min(n_classes, 16)):
        for b in range(a, min(n_classes, 16)):
            if rng.random() < 0.45:
                matrix[a, b] = matrix[b, a] = int(rng.pareto(0.8) * 300)
    pairs = [(a, b) for a in range(n_classes) for b in range(a, n_classes) if matrix[a, b]]
    pairs.sort(key=lambda pair: -matrix[pair])
    return empty() | {
        "data": "data/deepscores <dense>",
        "n_images": 1714,
        "n_symbols": sum(counts),
        "heads": "stems",
        "gpu": _gpu("RTX 5090", 32607 * 2**20, 30183 * 2**20),
        "symbols": _spread(rng.poisson(640, 500)),
        "stages": _stages(rng),
        "batch_max": {"expected": 1620.4, "p999": 2140},
        "batch_sum": {"expected": 20_480.0, "p999": 27_400},
        "epoch_most": {"image": 2_150.0, "batch": 25_100.0},
        "classes": [
            _class(name, n, sum(counts), rng) for name, n in zip(names, counts, strict=True)
        ],
        "contest": {
            "points": 8_400,
            "contested": 2_611,
            "ceiling_single": 0.964,
            "ceiling_heads": 1.0,
            "collisions": [
                {"a": names[a], "b": names[b], "points": int(matrix[a, b])} for a, b in pairs[:20]
            ],
            "matrix": matrix.tolist(),
        },
        "priors": [
            {"group": group, "stride": stride, "width_px": stride * w, "height_px": stride * h}
            for group, w, h in (
                ("noteheads", 1.2, 1.0),
                ("stems", 0.2, 3.4),
                ("<others>", 1.5, 1.8),
            )
            for stride in (8, 16, 32)
        ],
        "memory": _highest(32),
        "memory_over_batch": [
            _memory(batch) | {"batch": batch, "ultralytics_assigner_bytes": _dense(batch)}
            for batch in (1, 2, 4, 8, 16, 24, 32, 48, 64)
        ],
        "memory_ultralytics_assigner_bytes": _dense(32),
        "ultralytics_assigner_by_version": {"8.4.190": _dense(32), "8.3.40": 3 * _dense(32)},
        "suggest": {
            "batch": 48,
            "accumulate": 2,
            "imgsz": 640,
            "tile": 640,
            "max_det": 3300,
            "workers": 8,
            "command": "omr train data/deepscores --model yolo11n --imgsz 640 --batch 48 "
            "--accumulate 2 --heads stems --max-det 3300 --workers 8 --precision bf16",
            "convert_command": "omr convert SOURCE deepscores-tile640 --classes full --tile 640",
            "reasons": [
                "batch 48: the largest that fits with 10 % to spare when a batch as full as one in "
                "a thousand comes",
                "tile 640: 95 % of 41 wanted classes are at least 4 px; stem & ledgerLine cannot be",
            ],
        },
    }


def crowded() -> dict[str, Any]:
    """A report at its limits: many classes, odd names, a dense assigner far beyond the GPU."""
    report = full(208)
    report["contest"] = None
    report["gpu"] = _gpu("RTX 3060", 12 * GIB, 10 * GIB)
    for row in report["memory_over_batch"]:
        row["ultralytics_assigner_bytes"] *= 12
    for row in report["classes"][3:9]:
        row["start"]["ours"]["learns"] = False
    report["classes"][5]["name"] = "a" * 70
    report["classes"][6]["name"] = "<script>alert(1)</script>"
    report["stages"][1] |= {"n_images": 1, "symbols": _spread(np.array([5])), "histogram": [[5, 1]]}
    report["stages"][2] |= {"n_images": 0, "mean": None, "symbols": None, "histogram": []}
    return report


def empty() -> dict[str, Any]:
    """A report of a split without an image."""
    return {
        "data": "data/nothing",
        "split": "train",
        "imgsz": 640,
        "batch": 32,
        "model": "yolo11n",
        "heads": None,
        "precision": "bf16",
        "n_images": 0,
        "n_symbols": 0,
        "gpu": None,
        "symbols": None,
        "stages": [],
        "batch_max": None,
        "batch_sum": None,
        "epoch_most": None,
        "classes": [],
        "contest": None,
        "priors": [],
        "memory": None,
        "memory_over_batch": [],
        "memory_ultralytics_assigner_bytes": None,
        "ultralytics_assigner_by_version": {},
        "suggest": None,
        "problem": "",
    }


def _gpu(name: str, total_bytes: int, usable_bytes: int) -> dict[str, Any]:
    return {
        "name": name, "total_bytes": total_bytes, "usable_bytes": usable_bytes, "device": "cuda"
    }  # fmt: skip


def _spread(counts: np.ndarray) -> dict[str, Any]:
    p50, p95, p99 = np.percentile(counts, [50, 95, 99], method="inverted_cdf").tolist()
    return {
        "mean": float(counts.mean()), "p50": p50, "p95": p95, "p99": p99, "max": int(counts.max())
    }  # fmt: skip


def _stages(rng: np.random.Generator) -> list[dict[str, Any]]:
    samples = {
        "as labelled": rng.gamma(6, 110, 1714),
        "after cleaning": rng.gamma(6, 105, 1714),
        "after tiling": rng.gamma(3, 40, 9800),
        "as trained": rng.gamma(9, 45, 9800),
    }
    stages = []
    for name, sample in samples.items():
        counts = sample.astype(int)
        values, n_images = np.unique(counts, return_counts=True)
        histogram = np.stack([values, n_images], axis=1).tolist()
        stages.append(
            {
                "name": name,
                "n_images": len(counts),
                "mean": float(counts.mean()),
                "symbols": _spread(counts),
                "histogram": histogram,
            }
        )
    return stages


def _class(name: str, count: int, total: int, rng: np.random.Generator) -> dict[str, Any]:
    thin = name in THIN or "Line" in name or rng.random() < 0.45
    width = float(rng.uniform(0.6, 2.5) if thin else rng.uniform(4, 14))
    height = float(rng.uniform(5, 40))
    if name in {"beam", "slur", "tie", "staffLine", "crescendoHairpin"}:
        width, height = height * 4, width
    small = min(width, height)
    stock = float(np.clip(small / 9, 0.02, 1))
    row = {
        "name": name,
        "count": count,
        "share": count / total,
        "width_px": None,
        "height_px": None,
        "under_1px": float(small < 1) * 0.62,
        "under_2px": float(small < 2) * 0.93,
        "under_4px": float(small < 4),
        "no_candidate": 0.0,
        "one_candidate": 0.004,
        "two_candidates": 0.031,
        "dropped_by_stock_filter": float(small <= 2) * 0.97,
        "representation": None,
        "start": None,
    }
    if not count:
        return row | {"under_1px": 0.0, "under_2px": 0.0, "under_4px": 0.0}
    return row | {
        "width_px": _sizes(width),
        "height_px": _sizes(height),
        "representation": {
            "stock": {"0.5": stock, "0.75": stock * 0.7, "0.9": stock * 0.4},
            "signed": {"0.5": 1.0, "0.75": 0.9999, "0.9": 0.97},
            "stock_p2": {"0.5": min(1, stock * 1.6), "0.75": stock, "0.9": stock * 0.7},
            "signed_p2": {"0.5": 1.0, "0.75": 1.0, "0.9": 0.99},
        },
        "start": {
            "stock": {"iou": small / 400, "weight": 1e-14, "learns": small > 6},
            "ours": {"iou": small / 15, "weight": 0.01, "learns": small > 0.75},
        },
    }


def _sizes(median: float) -> dict[str, float]:
    return {
        "p5": median * 0.7, "p25": median * 0.9, "p50": median, "p75": median * 1.15,
        "p95": median * 1.9,
    }  # fmt: skip


def _memory(batch: int) -> dict[str, int]:
    parts = {
        "parameters_bytes": 10_400_000,
        "gradients_bytes": 10_400_000,
        "optimizer_bytes": 20_800_000,
        "ema_bytes": 10_400_000,
        "activations_bytes": batch * 520_000_000,
        "loss_bytes": batch * 16_000_000,
        "assigner_bytes": batch * 1_600_000,
        "workspace_bytes": 431_360_320,
        "inputs_bytes": batch * 4_915_200,
        "buffers_bytes": 120_000,
        "allocator_bytes": 20_000_000,
        "library_bytes": 8_519_680,
        "guard_bytes": 0,
    }
    return parts | {"total_bytes": sum(parts.values())}


def _highest(batch: int) -> dict[str, Any]:
    """The lines of a step each at its highest, and at the peak: there the loss is gone."""
    parts = _memory(batch)
    total = parts.pop("total_bytes")
    at_peak = {name.removesuffix("_bytes"): n for name, n in parts.items()} | {"loss": 0}
    guard = {"guard_bytes": 90_000_000}  # in main memory
    total -= parts["loss_bytes"]
    return parts | guard | {"batch": batch, "total_bytes": total, "at_peak": at_peak}


def _dense(batch: int) -> int:
    return 20 * batch * 2140 * 8400
