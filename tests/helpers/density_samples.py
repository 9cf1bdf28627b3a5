"""Sample reports of ``omr analyze-density``: an ordinary one, one at the limits, an empty one."""

from dataclasses import replace
from typing import Any

import numpy as np

from eval.reports.density_figures import (
    AnchorCompetition,
    BatchMax,
    BatchSum,
    ClassCollision,
    ClassDensity,
    EpochMax,
    InitialWeight,
    InitialWeights,
    PipelineStage,
    RecallAtIou,
    Representation,
    SideSpread,
    StartingBox,
    SymbolSpread,
)
from eval.reports.density_report import (
    BatchMemory,
    DensityReport,
    Recommendation,
    StepMemory,
    TargetGpu,
)

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


def full(n_classes: int = len(NAMES)) -> DensityReport:
    """Return a report without gaps; its numbers are invented but consistent."""
    rng = np.random.default_rng(6)
    names = [*NAMES, *(f"class{i}" for i in range(len(NAMES), n_classes))][:n_classes]
    counts = [int(220_000 / (1 + i) ** 1.3) for i in range(n_classes)]
    counts[-1] = 0
    competition = _competition(names, rng)
    return replace(
        empty(),
        data="data/deepscores <dense>",
        n_images=1714,
        n_symbols=sum(counts),
        heads="stems",
        symbols=_spread(rng.poisson(640, 500)),
        stages=_stages(rng),
        batch_max=BatchMax(expected=1620.4, p999=2140),
        batch_sum=BatchSum(expected=20_480.0, p999=27_400),
        epoch_max=EpochMax(image=2_150.0, batch=25_100.0),
        classes=tuple(
            _class(name, n, sum(counts), rng) for name, n in zip(names, counts, strict=True)
        ),
        anchor_competition=competition,
        priors=tuple(
            StartingBox(group=group, stride=stride, width_px=stride * w, height_px=stride * h)
            for group, w, h in (
                ("noteheads", 1.2, 1.0),
                ("stems", 0.2, 3.4),
                ("<others>", 1.5, 1.8),
            )
            for stride in (8, 16, 32)
        ),
        memory_over_batch=tuple(_memory(batch) for batch in (1, 2, 4, 8, 16, 24, 32, 48, 64)),
        recommendation=_recommendation(),
    )


def _recommendation() -> Recommendation:
    return Recommendation(
        batch=48,
        accumulate=2,
        imgsz=640,
        tile=640,
        larger=None,
        too_small=(),
        without_area=(),
        max_det=3300,
        workers=8,
        cache_bytes=2 * GIB,
        command="omr train data/deepscores --model yolo11n --imgsz 640 --batch 48 "
        "--accumulate 2 --heads stems --max-det 3300 --workers 8 --precision bf16",
        convert_command="omr convert SOURCE deepscores-tile640 --classes full --tile 640",
        reasons=(
            "batch 48: the largest that fits with 10 % to spare when a batch as full as one in "
            "a thousand comes",
            "tile 640: 95 % of 41 wanted classes are at least 4 px; stem & ledgerLine cannot be",
        ),
    )


def _competition(names: list[str], rng: np.random.Generator) -> AnchorCompetition:
    n_classes = len(names)
    matrix = np.zeros((n_classes, n_classes), dtype=int)
    for a in range(min(n_classes, 16)):
        for b in range(a, min(n_classes, 16)):
            if rng.random() < 0.45:
                matrix[a, b] = matrix[b, a] = int(rng.pareto(0.8) * 300)
    pairs = [(a, b) for a in range(n_classes) for b in range(a, n_classes) if matrix[a, b]]
    pairs.sort(key=lambda pair: -matrix[pair])
    return AnchorCompetition(
        points=8_400,
        contested=2_611,
        without_candidate=0,
        max_recall_single_head=0.964,
        max_recall_heads=1.0,
        collisions=tuple(
            ClassCollision(a=names[a], b=names[b], points=int(matrix[a, b])) for a, b in pairs[:20]
        ),
        matrix=tuple(tuple(row) for row in matrix.tolist()),
    )


def crowded() -> DensityReport:
    """Return a report at its limits: many classes, odd names, a dense assigner that cannot fit."""
    report = full(208)
    classes = [*report.classes]
    for i in range(3, 9):
        start = classes[i].start
        assert start is not None
        classes[i] = replace(
            classes[i], start=replace(start, ours=replace(start.ours, learns=False))
        )
    classes[5] = replace(classes[5], name="a" * 70)
    classes[6] = replace(classes[6], name="<script>alert(1)</script>")
    labelled, cleaned, tiled, trained = report.stages
    cleaned = replace(cleaned, n_images=1, symbols=_spread(np.array([5])), histogram=((5, 1),))
    tiled = replace(tiled, n_images=0, mean=None, symbols=None, histogram=())
    return replace(
        report,
        anchor_competition=None,
        gpu=gpu("RTX 3060", 12 * GIB, 10 * GIB),
        memory_over_batch=tuple(
            replace(row, ultralytics_assigner_bytes=12 * row.ultralytics_assigner_bytes)
            for row in report.memory_over_batch
        ),
        classes=tuple(classes),
        stages=(labelled, cleaned, tiled, trained),
    )


