"""Engravings that are continued after a failure."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stopped_runs import contents, stop_after

from converters.engraving import dataset, writing
from converters.engraving.balance import Balance
from converters.engraving.dataset import EngravingOptions, engrave
from converters.engraving.pages import PageOptions

OPTIONS = EngravingOptions(
    pages=4, page=PageOptions(width=400, height=300), val=0.5, segmentation=True
)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("engraved") / "out"
    engrave(out, OPTIONS)
    return contents(out)


@pytest.fixture
def engraved(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Return a list that receives the number of each page that is engraved."""
    numbers: list[int] = []
    original = writing.engrave_page

    def engrave_page(number: int, *arguments: Any) -> Any:  # noqa: ANN401
        numbers.append(number)
        return original(number, *arguments)

    monkeypatch.setattr(writing, "engrave_page", engrave_page)
    return numbers


def stopped(out: Path, n: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        engrave(out, OPTIONS, track=stop_after(n, KeyboardInterrupt()))


def test_finished_pages_are_not_engraved_again(
    expected: dict[str, bytes], engraved: list[int], tmp_path: Path
) -> None:
    out, said = tmp_path / "out", list[str]()
    stopped(out, 1)
    assert [path.name for path in tmp_path.iterdir()] == [".out.parts"]
    engraved.clear()
    engrave(out, OPTIONS, say=said.append)
    assert engraved == [2, 3]
    assert said == ["continuing: pages made before: 2"]
    assert contents(out) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("damage", ["removed", "shortened"])
def test_a_page_without_its_image_is_engraved_again(
    damage: str, expected: dict[str, bytes], engraved: list[int], tmp_path: Path
) -> None:
    stopped(tmp_path / "out", 2)
    kept = tmp_path / ".out.parts"
    image, mask = (min((kept / name).iterdir()) for name in ("images", "segmentation"))
    image.unlink() if damage == "removed" else mask.write_bytes(mask.read_bytes()[:-1])
    engraved.clear()
    engrave(tmp_path / "out", OPTIONS)
    assert engraved == [0, 3]
    assert contents(tmp_path / "out") == expected


@pytest.mark.parametrize("change", ["seed", "pages", "balance", "scores"])
def test_other_options_start_anew(change: str, engraved: list[int], tmp_path: Path) -> None:
    fingerprints = {dataset._fingerprint(OPTIONS, dataset.Repertoire())}
    page, score = OPTIONS.page, tmp_path / "a.mei"
    class_map = tmp_path / "own.yaml"
    for i in range(2):
        pieces, changed = dataset.Repertoire(), OPTIONS
        if change == "seed":
            changed = replace(OPTIONS, page=replace(page, seed=i + 1))
        if change == "pages":
            changed = replace(OPTIONS, pages=5 + i)
        if change == "balance":
            class_map.write_text(
                "name: own\nclasses: [staff]\nsources:\n  engraved:\n"
                f"    annotation_set: engraved\n    map: {{staff: staff}}  # {i}\n"
            )
            own = Balance(per_100_pages=1, classes=str(class_map))
            changed = replace(OPTIONS, page=replace(page, balance=own))
        if change == "scores":
            pieces = dataset.Repertoire(states={score: (i, i)})
        fingerprints.add(dataset._fingerprint(changed, pieces))
    assert len(fingerprints) == 3


def test_pages_of_other_options_are_not_used(engraved: list[int], tmp_path: Path) -> None:
    stopped(tmp_path / "out", 2)
    changed, said = replace(OPTIONS, pages=2, val=0, segmentation=False), list[str]()
    engraved.clear()
    engrave(tmp_path / "out", changed, say=said.append)
    assert engraved == [0, 1]
    assert said == ["starting anew: the pages made before have other options or inputs"]
    engrave(tmp_path / "fresh", changed)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
