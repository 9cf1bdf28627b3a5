import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluation_samples import SUBJECT, crowded, empty, evaluation, full, metrics, report_of

from eval.reports.evaluation import Calibration, CalibrationBin, EvaluationReport, OtherProtocols
from eval.reports.evaluation_files import EvaluationFiles, write_evaluation_report
from eval.reports.evaluation_json import evaluation_json
from eval.reports.evaluation_markdown import evaluation_markdown
from eval.reports.evaluation_page import evaluation_page
from eval.reports.markdown import escaped

FULL = full()


def files(folder: Path) -> EvaluationFiles:
    return EvaluationFiles(
        html=folder / "report.html", markdown=folder / "report.md", json=folder / "report.json"
    )


def cells(markdown: str, first: str) -> list[str]:
    """Return the cells of the first table row that starts with a text."""
    row = next(line for line in markdown.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def test_an_empty_report_is_written(tmp_path: Path) -> None:
    write_evaluation_report(files(tmp_path), empty(), SUBJECT)
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert content["classes"] == content["page_errors"] == []
    assert content["macro"]["ap50"] is content["calibration"]["ece"] is None
    assert "No class has truths." in (tmp_path / "report.md").read_text("utf-8")


def test_three_files_with_the_same_content_are_written(tmp_path: Path) -> None:
    write_evaluation_report(files(tmp_path), FULL, SUBJECT, extra={"trained_on": {"share": 0.0}})
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    expected = evaluation_json(FULL, split="val") | {"trained_on": {"share": 0.0}}
    assert content == json.loads(json.dumps(expected))
    assert (tmp_path / "report.md").read_text("utf-8") == evaluation_markdown(FULL, SUBJECT)
    assert (tmp_path / "report.html").read_text("utf-8") == evaluation_page(FULL, SUBJECT)


def test_a_score_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    other = OtherProtocols(voc2007=float("nan"), voc2010=None, ultralytics=None)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_evaluation_report(files(tmp_path), replace(FULL, other=other), SUBJECT)
    assert not list(tmp_path.iterdir())


def test_the_json_has_the_documented_keys() -> None:
    content = evaluation_json(FULL, split="val")
    assert (content["unit"], content["split"], content["pages"]) == ("page", "val", 3)
    for key in ("macro", "frequent_macro", "instance_weighted"):
        mean = getattr(FULL.detection, key)
        expected = {"ap": mean.ap, "ap50": mean.ap50, "ap75": mean.ap75}
        assert expected.items() <= content[key].items()
        assert (content[key]["ap50_low"], content[key]["ap50_high"]) == (0.5, 0.75)
    assert content["voc2007"]["map50"] == 0.611
    assert content["voc2010"]["map50"] == 0.622
    assert content["ultralytics"]["map50"] == 0.633
    assert content["tide"]["delta_ap"]["localisation"] == 0.0712
    assert content["tide"]["count"]["localisation"] == 900
    assert content["work_next"]["priorities"][0]["name"] == "stem"
    assert content["work_next"]["rare"] == ("tie (12)",)


def test_classes_of_the_json() -> None:
    rows = evaluation_json(FULL, split="val")["classes"]
    assert [row["name"] for row in rows] == [row.name for row in FULL.detection.classes]
    stem = {key: rows[1][key] for key in ("truths", "predictions", "ap50", "best_threshold")}
    assert stem == {"truths": 1800, "predictions": 1800, "ap50": 0.45, "best_threshold": 0.31}
    assert (rows[1]["ap50_low"], rows[1]["ap50_high"]) == pytest.approx((0.4, 0.5))
    assert rows[1]["best_f1"] == pytest.approx(2 * 0.6 * 0.53 / 1.13)
    assert (rows[1]["imprecise_symbols"], rows[1]["imprecise_predictions"]) == (300, 500)
    absent = {key: value for key, value in rows[4].items() if value is not None}
    assert absent == {"name": "accidentalQuarterToneSharpStein", "truths": 0, "predictions": 7}


@pytest.mark.parametrize(
    ("heads", "ece"),
    [
        ([], None),
        ([(None, 0)], None),
        ([(0.1, 30)], 0.1),
        ([(0.1, 30), (0.3, 10), (None, 0)], 0.15),
    ],
)
def test_the_calibration_error_is_weighted_by_predictions(
    heads: list[tuple[float | None, int]], ece: float | None
) -> None:
    calibration = tuple(
        Calibration(
            head=f"{i}",
            ece=error,
            bins=(CalibrationBin(confidence=0.5, precision=0.5, n_predictions=n),) if n else (),
        )
        for i, (error, n) in enumerate(heads)
    )
    content = evaluation_json(replace(FULL, calibration=calibration), split="val")
    assert content["calibration"]["ece"] == (None if ece is None else pytest.approx(ece))


def test_markdown_starts_with_the_scores_and_the_class_to_work_on() -> None:
    lines = [line for line in evaluation_markdown(FULL, SUBJECT).splitlines() if line]
    assert lines[:3] == [
        "# Macro AP50 0.738 (95% interval 0.500 to 0.750)",
        r"\<best\>.pt on the split val of data/a\&b: 3 pages, 4,632 truths, 4,639 predictions",
        "**Work on stem next: found, but the boxes are too imprecise.**",
    ]


def test_markdown_explains_its_columns() -> None:
    text = evaluation_markdown(FULL, SUBJECT)
    assert "at the chosen threshold, 0.25." in text
    assert "Predictions of any confidence are counted" in text


def test_markdown_contains_the_figures() -> None:
    text = evaluation_markdown(FULL, SUBJECT)
    assert cells(text, "Macro mean")[1:5] == ["0.738", "0.500 to 0.750", "0.591", "0.517"]
    assert cells(text, "PASCAL VOC 2007")[1] == "0.611"
    assert cells(text, "stem")[:7] == [
        "stem", "1,800", "1,800", "0.450", "0.400 to 0.500", "0.360", "0.315",
    ]  # fmt: skip
    assert cells(text, "localisation")[1:3] == ["900", "0.0712"]
    assert cells(text, "thin") == ["thin", "0.031", "3,240"]
    assert cells(text, "Bravura") == ["Bravura", "2", "100", "0.500", "0.600"]
    assert cells(text, r"\<p\>0.png")[1:] == ["1,544", "1,158", "386", "3"]
    assert cells(text, "hash") == ["hash", "0123abcd"]
    assert r"* Note \<1\>." in text
    assert "1. **stem**: found, but the boxes are too imprecise. AP50 0.450; if every" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("a|b", r"a\|b"),
        ("<b>*x*_y_`z`", r"\<b\>\*x\*\_y\_\`z\`"),
        ("a\n| b\r\n", r"a \| b"),
        ("[a](b) \\ #1 ~c~ &lt;", r"\[a\](b) \\ \#1 \~c\~ \&lt;"),
    ],
)
def test_markdown_is_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected


@pytest.mark.parametrize("report", [FULL, crowded(136), empty()])
def test_markdown_tables_are_rectangular_and_free_of_html(report: EvaluationReport) -> None:
    text = evaluation_markdown(report, SUBJECT)
    assert not re.search(r"(?<!\\)<", text)
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1
        assert not rows or re.fullmatch(r"\|( (:--|--:) \|)+", rows[1])


def test_one_class_is_written(tmp_path: Path) -> None:
    row = metrics("a", 3, 1.0, ap75=1.0, ap=1.0)
    report: Any = report_of([(row, evaluation(row))], n_pages=1)
    write_evaluation_report(files(tmp_path), report, SUBJECT)
    assert "AP50-95 is at least 0.99 for all classes." in (tmp_path / "report.md").read_text(
        "utf-8"
    )
