"""Writes what ``omr analyze-density`` found as a web page in one file.

The answer comes first: what to launch, and whether it fits. Then the plots that show why. Parts of
the report that are None or empty are said to be missing, in a line.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from class_maps import some
from converters.reproduce_command import TO_CUT
from eval.html.number_format import amount, counted, memory, share
from eval.html.plots import histogram
from eval.html.web_page import (
    bullets,
    code,
    facts,
    page,
    paragraph,
    section,
    side_by_side,
    subheading,
    table,
    verdict,
)
from eval.reports.density_classes import class_sections, left_out
from eval.reports.density_memory import memory_section

Report: TypeAlias = Mapping[str, Any]
"""What ``omr analyze-density --json`` prints, or a part of it."""

_NAMED = 10
"""Classes that a sentence names."""


def write_density_report(report: Report, file: Path) -> None:
    """Write the page; it needs no network, and no other file.

    Args:
        report: What ``omr analyze-density --json`` prints. Rows and columns of the collisions'
            matrix are in the order of ``classes``.
        file: The page to write; its folder is there.

    Raises:
        OSError: It cannot be written.
        ValueError: The matrix of collisions is not one of these classes.
    """
    file.write_text(density_page(report), encoding="utf-8")


def density_page(report: Report) -> str:
    """Make the page of a report, as :func:`write_density_report` writes it."""
    parts = (
        _head(report),
        _numbers(report),
        _suggestion(report),
        memory_section(report),
        _symbols(report),
        class_sections(report),
    )
    return page(f"Density of {report['data']}", "".join(parts))


def _head(report: Report) -> str:
    kind, answer = _answer(report)
    heads = f", heads {report['heads']}" if report["heads"] else ""
    about = (
        f"{report['model']}{heads}, {report['imgsz']} px, batch {report['batch']}, "
        f"{report['precision']}, split {report['split']} of {report['data']}"
    )
    suggest = report["suggest"]
    command = code(suggest["command"]) if suggest else ""
    problem = paragraph(report["problem"]) if report["problem"] else ""
    said = problem + "".join(paragraph(entry) for entry in _fits(report))
    lines = paragraph(about, "muted") + said
    return verdict(kind, answer, lines + command)


def _answer(report: Report) -> tuple[str, str]:
    """Say in one line what to do, and whether that is good, bad or open."""
    suggest, gpu = report["suggest"], report["gpu"]
    if not report["n_images"]:
        return "bad", f"There is no image in the split {report['split']}."
    if not report["n_symbols"]:
        return "bad", f"No image of the split {report['split']} has a symbol."
    if not suggest:
        if report["problem"]:
            where = f" on {gpu['name']}" if gpu else ""
            return "bad", f"There is nothing to launch{where}."
        return "open", "There is no suggestion."
    launch = f"batch {suggest['batch']} at {suggest['imgsz']} px"
    need = _need(report)
    if not gpu:
        return "open", f"Launch with {launch}; no GPU was named to hold it against."
    if need is None:
        return "open", f"Launch with {launch}; its memory is not known."
    if need["total_bytes"] > gpu["usable_bytes"]:
        return "bad", f"{launch[0].upper()}{launch[1:]} does not fit on {gpu['name']}."
    return "good", f"Launch with {launch}: it fits on {gpu['name']}."


def _need(report: Report) -> Report | None:
    """What the suggested batch needs, or the one that was asked about."""
    batch = (report["suggest"] or report)["batch"]
    rows = [row for row in report["memory_over_batch"] if row["batch"] == batch]
    if rows:
        return dict(rows[0])
    need: Report | None = report["memory"]
    return need if batch == report["batch"] else None


def _fits(report: Report) -> list[str]:
    gpu, need = report["gpu"], _need(report)
    said = []
    if need:
        said.append(f"A step needs {memory(need['total_bytes'])}")
        if gpu:
            usable = gpu["usable_bytes"]
            said[0] += (
                f": {share(need['total_bytes'] / usable)} of the {memory(usable)} that "
                f"{gpu['name']} has for it (of {memory(gpu['total_bytes'])})"
            )
        said[0] += "."
    if need:
        said += _assigners(report, need)
    if stock := left_out(report["classes"], "stock"):
        classes = counted(_present(report), "class", "classes")
        said.append(
            f"At Ultralytics' start {len(stock)} of {classes} have no weight in the loss, or lose "
            "most labels."
        )
    if own := left_out(report["classes"], "ours"):
        said.append(f"At the start of omr train so it is with {some(own, _NAMED)}.")
    return said


def _assigners(report: Report, need: Report) -> list[str]:
    """Hold our assigner against those of Ultralytics."""
    rest = need["total_bytes"] - need["assigner_bytes"]
    stock = {"": need.get("ultralytics_assigner_bytes")}
    if need["batch"] == report["batch"]:
        stock = report["ultralytics_assigner_by_version"] or stock
    said = [f"The assigner takes {memory(need['assigner_bytes'])} of it."]
    usable = report["gpu"]["usable_bytes"] if report["gpu"] else None
    for version, n_bytes in stock.items():
        if n_bytes is not None:
            name = f"Ultralytics {version}".strip()
            line = f"That of {name} would take {memory(n_bytes)}, and the step "
            line += memory(rest + n_bytes)
            said.append(line + (": out of memory." if usable and rest + n_bytes > usable else "."))
    return said


def _present(report: Report) -> int:
    return sum(1 for row in report["classes"] if row["count"])


def _numbers(report: Report) -> str:
    spread, batch = report["symbols"], report["batch"]
    classes = counted(_present(report), "class", "classes")
    entries = [
        ("images", amount(report["n_images"]), ""),
        ("symbols", amount(report["n_symbols"]), f"of {classes}"),
    ]
    if spread:
        more = f"P99 {amount(spread['p99'])}, most {amount(spread['max'])}"
        entries.append(("symbols an image", amount(spread["mean"]), more))
    for key, what in (
        ("batch_max", f"fullest image in a batch of {batch}"),
        ("batch_sum", f"symbols in a batch of {batch}"),
    ):
        if found := report[key]:
            more = f"at most {amount(found['p999'])} in 999 of 1,000"
            entries.append((what, amount(found["expected"]), more))
    if most := report["epoch_most"]:
        more = f"fullest image {amount(most['image'])}"
        entries.append(("symbols in an epoch's fullest batch", amount(most["batch"]), more))
    return facts(entries)


def _suggestion(report: Report) -> str:
    suggest = report["suggest"]
    if not suggest:
        return section("suggestion", "Settings", paragraph("None: see above why."))
    together = suggest["batch"] * suggest["accumulate"]
    settings = (
        ("batch", str(suggest["batch"]), ""),
        (
            "accumulate",
            str(suggest["accumulate"]),
            f"{counted(together, 'image', 'images')} an update",
        ),
        ("imgsz", f"{suggest['imgsz']} px", ""),
        ("tile", f"{suggest['tile']} px" if suggest["tile"] else "none", ""),
        ("max_det", amount(suggest["max_det"]), "detections an image"),
        ("workers", str(suggest["workers"]), ""),
    )
    cut = ""
    if suggest["convert_command"]:
        cut = paragraph(TO_CUT) + code(suggest["convert_command"], "convert-command")
    return section("suggestion", "Settings", facts(settings) + bullets(suggest["reasons"]) + cut)


def _symbols(report: Report) -> str:
    stages = report["stages"]
    if not any(stage["symbols"] for stage in stages):
        return section("symbols", "Symbols an image", paragraph("No image, so nothing to count."))
    pictures = []
    for i, stage in enumerate(stages):
        if stage["mean"] is not None and not stage["histogram"]:
            continue  # only the mean is known: it stands in the table
        said = f"{stage['name']}, {counted(stage['n_images'], 'image', 'images')}"
        if spread := stage["symbols"]:
            said += f": mean {amount(spread['mean'])}, P95 {amount(spread['p95'])}"
        counts = [(n_symbols, n_images) for n_symbols, n_images in stage["histogram"]]
        picture = histogram(f"plot-stage-{i}", f"Symbols an image {said}", counts)
        pictures.append(subheading(said) + picture)
    body = (
        paragraph("How many images hold how many symbols. Each plot has scales of its own.")
        + side_by_side("plot-stages", pictures)
        + _stage_table(stages)
    )
    return section("symbols", "Symbols an image", body)


def _stage_table(stages: list[Report]) -> str:
    columns = ("p50", "p95", "p99", "max")
    rows = [
        (
            stage["name"],
            amount(stage["n_images"]),
            amount(stage["mean"]),
            *(amount((stage["symbols"] or {}).get(column)) for column in columns),
        )
        for stage in stages
    ]
    headings = ("stage", "images", "mean", "P50", "P95", "P99", "most")
    return table("Symbols an image at each stage", headings, rows)
