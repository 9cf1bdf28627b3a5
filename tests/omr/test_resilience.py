"""Commands that write large outputs: full and read-only disks, vanishing inputs, second runs."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sharded
from ink_network import InkNetwork
from limited_disk import mounted, remount
from stopped_runs import contents

import class_maps
from class_maps import ConfigError, OmrError
from converters.conversion import ConversionOptions, convert, convert_shard
from converters.engraving.dataset import EngravingOptions, engrave
from converters.engraving.pages import PageOptions
from converters.parts import plan
from omr import prediction
from omr.prediction import PredictionResult, PredictOptions, predict_pages

Command = Callable[..., object]
"""Reads the data sets in the first folder, and creates the second one."""

CONVERSION = ConversionOptions(class_map=class_maps.load("harmony"), formats=("yolo", "coco"))
PAGE = PageOptions(width=400, height=300)


def run_convert(source: Path, out: Path, **more: Any) -> object:  # noqa: ANN401
    return convert(source, out, CONVERSION, **more)


def run_shard(source: Path, out: Path, **more: Any) -> object:  # noqa: ANN401
    return convert_shard(source, out, CONVERSION, (1, 1), **more)


def run_merge(source: Path, out: Path, **more: Any) -> object:  # noqa: ANN401
    run_shard(source, out)
    return convert(source, out, CONVERSION, only_merge=True, **more)


def run_engrave(_source: Path, out: Path, **more: Any) -> object:  # noqa: ANN401
    return engrave(out, EngravingOptions(pages=4, page=PAGE), **more)


def run_predict(source: Path, out: Path, **more: Any) -> object:  # noqa: ANN401
    options = PredictOptions(weights=source / "w.onnx", staff_space="none", overlay="png")
    return predict_pages([source / "images"], out, options, **more)


COMMANDS: dict[str, Command] = {
    "convert": run_convert,
    "merge": run_merge,
    "engrave": run_engrave,
    "predict": run_predict,
}
commands = pytest.mark.parametrize("run", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PART_PAGES", 1)
    monkeypatch.setattr(prediction, "open_network", lambda *_, **__: InkNetwork())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    sharded.write(tmp_path / "data", 2)
    (tmp_path / "data" / "w.onnx").touch()
    return tmp_path / "data"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "64k") as folder:
        yield folder


@commands
def test_a_full_disk_loses_nothing(run: Command, source: Path, disk: Path, tmp_path: Path) -> None:
    with pytest.raises(OmrError, match="No space left on device") as raised:
        run(source, disk / "out")
    assert "\n" not in str(raised.value)
    assert {path.name for path in disk.iterdir()} <= {".out.parts", ".out.omr.lock"}
    remount(disk, "size=8m")
    run(source, disk / "out")
    run(source, tmp_path / "fresh")
    assert contents(disk / "out") == contents(tmp_path / "fresh")
    assert {path.name for path in disk.iterdir()} <= {"out", ".out.omr.lock"}


@commands
def test_a_read_only_disk_is_an_error_in_one_line(run: Command, source: Path, disk: Path) -> None:
    remount(disk, "ro")
    with pytest.raises(OmrError, match=r"^[^\n]*Read-only file system[^\n]*$"):
        run(source, disk / "out")


@commands
def test_two_runs_to_one_folder(run: Command, source: Path, tmp_path: Path) -> None:
    errors: list[str] = []

    def track(items: Any, _total: int) -> Iterator[object]:  # noqa: ANN401
        with pytest.raises(ConfigError) as raised:
            run(source, tmp_path / "out")
        errors.append(str(raised.value))
        yield from items

    run(source, tmp_path / "out", track=track)
    assert len(errors) == 1
    assert re.fullmatch(r".*/out: another omr process \(pid \d+\) is writing here; .*", errors[0])
    run(source, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def removing(path: Path) -> Callable[..., Iterator[object]]:
    """Return a progress display that removes a file after the first page."""

    def track(items: Any, _total: int) -> Iterator[object]:  # noqa: ANN401
        for i, item in enumerate(items):
            if not i:
                path.rename(path.with_suffix(".removed"))
            yield item

    return track


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (run_convert, "images/lg-12-aug-leland--page-1.png"),
        (run_convert, "shard_1_train.json"),
        (run_merge, "shard_1_train.json"),
    ],
)
def test_an_input_that_is_removed_is_an_error(
    run: Command, name: str, source: Path, tmp_path: Path
) -> None:
    out, removed = tmp_path / "out", source / name
    with pytest.raises(OmrError, match=rf"^[^\n]*{removed.name}: [^\n]*$"):
        run(source, out, track=removing(removed))
    assert not out.exists()
    removed.with_suffix(".removed").rename(removed)
    convert(source, out, CONVERSION)
    convert(source, tmp_path / "fresh", CONVERSION)
    assert contents(out) == contents(tmp_path / "fresh")


def test_a_page_that_is_removed_is_listed(source: Path, tmp_path: Path) -> None:
    name = "lg-12-aug-leland--page-1.png"
    done = run_predict(source, tmp_path / "out", track=removing(source / "images" / name))
    assert isinstance(done, PredictionResult)
    assert done.failures == [f"{name}: no such image"]
    assert len(done.pages) == 6