def empty() -> DensityReport:
    """Return a report of a split without images."""
    return DensityReport(
        data="data/nothing",
        split="train",
        imgsz=640,
        batch=32,
        model="yolo11n",
        heads=None,
        precision="bf16",
        n_images=0,
        n_symbols=0,
        gpu=gpu("RTX 5090", 32607 * 2**20, 30183 * 2**20),
        symbols=None,
        stages=(),
        batch_max=None,
        batch_sum=None,
        epoch_max=None,
        classes=(),
        anchor_competition=None,
        priors=(),
        memory=_maxima(32),
        memory_over_batch=(_memory(32),),
        memory_ultralytics_assigner_bytes=_dense(32),
        ultralytics_version="8.4.190",
        recommendation=None,
        problem="",
    )


def gpu(name: str, total_bytes: int, usable_bytes: int) -> TargetGpu:
    return TargetGpu(
        name=name, total_bytes=total_bytes, usable_bytes=usable_bytes, bf16=True, device="cuda"
    )


def _spread(counts: np.ndarray) -> SymbolSpread:
    p50, p95, p99 = np.percentile(counts, [50, 95, 99], method="inverted_cdf").tolist()
    return SymbolSpread(mean=float(counts.mean()), p50=p50, p95=p95, p99=p99, max=int(counts.max()))


def _stages(rng: np.random.Generator) -> tuple[PipelineStage, ...]:
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
        stages.append(
            PipelineStage(
                name=name,
                n_images=len(counts),
                mean=float(counts.mean()),
                symbols=_spread(counts),
                histogram=tuple(zip(values.tolist(), n_images.tolist(), strict=True)),
            )
        )
    return tuple(stages)


def _class(name: str, count: int, total: int, rng: np.random.Generator) -> ClassDensity:
    thin = name in THIN or "Line" in name or rng.random() < 0.45
    width = float(rng.uniform(0.6, 2.5) if thin else rng.uniform(4, 14))
    height = float(rng.uniform(5, 40))
    if name in {"beam", "slur", "tie", "staffLine", "crescendoHairpin"}:
        width, height = height * 4, width
    small = min(width, height)
    return ClassDensity(
        name=name,
        count=count,
        share=count / total,
        width_px=_sizes(width) if count else None,
        height_px=_sizes(height) if count else None,
        under_1px=float(small < 1) * 0.62 if count else None,
        under_2px=float(small < 2) * 0.93 if count else None,
        under_4px=float(small < 4) if count else None,
        factor_for_4px=4 / small if count else None,
        no_candidate=0.0,
        one_candidate=0.004,
        two_candidates=0.031,
        dropped=0.0,
        dropped_by_stock_filter=float(small <= 2) * 0.97,
        representation=_representation(small) if count else None,
        start=InitialWeights(
            stock=weight(iou=small / 400, weight=1e-14, learns=small > 6),
            ours=weight(iou=small / 15, weight=0.01, learns=small > 0.75),
        )
        if count
        else None,
    )


def _representation(small: float) -> Representation:
    stock = float(np.clip(small / 9, 0.02, 1))
    return Representation(
        stock=RecallAtIou(iou50=stock, iou75=stock * 0.7, iou90=stock * 0.4),
        signed=RecallAtIou(iou50=1.0, iou75=0.9999, iou90=0.97),
        stock_p2=RecallAtIou(iou50=min(1, stock * 1.6), iou75=stock, iou90=stock * 0.7),
        signed_p2=RecallAtIou(iou50=1.0, iou75=1.0, iou90=0.99),
    )


def weight(*, iou: float, weight: float, learns: bool) -> InitialWeight:
    return InitialWeight(
        stride=8.0, width_px=9.0, height_px=9.0, iou=iou, dropped=0.0, overlap=iou, metric=weight,
        weight=weight, zero_weight=not learns, learns=learns,
    )  # fmt: skip


def _sizes(median: float) -> SideSpread:
    return SideSpread(
        p5=median * 0.7, p25=median * 0.9, p50=median, p75=median * 1.15, p95=median * 1.9
    )


def _lines(batch: int) -> dict[str, int]:
    return {
        "parameters": 10_400_000,
        "gradients": 10_400_000,
        "optimizer": 20_800_000,
        "ema": 10_400_000,
        "activations": batch * 520_000_000,
        "loss": batch * 16_000_000,
        "assigner": batch * 1_600_000,
        "workspace": 431_360_320,
        "inputs": batch * 4_915_200,
        "buffers": 120_000,
        "allocator": 20_000_000,
        "library": 8_519_680,
        "guard": 0,
    }


def _bytes(lines: dict[str, int]) -> dict[str, Any]:
    return {f"{purpose}_bytes": n_bytes for purpose, n_bytes in lines.items()}


def _memory(batch: int) -> BatchMemory:
    lines = _lines(batch)
    return BatchMemory(
        batch=batch,
        total_bytes=sum(lines.values()),
        ultralytics_assigner_bytes=_dense(batch),
        **_bytes(lines),
    )


def _maxima(batch: int) -> StepMemory:
    """Return the maximum of each line; at the peak the loss is already freed."""
    lines = _lines(batch)
    at_peak = lines | {"loss": 0}
    return StepMemory(
        batch=batch,
        n_anchors=8400,
        total_bytes=sum(at_peak.values()),
        peak_phase="backward",
        at_peak=at_peak,
        **_bytes(lines | {"guard": 90_000_000}),  # in main memory
    )


def _dense(batch: int) -> int:
    return 20 * batch * 2140 * 8400
