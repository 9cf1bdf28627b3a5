import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from deepscores import several_pages, write
from shared_recording import share_recording

import class_maps
from class_maps import ConfigError
from converters.conversion import ConversionOptions, convert
from converters.prepare.preparation import PreparationOptions
from eval.reports.density_figures import SymbolSpread
from eval.reports.density_report import LargerSymbols
from reading.max_det import suggested_max_det
from settings.head_config import load as load_heads
from training.config import TrainConfig
from training.density.report import DensityAnalysis, analyze
from training.memory.batch_search import Launch
from training.memory.gpus import Gpu, find_gpu
from training.memory.meta_model import trained_model
from training.memory.step_spec import StepSpec
from training.models.checkpoints import save_weights

NAMES = ("stem", "notehead", "clef")
GPU = find_gpu("rtx5090")
Image = tuple[int, int, Sequence[tuple[int, float, float]]]
"""Width, height, and label, width and height in pixels of each symbol."""


def written(root: Path, images: Sequence[Image], names: Sequence[str] = NAMES) -> Path:
    for kind in ("images", "labels"):
        (root / kind / "train").mkdir(parents=True)
    for i, (width, height, symbols) in enumerate(images):
        blank = np.full((height, width), 255, np.uint8)
        cv2.imwrite(str(root / f"images/train/{i}.png"), blank)
        rows = [
            f"{label} .5 {(k + 1) / (len(symbols) + 1)} {w / width} {h / height}\n"
            for k, (label, w, h) in enumerate(symbols)
        ]
        (root / f"labels/train/{i}.txt").write_text("".join(rows))
    content = {"train": "images/train", "val": "images/train", "names": list(names)}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    return root


def analysis_of(
    data: Path,
    *,
    gpu: Gpu = GPU,
    wanted: Sequence[str] = (),
    **options: Any,  # noqa: ANN401
) -> DensityAnalysis:
    usual: dict[str, Any] = {"model": "omr-tiny", "imgsz": 64, "batch": 2}
    return analyze(TrainConfig(data=data, out=Path("run"), **(usual | options)), gpu, wanted)


def strict(report: DensityAnalysis) -> dict[str, Any]:
    plain = report.to_json()
    read: dict[str, Any] = json.loads(json.dumps(plain, allow_nan=False))
    return read


@pytest.fixture(scope="module", autouse=True)
def few_draws_and_recordings() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.density.simulated_augmentation.FEWEST_DRAWS", 60)
        share_recording(patch)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with zero, three and five symbols; no clef."""
    three = [(0, 4, 30), (1, 10, 8), (1, 10, 8)]
    images = [(64, 64, []), (64, 64, three), (64, 64, [*three, (0, 4, 30), (1, 9, 8)])]
    return written(tmp_path_factory.mktemp("data") / "it", images)


@pytest.fixture(scope="module")
def report(data: Path) -> DensityAnalysis:
    return analysis_of(data)


@pytest.fixture
def memory_known(report: DensityAnalysis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the memory prediction in tests that do not need it."""
    launch = Launch(batch=2, accumulate=1, largest=2, memory=report.memory)
    for name, value in (("find_launch", launch), ("memory_over_batch", report.memory_over_batch)):
        monkeypatch.setattr(f"training.density.report.{name}", lambda *_, result=value: result)


def test_no_image_has_a_symbol(tmp_path: Path) -> None:
    result = analysis_of(written(tmp_path / "data", [(64, 64, []), (64, 32, [])]), wanted=["stem"])
    plain = strict(result)
    assert (plain["n_images"], plain["n_symbols"], plain["anchor_competition"]) == (2, 0, None)
    assert plain["symbols"] == {"mean": 0, "p50": 0, "p95": 0, "p99": 0, "max": 0}
    assert plain["batch_max"] == {"expected": 0, "p999": 0}
    assert plain["priors"] == []
    assert [row["representation"] for row in plain["classes"]] == [None] * 3
    assert [row["start"] for row in plain["classes"]] == [None] * 3
    assert plain["recommendation"] is None
    assert plain["problem"] == (
        "no symbols in any of 2 images: the label files are empty; add pages with symbols"
    )


