"""Files of a comparison: ``comparison.html``, ``comparison.md`` and ``comparison.json``."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.reports.comparison import ComparisonReport, Difference, ModelComparison
from eval.reports.comparison_page import comparison_page, method, subtitle
from eval.reports.comparison_text import (
    METRIC_NAMES,
    by_chance,
    class_table,
    evidence,
    groups_of,
    headline,
    mean_of,
    means_table,
    pair_title,
    protocol_warning,
    ranking_table,
    scope,
    settings_table,
    verdict_of,
)
from eval.reports.markdown import escaped, markdown_table


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonFiles:
    """Files to write, in existing folders."""

    html: Path
    markdown: Path
    json: Path


def write_comparison(files: ComparisonFiles, comparison: ModelComparison) -> None:
    """Write a comparison as a web page, as Markdown and as JSON.

    Args:
        files: Files to write.
        comparison: Comparison with all figures.

    Raises:
        OSError: A file cannot be written.
    """
    text = json.dumps(comparison_json(comparison), indent=1, allow_nan=False)
    files.json.write_text(text + "\n", encoding="utf-8")
    files.markdown.write_text(comparison_markdown(comparison), encoding="utf-8")
    files.html.write_text(comparison_page(comparison), encoding="utf-8")


def comparison_json(comparison: ModelComparison) -> dict[str, Any]:
    """Return a comparison as nested dicts, lists and numbers, with None for missing values.

    The comparison of two models is on the top level; those of more models are in a list.
    """
    first = comparison.reports[0]
    entries = [
        {"a": "A", "b": model.letter, **_report_json(report, model.letter)}
        for model, report in zip(comparison.models[1:], comparison.reports, strict=True)
    ]
    compared = entries[0] if len(entries) == 1 else {"comparisons": entries}
    groups = zip(comparison.models, groups_of(comparison), strict=True)
    ranking = [row[0] for row in ranking_table(comparison).rows]
    return {
        "headline": headline(comparison),
        "metric": first.metric,
        "unit": comparison.unit,
        "pages": first.n_pages,
        "samples": first.n_bootstrap,
        "seed": first.seed,
        "models": [
            {
                "letter": model.letter,
                "folder": model.name,
                "runs": list(model.runs),
                "macro": list(group.macro),
                "mean": group.mean,
                "spread": group.spread,
            }
            for model, group in groups
        ],
        "ranking": ranking,
        "protocol_differences": list(comparison.protocol_differences),
        "notes": list(comparison.notes),
        **compared,
    }


def _report_json(report: ComparisonReport, letter: str) -> dict[str, Any]:
    def entry(key: str) -> dict[str, Any]:
        difference = mean_of(report, key)
        return {report.metric: difference.difference, **_limits(difference)}

    return {
        "verdict": verdict_of(report.verdict, letter),
        "difference": entry("macro"),
        **{
            key: entry(key) | {"verdict": verdict_of(mean_of(report, key).verdict, letter)}
            for key in ("frequent_macro", "instance_weighted")
        },
        "classes": [
            {
                "name": row.name,
                "truths": row.n_truths,
                "a": row.ap.a,
                "b": row.ap.b,
                "difference": row.ap.difference,
                **_limits(row.ap),
                "verdict": verdict_of(row.ap.verdict, letter),
            }
            for row in report.classes
        ],
    }


def _limits(difference: Difference) -> dict[str, float | None]:
    interval = difference.interval
    return {
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
    }


def comparison_markdown(comparison: ModelComparison) -> str:
    """Return a comparison as Markdown, without figures."""
    parts = [f"# {escaped(headline(comparison))}", escaped(subtitle(comparison))]
    others = list(zip(comparison.models[1:], comparison.reports, strict=True))
    parts += [f"**{escaped(evidence(report, model.letter))}**" for model, report in others]
    parts += [escaped(line) for line in (protocol_warning(comparison), *comparison.notes) if line]
    metric = METRIC_NAMES[comparison.reports[0].metric]
    parts += [f"## Ranking by macro {metric}", markdown_table(ranking_table(comparison))]
    parts.append(escaped(f"{method(comparison)} {scope(comparison)}"))
    for model, report in others:
        parts += [
            f"## {escaped(pair_title(comparison.models[0], model))}",
            markdown_table(means_table(report, model.letter)),
            escaped(by_chance(report, model.letter)),
            markdown_table(class_table(report, model.letter)),
        ]
    parts += ["## Inputs and settings", markdown_table(settings_table(comparison))]
    return "\n\n".join(parts) + "\n"
