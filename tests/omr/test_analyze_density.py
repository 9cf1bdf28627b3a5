import errno
import json
import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import deepscores
import numpy as np
import pytest
import torch
import typer
import ultralytics
import yaml
from browser import Measurements, open_pages
from second_run import during
from shared_recording import share_recording, share_recording_of_a_size
from typer.testing import CliRunner, Result

from class_maps import ConfigError, InputError
from converters.reproduce_command import TO_CUT
from omr.cli import app
from training.density import report as density_report
from training.memory.gpus import Gpu
from training.memory.meta_model import trained_model
from training.models.checkpoints import save_weights

PAGES, SYMBOLS, CLASSES = 32, 40_000, 20
WIDTH, HEIGHT = 1960, 2772
"""Pixels of a dense page."""


def write(root: Path, images: dict[str, str], names: list[str], size: tuple[int, int]) -> Path:
    """A data set of blank images with these labels, trained and validated on."""
    _, blank = cv2.imencode(".png", np.full(size, 255, np.uint8))
    for kind in ("images", "labels"):
        (root / kind / "train").mkdir(parents=True)
    for name, labels in images.items():
        (root / f"images/train/{name}.png").write_bytes(blank.tobytes())
        (root / f"labels/train/{name}.txt").write_text(labels)
    content = {"train": "images/train", "val": "images/train", "names": names}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    return root