def test_counts(report: DensityAnalysis) -> None:
    plain = strict(report)
    assert plain["symbols"] == {"mean": 8 / 3, "p50": 3, "p95": 5, "p99": 5, "max": 5}
    assert report.labels.symbols == SymbolSpread(mean=8 / 3, p50=3, p95=5, p99=5, max=5)
    assert (plain["n_images"], plain["n_symbols"], plain["split"]) == (3, 8, "train")
    assert [(row["name"], row["count"]) for row in plain["classes"]] == [
        ("notehead", 5), ("stem", 3), ("clef", 0),
    ]  # fmt: skip
    notehead, stem, clef = plain["classes"]
    assert notehead["share"] == 5 / 8
    assert stem["width_px"]["p50"] == pytest.approx(4)
    assert stem["height_px"]["p50"] == pytest.approx(30)
    assert (clef["width_px"], clef["under_2px"], clef["start"]) == (None, None, None)
    # Of 3 pairs of images one is without the fullest; augmentation may cut a symbol off.
    assert 4 < plain["batch_max"]["expected"] <= 13 / 3
    assert plain["batch_max"]["p999"] == 5
    assert plain["batch_sum"]["p999"] == 8


def test_the_matrix_is_in_the_order_of_the_classes(report: DensityAnalysis) -> None:
    competition = strict(report)["anchor_competition"]
    names = [row["name"] for row in report.to_json()["classes"]]
    assert competition["collisions"]
    for pair in competition["collisions"]:
        assert (
            competition["matrix"][names.index(pair["a"])][names.index(pair["b"])] == pair["points"]
        )


def test_memory_adds_up_for_every_batch(report: DensityAnalysis) -> None:
    plain = strict(report)
    assert [row["batch"] for row in plain["memory_over_batch"]] == [1, 2, 3]
    for row in plain["memory_over_batch"]:
        others = {"total_bytes", "batch", "ultralytics_assigner_bytes"}
        lines = {key: n for key, n in row.items() if key not in others}
        assert all(key.endswith("_bytes") for key in lines)
        assert sum(lines.values()) == row["total_bytes"] > 0
    memory = plain["memory"]
    assert sum(memory["at_peak"].values()) == memory["total_bytes"]
    for name in ("parameters", "gradients", "optimizer", "activations", "loss", "assigner"):
        assert memory[f"{name}_bytes"] >= memory["at_peak"].get(name, 0)
        assert memory[f"{name}_bytes"] > 0
    dense = plain["memory_ultralytics_assigner_bytes"]
    assert dense == plain["memory_over_batch"][1]["ultralytics_assigner_bytes"]
    # At least 9 bytes for each of 2 images, 5 symbols and 84 points.
    assert 2 * 5 * 84 * 9 <= dense <= 2 * 5 * 84 * 50


def test_the_recommended_batch_is_among_the_rows(report: DensityAnalysis) -> None:
    assert report.recommendation is not None
    assert report.recommendation.batch == 3
    rows = {row.batch: row for row in report.memory_over_batch}
    gib = rows[3].total_bytes / 2**30
    assert report.recommendation.reasons[0].startswith(
        f"batch 3: {gib:.1f} GiB of 29.5 usable on RTX"
    )
    assert rows[2] is report.memory