def dense_page(rng: np.random.Generator, n_symbols: int) -> str:
    """Labels of a page; classes have typical sizes from 2 to 90 px and fall off in frequency."""
    share = 1 / np.arange(1, CLASSES + 1)
    labels = rng.choice(CLASSES, n_symbols, p=share / share.sum())
    sides = np.array([[2 + 4 * (i % 6), 4 + 88 * (i % 5) / 4] for i in range(CLASSES)])[labels]
    sides *= rng.uniform(0.8, 1.2, sides.shape)
    wh = sides / (WIDTH, HEIGHT)
    xy = rng.uniform(wh / 2, 1 - wh / 2)
    rows = np.concatenate([xy, wh], axis=1)
    return "".join(
        f"{label} {' '.join(f'{x:.6f}' for x in row)}\n"
        for label, row in zip(labels, rows.tolist(), strict=True)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    report: dict[str, Any]
    said: str
    page: str


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.density.simulated_augmentation.FEWEST_DRAWS", 160)
        yield


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Looked:
    """32 dense pages, 40,000 symbols of 20 classes, at 640 px on an RTX 5090."""
    root = tmp_path_factory.mktemp("seed")
    rng = np.random.default_rng(6)
    counts = np.full(PAGES, (SYMBOLS - 3_300) // (PAGES - 1))
    counts[7] = SYMBOLS - counts[:-1].sum()  # the fullest page, as of real ones, has a lot more
    names = [f"class{i}" for i in range(CLASSES)]
    pages = {f"{i}": dense_page(rng, int(n)) for i, n in enumerate(counts)}
    data = write(root / "pages", pages, names, (HEIGHT, WIDTH))
    file = root / "report.html"
    words = ["--batch", "32", "--gpu", "rtx5090", "--json", "--report", str(file)]
    with pytest.MonkeyPatch.context() as patch:
        share_recording_of_a_size(patch)
        result = run(data, *words)
    assert result.exit_code == 0, result.output
    return Looked(
        report=json.loads(result.stdout, parse_constant=pytest.fail),
        said=result.stderr,  # stdout has the JSON
        page=file.read_text("utf-8"),
    )


@pytest.fixture(autouse=True)
def _few_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    share_recording(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 64 x 64 px with a notehead, and an empty one."""
    folder = tmp_path_factory.mktemp("small") / "data"
    images = {"a": "0 .5 .5 .2 .2\n", "b": ""}
    return write(folder, images, ["notehead", "stem"], (64, 64))


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["analyze-density", *map(str, words)])


def small(data: Path, *words: object) -> Result:
    return run(data, "--model", "omr-tiny", "--imgsz", 64, "--gpu", "t4", *words)


def accepted(line: str) -> dict[str, Any]:
    """Let omr's own parser read a line, without running it."""
    program, name, *words = shlex.split(line)
    assert program == "omr"
    group = typer.main.get_command(app)
    command = group.commands[name]  # type: ignore[attr-defined]
    return dict(command.make_context(name, list(words)).params)


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict | list):
        for own in value.values() if isinstance(value, dict) else value:
            yield from numbers(own)
    elif isinstance(value, float):
        yield value


def test_dense_pages_take_little_of_the_memory_and_most_of_it_with_ultralytics_assigner(
    seed: Looked,
) -> None:
    report, usable = seed.report, seed.report["gpu"]["usable_bytes"]
    assert report["memory"]["total_bytes"] < 0.2 * usable
    assert report["memory"]["assigner_bytes"] < 0.01 * usable
    dense = report["memory_ultralytics_assigner_bytes"]
    assert dense > 2 * report["memory"]["total_bytes"]
    n_pairs = PAGES * report["batch_max"]["p999"] * 8_400
    assert dense >= 11 * n_pairs  # masks, overlaps and metric
    assert f"total, with the assigner of Ultralytics {ultralytics.__version__}" in seed.said
    assert "out of memory" not in seed.said
    assert f"Ultralytics compares {report['batch_max']['p999']:,} symbols with 8,400" in seed.said


def test_the_line_is_one_that_omr_train_takes(seed: Looked) -> None:
    suggest = seed.report["recommendation"]
    assert seed.said.splitlines().count(suggest["command"]) == 1
    parsed = accepted(suggest["command"])
    assert (parsed["batch"], parsed["imgsz"]) == ("32", 640)
    assert (suggest["batch"], suggest["accumulate"], suggest["imgsz"]) == (32, 1, 640)
    assert (parsed["model"], parsed["out"]) == ("yolo11n", Path("run"))


def test_json_has_what_is_promised_and_no_number_that_is_none(seed: Looked) -> None:
    report = seed.report
    assert report["symbols"].keys() == {"mean", "p50", "p95", "p99", "max"}
    assert report["symbols"]["mean"] == SYMBOLS / PAGES
    assert report["batch_max"].keys() == {"expected", "p999"}
    kinds = ("parameters", "gradients", "optimizer", "activations", "loss", "assigner", "total")
    assert all(report["memory"][f"{kind}_bytes"] > 0 for kind in kinds)
    assert report["memory_ultralytics_assigner_bytes"] > report["memory"]["assigner_bytes"]
    promised = {"batch", "accumulate", "imgsz", "tile", "max_det", "command"}
    assert promised <= report["recommendation"].keys()
    assert len(report["classes"]) == CLASSES
    assert report["recommendation"]["max_det"] >= 1.5 * report["symbols"]["max"]
    assert all(math.isfinite(number) for number in numbers(report))


def test_the_first_boxes_and_the_fullest_of_an_epoch_are_those_of_the_report(seed: Looked) -> None:
    sizes = [f"{p['width_px']:.0f} x {p['height_px']:.0f}" for p in seed.report["priors"]]
    assert len(sizes) == 3
    assert f"- initial boxes of omr train: {', '.join(sizes)} px\n" in seed.said
    # A batch of all images is an epoch.
    expected = {name: seed.report[f"batch_{name}"]["expected"] for name in ("max", "sum")}
    assert seed.report["epoch_max"]["image"] == pytest.approx(expected["max"], rel=0.01)
    assert seed.report["epoch_max"]["batch"] == pytest.approx(expected["sum"], rel=0.01)


def test_the_line_that_cuts_tiles_says_what_it_wants(tmp_path: Path) -> None:
    page = deepscores.content(deepscores.NOTE, size=(1280, 1280))
    source = deepscores.write(tmp_path / "in", page)
    words = ["convert", str(source), str(tmp_path / "pages")]
    assert CliRunner().invoke(app, words).exit_code == 0
    said = small(tmp_path / "pages").stdout.splitlines()
    line = said.index(TO_CUT) + 1
    parsed = accepted(said[line])
    assert [Path(source) for source in parsed["source"]] == [Path("SOURCE")]
    assert Path(parsed["out"]) == Path("pages-tile256")
    assert (parsed["tile"], parsed["classes"]) == (256, "harmony")
    assert accepted(said[-1])["data"] == [tmp_path / "pages"]


def test_it_fits_a_screen(seed: Looked) -> None:
    lines = [line for line in seed.said.splitlines() if not line.startswith("plots and all")]
    assert len(lines) <= 48
    assert lines[0].startswith("Symbols per image")


@pytest.fixture(scope="module")
def seen(seed: Looked, tmp_path_factory: pytest.TempPathFactory) -> Measurements:
    pages = {"phone": (seed.page, 390), "desktop": (seed.page, 1280)}
    return open_pages(pages, tmp_path_factory.mktemp("browser"))


@pytest.mark.parametrize("page", ["phone", "desktop"])
def test_its_page_opens_in_a_browser(seen: Measurements, page: str) -> None:
    found = seen.pages[page]
    assert seen.console == []
    assert (found["overflow"], found["outside"], found["overlaps"]) == (0, [], [])
    wanted = {"plot-memory", "plot-stage-0", "plot-stage-1", "plot-sizes-0", "plot-collisions"}
    assert wanted <= set(found["plots"])
    assert "Batch 32 at 640 px fits on RTX 5090, but most symbols of class0, " in found["text"]
    assert f"The assigner of Ultralytics {ultralytics.__version__} would" in found["text"]


def test_a_dense_assigner_that_does_not_fit_is_noted(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.density.report.dense_assigner_bytes", lambda *_: 2**40)
    result = small(data)
    assert result.exit_code == 0, result.output
    title = f"total, with the assigner of Ultralytics {ultralytics.__version__}"
    assert f"note: out of memory on T4: {title}: 1,048," in result.stderr


def test_an_image_without_a_symbol_and_one_with(data: Path) -> None:
    result = small(data, "--json", "--batch", 2)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["symbols"] == {"mean": 0.5, "p50": 0, "p95": 1, "p99": 1, "max": 1}
    assert report["precision"] == "fp16"
    assert accepted(report["recommendation"]["command"])["batch"] == "2"


def test_the_fullest_of_an_epoch_is_news_where_it_has_several_batches(data: Path) -> None:
    said = "- fullest batch of an epoch: "
    assert said in small(data, "--batch", 1).stdout
    assert said not in small(data, "--batch", 2).stdout


def test_no_symbol_at_all_is_said(tmp_path: Path) -> None:
    empty = write(tmp_path / "data", {"a": ""}, ["notehead", "stem"], (64, 64))
    result = small(empty, "--report", tmp_path / "page.html")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith("no symbols in any of 1 image: the label files are")
    assert f"note: no image contains a symbol; a model cannot learn from {empty}" in result.stderr
    assert "No image of the split train contains symbols." in (tmp_path / "page.html").read_text(
        "utf-8"
    )


def test_what_does_not_fit_is_said_last_and_is_an_error(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.memory.batch_search.limit_of", lambda _: 2**20)
    result = small(data, "--json")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith("omr-tiny at 64 px: not even a batch of 1 fits on T4:")
    report = json.loads(result.stdout)
    assert (report["recommendation"], report["problem"]) == (None, str(result.exception))
    assert "omr train" not in result.stderr.partition("usable on")[2]


def test_what_is_predicted_is_measured_here(data: Path) -> None:
    result = small(data, "--measure", "--json", "--batch", 2)
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)["measured"]
    assert measured["predicted_bytes"] > 0
    assert re.search(
        r"Measured on this machine \(.*\): \d+ MiB; predicted \d+ MiB, [+-]", result.stderr
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--gpu", "rtx5091"],
            "--gpu: unknown GPU: rtx5091 (did you mean rtx5090?); expected one of ",
        ),
        (["--gpu", "a100"], "--gpu a100: two memory sizes exist; use a100-40gb or a100-80gb"),
        (["--model", "yolo11q"], "--model: unknown: yolo11q (did you mean yolo11"),
        (
            ["--heads", "harmonie"],
            "heads: unknown head config: harmonie (did you mean harmony?)",
        ),
        (["--heads", "harmony"], "heads: not in the data: "),
        (["--wanted", ", "], "--wanted , : expected class names"),
        (["--wanted", "notehaed"], "--wanted: unknown: notehaed (did you mean notehead?)"),
        (
            ["--model", "yolov8n-p6", "--imgsz", "160"],
            "--imgsz 160: must be a multiple of 64, the largest stride of yolov8n-p6; use 128 or",
        ),
        (["--imgsz", "100"], "--imgsz 100: must be a multiple of 32; use 96 or 128"),
        (["--sampling-weights", "1:2"], "--sampling-weights: needs several data sets"),
        (
            ["--gpu", "t4", "--precision", "bf16"],
            "--precision bf16: not supported by T4; use fp16 or fp32",
        ),
        (["--report", "gone/page.html"], "gone: no such folder; create it, or choose another"),
        (
            ["--model", "gone.pt"],
            "gone.pt: no such weights; a name without .pt trains from scratch",
        ),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str, data: Path) -> None:
    error = run(data, *words).exception
    assert isinstance(error, ConfigError | InputError)
    assert str(error).startswith(message)
    assert "\n" not in str(error)


def test_settings_of_a_file(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"data: {data}\nmodel: omr-tiny\nimgsz: 64\nbatch: 1\nlr: auto\nscale: 0.5\n")
    result = run("--config", file, "--gpu", "t4", "--batch", 2, "--json")
    assert result.exit_code == 0, result.output
    command = accepted(json.loads(result.stdout)["recommendation"]["command"])
    assert [Path(folder) for folder in command["data"]] == [data]
    assert (command["model"], command["batch"]) == ("omr-tiny", "2")
    assert f"note: add --config {file} to the recommended command" in result.stderr
    file.write_text("batch: auto\n")
    error = run(data, "--config", file).exception
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "--batch auto: expected an integer; the analysis recommends the batch that fits"
    )


def test_a_page_that_cannot_be_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("converters.files.atomic_files._flush", full_disk)
    file = tmp_path / "page.html"
    error = small(data, "--report", file).exception
    assert isinstance(error, ConfigError)
    assert str(error) == f"{file}: cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_only_with_force(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("mine")
    error = small(data, "--report", file).exception
    assert (
        str(error) == f"{file}: already exists; choose another file, or use --force to replace it"
    )
    assert file.read_text() == "mine"
    assert small(data, "--report", file, "--force").exit_code == 0
    assert file.read_text().startswith("<!DOCTYPE html>")


def test_a_second_analysis_is_refused_before_it_starts(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = data, "--report", tmp_path / "page.html", "--force"
    seconds = during(monkeypatch, density_report, "join", lambda: small(*words))
    assert small(*words).exit_code == 0
    assert "page.html: another omr process" in str(seconds[0].exception)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_skipped_files_are_reported(tmp_path: Path) -> None:
    names = ["notehead", "stem"]  # the step of two classes is recorded already
    folder = write(tmp_path / "data", {"a": "0 .5 .5 .2 .2\n"}, names, (64, 64))
    (folder / "images" / "train" / "b.gif").touch()
    (folder / "labels" / "train" / "c.txt").write_text("0 .5 .5 .2 .2\n")
    result = small(folder)
    assert result.exit_code == 0, result.output
    words = " ".join(result.stderr.split())
    for note in (
        f"note: skipped in {folder}/images/train: 1 image (b.gif) in an unsupported format",
        f"note: skipped in {folder}/labels/train: 1 label file (c.txt) without an image of this name",
    ):
        assert note in words


def test_no_batch_has_more_images_than_there_are(data: Path) -> None:
    result = small(data, "--batch", 1_000_000, "--json")
    assert result.exit_code == 0, result.output
    notes = re.findall(r"^note: (.*)$", result.stderr, re.M)
    assert notes == ["batch 2, not 1000000: there are no more images"]
    assert "--batch 2 --out run" in result.stderr
    report = json.loads(result.stdout)
    assert report["batch"] == 2
    assert [row["batch"] for row in report["memory_over_batch"]] == [1, 2]
    fitting = json.loads(small(data, "--batch", 2, "--json").stdout)
    assert report["memory"] == fitting["memory"]


def test_what_does_not_fit_here_is_not_measured(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Gpu(name="this CPU", total_bytes=1, usable_bytes=1, bf16=False, device="cpu")
    monkeypatch.setattr("omr.density_output.present_device", lambda: here)
    result = small(data, "--measure", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["measured"] is None
    assert "MiB do not fit on this CPU; choose a smaller --batch" in result.stderr


@pytest.mark.parametrize(("chosen", "expected"), [([], 96), (["--imgsz", 64], 64)])
def test_the_input_size_is_that_of_the_weights(
    chosen: list[object], expected: int, data: Path, tmp_path: Path
) -> None:
    model = trained_model("omr-tiny", 2)
    save_weights(model, tmp_path / "own.pt", train_args={"imgsz": 96})
    result = run(data, "--model", tmp_path / "own.pt", "--gpu", "t4", "--json", *chosen)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["imgsz"] == expected


def test_a_pickle_of_somebody_else_needs_trust(data: Path, tmp_path: Path) -> None:
    own = trained_model("omr-tiny", 2).fuse(verbose=False)  # not what its description says
    torch.save({"model": own, "train_args": {}}, tmp_path / "own.pt")
    words = [data, "--model", tmp_path / "own.pt", "--imgsz", 64, "--gpu", "t4"]
    assert "give --trust if you trust its source" in str(run(*words).exception)
    result = run(*words, "--trust")
    assert result.exit_code == 0, result.output
    assert " --trust " in result.stdout.splitlines()[-1]