@pytest.mark.parametrize(
    ("images", "imgsz", "wanted", "tile", "too_small"),
    [
        # 8 px of 1280 are 2 of 320: at half of the tile they are 4.
        ([(1280, 1280, [(0, 8, 99)])], 320, (), 640, ()),
        ([(1280, 1280, [(0, 16, 99)])], 320, (), None, ()),
        ([(1280, 1280, [(0, 3, 99)])], 320, (), None, ("stem",)),
        ([(1280, 1280, [(0, 3, 99), (1, 9, 8)])], 320, (), 640, ("stem",)),
        ([(1280, 1280, [(0, 3, 99), (1, 9, 8)])], 320, ("notehead",), 640, ()),
        ([(1280, 1280, [(0, 3, 99), (1, 16, 17)])], 320, ("notehead",), None, ()),
        ([(1280, 1280, [(0, 8, 99)])], 320, ("clef",), None, ()),
        # 5 px: 320 * 5 / 4 = 400 px, as a multiple of 32 384
        ([(1280, 1280, [(0, 5, 99)])], 320, (), 384, ()),
        ([(1280, 1280, [(0, 4, 99)])], 320, (), 320, ()),
        # Stored smaller than the network's input, they are drawn larger, and cannot be cut.
        ([(160, 160, [(0, 3, 99)])], 320, (), None, ()),
        ([(160, 160, [(0, 1, 99)])], 320, (), None, ("stem",)),
        # Of very different sizes: pixels as they are stored count, not the median page.
        (
            [(640, 640, [(0, 8, 99)]), (640, 64, [(0, 8, 9)]), (2560, 640, [(0, 8, 99)])],
            320, (), 640, (),
        ),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("memory_known")
def test_tiles_give_symbols_their_size(
    images: Sequence[Image],
    imgsz: int,
    wanted: Sequence[str],
    tile: int | None,
    too_small: tuple[str, ...],
    tmp_path: Path,
) -> None:
    result = analysis_of(written(tmp_path / "d", images), imgsz=imgsz, wanted=wanted)
    assert result.recommendation is not None
    assert (result.recommendation.tile, result.recommendation.too_small) == (tile, too_small)
    reasons = " ".join(result.recommendation.reasons)
    assert (f"tiles of {tile} px" in reasons) == (tile is not None)
    assert ("under 4 px in the stored images; images " in reasons) == bool(too_small)
    assert (result.recommendation.larger is None) == (tile is None)
    assert result.recommendation.convert_command is None


@pytest.mark.parametrize(("usable", "batch"), [(2**30, 2), (350 * 2**20, 1), (150 * 2**20, 0)])
def test_a_larger_input_is_held_against_the_memory(usable: int, batch: int, tmp_path: Path) -> None:
    # 5.4 px of 1280 are 1.35 of 320: 4 need 2.96 times as much, so a side of 960.
    data = written(tmp_path / "d", [(1280, 1280, [(0, 5.4, 99)])] * 2)
    result = analysis_of(data, imgsz=320, batch=1, gpu=replace(GPU, usable_bytes=usable))
    assert result.recommendation is not None
    accumulate = 2 // batch if batch else 0
    assert result.recommendation.larger == LargerSymbols(
        tile=416, imgsz=960, batch=batch, accumulate=accumulate
    )
    more = " --nominal-batch 2" if batch == 1 else ""
    larger = f"--imgsz 960 --batch {batch}{more}, or " if batch else ""
    assert result.recommendation.reasons[1] == (
        f"4 px for 95% of stem: {larger}tiles of 416 px (cut the pages with omr convert --tile 416)"
    )
    if batch:
        there = analysis_of(data, imgsz=960, batch=1, gpu=replace(GPU, usable_bytes=usable))
        assert there.recommendation is not None
        assert (there.recommendation.batch, there.recommendation.accumulate) == (batch, accumulate)
        assert there.recommendation.tile is None


def test_a_larger_input_has_more_candidate_pairs(
    report: DensityAnalysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[int, float] = {}

    def find(step_of: Callable[[int], StepSpec], *_: object) -> Launch:
        step = step_of(1)
        asked[step.imgsz] = (step.pairs or 0) / step.boxes
        return Launch(batch=1, accumulate=1, largest=1, memory=report.memory)

    monkeypatch.setattr("training.density.report.find_launch", find)
    analysis_of(written(tmp_path / "d", [(640, 640, [(0, 4, 99)])]), imgsz=160, batch=1)
    assert asked[640] == pytest.approx(16 * asked[160], rel=0.05)  # both are rounded


@pytest.mark.usefixtures("memory_known")
def test_classes_that_need_larger_images(tmp_path: Path) -> None:
    result = analysis_of(
        written(tmp_path / "d", [(1280, 1280, [(0, 3, 99), (1, 9, 3.5)])]), imgsz=320
    )
    assert result.recommendation is not None
    assert result.recommendation.reasons[1] == (
        "stem, notehead: under 4 px in the stored images; images 1.4 times as large, in tiles of "
        "320 px, would help"
    )


@pytest.mark.usefixtures("memory_known")
def test_boxes_without_width_ask_for_other_labels(tmp_path: Path) -> None:
    result = analysis_of(written(tmp_path / "d", [(64, 64, [(0, 0, 9), (1, 9, 8)])]))
    assert result.recommendation is not None
    assert (result.recommendation.without_area, result.recommendation.too_small) == (("stem",), ())
    assert (
        "stem: boxes of zero width or height; correct the labels" in result.recommendation.reasons
    )


def scaled_page(tmp_path: Path, staff_space: float) -> Path:
    """A converted page: 128 staff spaces wide and high, a notehead of 2 x 1.6 and a staff."""
    content = several_pages(["a--page-1.png"], ("25", [10, 20, 30, 36]), ("135", [10, 20, 190, 60]))
    content["images"][0] |= {"width": 1280, "height": 1280}
    options = ConversionOptions(
        class_map=class_maps.load("harmony"),
        preparation=PreparationOptions(staff_space=staff_space),
    )
    convert(write(tmp_path / "in", content), tmp_path / "my data", options)
    return tmp_path / "my data"


@pytest.mark.usefixtures("memory_known")
@pytest.mark.parametrize("called", [".", "../my data", "../my data/", "data.yaml"])
def test_the_convert_command(called: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = scaled_page(tmp_path, 4)  # 6.4 px of 512 are 4 of 64 in tiles of 102.4
    monkeypatch.chdir(pages)
    line = "omr convert SOURCE 'my data-tile96{}' --classes harmony --tile 96 --scale staff-space:4"
    for taken in ("", "-2"):
        recommendation = analysis_of(Path(called), imgsz=64).recommendation
        assert recommendation is not None
        assert recommendation.convert_command == line.format(taken)
        (pages / "my data-tile96").mkdir(exist_ok=True)
    other = written(tmp_path / "other", [(64, 64, [(0, 9, 9)])], ["x"])
    joint = analysis_of(pages, joint=(other,), imgsz=64).recommendation
    assert joint is not None
    assert joint.convert_command is None


@pytest.mark.usefixtures("memory_known")
def test_the_scale_at_which_all_are_large_enough(tmp_path: Path) -> None:
    recommendation = analysis_of(
        scaled_page(tmp_path, 2), imgsz=192
    ).recommendation  # 3.2 px of 256
    assert recommendation is not None
    assert recommendation.reasons[1] == (
        "noteheadBlack: under 4 px in the stored images; images 1.3 times as large, in tiles of "
        "192 px, would help (omr convert --scale staff-space:2.6 --tile 192)"
    )


@pytest.mark.usefixtures("memory_known")
def test_without_a_convert_command_the_scale_is_given(tmp_path: Path) -> None:
    data = scaled_page(tmp_path, 4)
    path = data / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(manifest | {"class_map": {"name": "mine"}}))
    recommendation = analysis_of(data, imgsz=64).recommendation
    assert recommendation is not None
    assert recommendation.convert_command is None
    assert recommendation.reasons[1].endswith(
        "tiles of 96 px (cut the pages with omr convert --tile 96 --scale staff-space:4)"
    )


@pytest.mark.usefixtures("memory_known")
def test_images_of_very_different_sizes(tmp_path: Path) -> None:
    # Small images are drawn larger: there 3 px are 6. Of the large ones 10 px are 2.5.
    images = [(320, 320, [(0, 3, 99)])] * 10 + [(2560, 2560, [(0, 10, 99)])] * 10
    result = analysis_of(written(tmp_path / "d", images), imgsz=640)
    assert result.recommendation is not None
    assert (result.recommendation.tile, result.recommendation.too_small) == (1600, ())
    assert result.recommendation.larger is not None
    assert result.recommendation.larger.imgsz == 1024


@pytest.mark.usefixtures("memory_known")
def test_an_existing_run_folder_is_not_reused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for taken, free in ((None, "run"), ("run", "run-2"), ("run-2", "run-3")):
        if taken:
            Path(taken).mkdir()
        recommendation = analysis_of(data).recommendation
        assert recommendation is not None
        assert recommendation.command.endswith(f" --out {free}")


def test_not_even_one_image_fits(data: Path) -> None:
    tiny = replace(GPU, name="tiny", usable_bytes=10 * 2**20)
    result = analysis_of(data, gpu=tiny)
    plain = strict(result)
    assert plain["recommendation"] is None
    assert plain["problem"] == result.problem
    assert result.problem.startswith("omr-tiny at 64 px: not even a batch of 1 fits on tiny: it ")
    assert plain["memory"]["total_bytes"] > 0
    assert [row["batch"] for row in plain["memory_over_batch"]] == [1, 2]


def test_the_command_repeats_the_request(data: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "more & more", [(64, 64, [(0, 9, 9)])], ("stem", "fermata"))
    result = analysis_of(
        data,
        joint=(other,),
        sampling_weights=(2, 1),
        merge_classes=("stem",),
        activation="relu",
        precision="fp32",
        seed=3,
        mosaic=0.5,
        balance_classes=True,
    )
    assert result.recommendation is not None
    assert shlex.split(result.recommendation.command) == [
        "omr", "train", str(data), str(other), "--sampling-weights", "2:1",
        "--merge-classes", "stem", "--model",
        "omr-tiny", "--activation", "relu", "--precision", "fp32", "--mosaic", "0.5", "--seed", "3",
        "--balance-classes", "--imgsz", "64", "--batch", "4", "--out", "run",
    ]  # fmt: skip
    plain = strict(result)
    assert (plain["n_images"], plain["n_symbols"]) == (4, 9)
    assert [row["name"] for row in plain["classes"]] == ["notehead", "stem", "clef", "fermata"]
    assert [stage["name"] for stage in plain["stages"]] == ["as stored", "as trained"]


def test_accumulated_gradients_are_counted(data: Path) -> None:
    small = replace(GPU, usable_bytes=round(68e6 / 0.9))  # for 2 of 3 images
    result = analysis_of(data, gpu=small, imgsz=160, batch=1)
    assert result.recommendation is not None
    again = result.recommendation.batch * result.recommendation.accumulate
    assert result.recommendation.accumulate > 1
    assert result.recommendation.command.endswith(f"--nominal-batch {again} --out run")
    assert (
        f"{result.recommendation.accumulate} batches per step, {again} images"
        in result.recommendation.reasons[0]
    )
    rows = {row.batch: row for row in result.memory_over_batch}
    launched = rows[result.recommendation.batch]
    assert launched.at_peak["gradients"] == launched.gradients_bytes


@pytest.mark.usefixtures("memory_known")
def test_duplicate_class_names_get_their_label(tmp_path: Path) -> None:
    twice = written(tmp_path / "data", [(64, 64, [(0, 9, 9), (2, 1, 9)])], ("dot", "clef", "dot"))
    result = analysis_of(twice, wanted=["dot (2)"])
    assert {row["name"] for row in strict(result)["classes"]} == {"dot (0)", "clef", "dot (2)"}
    assert result.recommendation is not None
    assert result.recommendation.too_small == ("dot (2)",)
    with pytest.raises(ConfigError, match=r"^--wanted: unknown: dot \(did you mean dot \("):
        analysis_of(twice, wanted=["dot"])


def test_an_unknown_class(data: Path) -> None:
    with pytest.raises(ConfigError) as error:
        analysis_of(data, wanted=["stem", "noteheed"])
    assert str(error.value) == "--wanted: unknown: noteheed (did you mean notehead?)"


def test_heads_for_other_classes(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"^heads: not in the data: "):
        analysis_of(data, heads="harmony")
    with pytest.raises(ConfigError, match=r"^heads: "):
        analysis_of(data, heads="harmonie")


def test_heads_of_a_file_and_of_weights(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    content = {
        "groups": [
            {"name": "thin", "classes": ["stem"]},
            {"name": "rest", "classes": ["notehead", "clef"]},
        ],
        "box": "separate",
    }
    file.write_text(yaml.safe_dump(content))
    of_file = analysis_of(data, heads=str(file))
    heads = load_heads(str(file))
    assert of_file.heads == heads
    assert of_file.recommendation is not None
    assert f"--heads {file}" in of_file.recommendation.command
    competition = strict(of_file)["anchor_competition"]
    assert competition["max_recall_heads"] >= competition["max_recall_single_head"]
    assert {prior["group"] for prior in strict(of_file)["priors"]} == {"thin", "rest"}

    weights = tmp_path / "last.pt"
    model = trained_model("omr-tiny", 3, heads)
    model.names = dict(enumerate(NAMES))
    save_weights(model, weights, train_args={})
    of_weights = analysis_of(data, model=str(weights))
    assert of_weights.heads == heads
    assert of_weights.labels.competition == of_file.labels.competition
    assert of_weights.memory.parameters_bytes == of_file.memory.parameters_bytes


@pytest.mark.usefixtures("memory_known")
def test_a_head_without_distance_bins(data: Path) -> None:
    result = analysis_of(data, model="yolo26n")
    assert set(result.labels.maximum_recall.overall) == {"free", "free, P2"}
    notehead = strict(result)["classes"][0]["representation"]
    assert set(notehead) == {"stock", "signed", "stock_p2", "signed_p2"}
    assert notehead["stock"] == notehead["signed"]


def test_the_processor_without_a_gpu(data: Path) -> None:
    here = Gpu(name="this CPU", total_bytes=2**34, usable_bytes=2**33, bf16=False, device="cpu")
    plain = strict(analysis_of(data, gpu=here))
    assert plain["precision"] == "fp32"
    assert plain["memory"]["at_peak"]["guard"] > 0
    assert plain["memory"]["library_bytes"] == 0


@pytest.mark.parametrize(
    ("max_symbols", "max_det"), [(0, 300), (200, 300), (201, 400), (606, 1000), (2000, 3000)]
)
def test_suggested_max_det(max_symbols: int, max_det: int) -> None:
    assert suggested_max_det(max_symbols) == max_det
