"""Tests of omr log: cuts, merges, descriptions of tags, damaged files; TensorBoard reads the results."""

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from typer.testing import CliRunner, Result

from omr.cli import app
from omr.event_files import read_event_file

LOSS, RATE = "train/loss", "lr/pg0"
IMAGE = Summary.Image(height=1, width=1, colorspace=1, encoded_image_string=b"\x89PNG")


@pytest.fixture(autouse=True)
def current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def summary(step: int, *values: Any) -> Event:  # noqa: ANN401
    return Event(step=step, wall_time=1000.5 + step, summary=Summary(value=values))


def values_of(step: int) -> list[Any]:
    loss = Summary.Value(tag=LOSS, simple_value=1 / step)
    rate = scalar_pb(RATE, step).value
    return [loss, *rate]


def all_kinds(step: int) -> list[Any]:
    return [
        *values_of(step),
        Summary.Value(tag="page", image=IMAGE),
        *histogram_pb("weights", [1.0, step]).value,
        *text_pb("note", f"step {step}").value,
    ]


def write(folder: str, events: Iterable[Event], suffix: str = "") -> Path:
    """Write an event file, and return it; names of later files come later."""
    writer = EventFileWriter(folder, filename_suffix=suffix)
    for event in events:
        writer.add_event(event)
    writer.close()
    (new,) = Path(folder).glob("events.*")
    number = len([*Path(folder).glob("*tfevents*")])
    return new.rename(new.with_name(f"{number}.tfevents{suffix}"))


def write_run(folder: str, steps: Sequence[int], start: int | None = None) -> Path:
    log = SessionLog(status=SessionLog.START)
    resumed = [] if start is None else [Event(step=start, session_log=log)]
    first = Event(summary=Summary(value=hparams_pb({"lr": 0.1}).value), wall_time=7)
    graph = Event(graph_def=b"graph", wall_time=8)
    return write(folder, [*resumed, first, graph, *(summary(n, *all_kinds(n)) for n in steps)])


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["log", *map(str, words)])


def done(*words: object) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def error(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 1, result.output
    return str(result.exception)


def read(folder: str) -> dict[str, list[Any]]:
    """Read everything that TensorBoard shows of a run."""
    everything = dict.fromkeys(("scalars", "images", "histograms", "tensors"), 0)
    shown = EventAccumulator(folder, size_guidance=everything)
    shown.Reload()
    kept: dict[str, list[Any]] = {"graph": [shown.Tags()["graph"]]}
    for tag in shown.Tags()["scalars"]:
        kept[tag] = [(one.wall_time, one.step, one.value) for one in shown.Scalars(tag)]
    for tag in shown.Tags()["images"]:
        kept[tag] = [
            (one.wall_time, one.step, one.encoded_image_string) for one in shown.Images(tag)
        ]
    for tag in shown.Tags()["tensors"]:
        plugin = shown.SummaryMetadata(tag).plugin_data.plugin_name
        proto = [(one.wall_time, one.step, str(one.tensor_proto)) for one in shown.Tensors(tag)]
        kept[tag] = [plugin, *proto]
    return kept


def steps_of(kept: dict[str, list[Any]], tag: str = LOSS) -> list[int]:
    return [one[1] for one in kept[tag] if not isinstance(one, str)]


def test_a_copy_of_everything_has_the_same_bytes() -> None:
    source = write_run("run", range(1, 6))
    report = done("cut", "run", "--out", "copy")
    copy = Path("copy", source.name)
    assert copy.read_bytes() == source.read_bytes()
    assert report["path"] == str(copy)
    assert [p.name for p in Path("copy").iterdir()] == [source.name]


def test_a_cut_keeps_all_kinds_of_summaries_with_their_times() -> None:
    write_run("run", range(1, 9))
    report = done("cut", "run", "--out", "cut", "--from", 3, "--to", 5, "--shift", -2)
    before, after = read("run"), read("cut")
    assert after.keys() == before.keys()
    for tag in (LOSS, RATE, "page", "weights", "note"):
        expected = [
            one if isinstance(one, str) else (one[0], one[1] - 2, *one[2:])
            for one in before[tag]
            if isinstance(one, str) or 3 <= one[1] <= 5
        ]
        assert len(after[tag]) >= 3
        assert after[tag] == expected
    assert report["records"] == 1 + 2 + 3
    assert after["graph"] == [True]


def test_hyperparameters_are_always_kept() -> None:
    write_run("run", range(1, 9))
    done("cut", "run", "--out", "cut", "--from", 3, "--tags", "^lr/", "--shift", 10)
    shown = EventAccumulator("cut")
    shown.Reload()
    assert "_hparams_/session_start_info" in shown.summary_metadata
    assert [one.wall_time for one in shown.Tensors(RATE)] == [1000.5 + n for n in range(3, 9)]
    assert shown.Tags()["images"] == []


def test_a_description_stored_with_the_first_value_only_is_kept() -> None:
    events = [summary(n, *scalar_pb(RATE, n).value) for n in (1, 2, 3)]
    for event in events[1:]:
        event.summary.value[0].ClearField("metadata")
    write("run", events)
    done("cut", "run", "--out", "cut", "--from", 2)
    assert read("cut")[RATE] == read("run")[RATE][:1] + read("run")[RATE][2:]
    assert read("cut")[RATE][0] == "scalars"


def test_a_resumed_run_is_joined_as_tensorboard_shows_it() -> None:
    write_run("run", range(1, 8))
    write_run("run", range(5, 10), start=5)
    report = done("merge", "run", "--out", "merged")
    merged, before = read("merged"), read("run")
    for tag in (LOSS, "page"):
        assert merged[tag] == before[tag]
    for tag in (RATE, "weights", "note"):  # TensorBoard still shows their discarded values
        assert steps_of(before, tag).count(5) == 2
        assert steps_of(merged, tag) == sorted(set(steps_of(before, tag)))
    assert steps_of(merged) == list(range(1, 10))
    assert [source["superseded"] for source in report["sources"]] == [15, 0]


def test_runs_that_record_no_restart_are_joined_tag_by_tag() -> None:
    """The scores of an evaluation at step 0 do not replace the losses of the training."""
    write_run("a", range(1, 8))
    write("b", [summary(n, *values_of(n)) for n in range(5, 10)])
    write("c", [summary(0, Summary.Value(tag="val/ap", simple_value=0.5))])
    report = done("merge", "a", "b", "c", "--out", "merged")
    kept = read("merged")
    assert steps_of(kept) == steps_of(kept, RATE) == list(range(1, 10))
    assert steps_of(kept, "page") == list(range(1, 8))
    assert steps_of(kept, "val/ap") == [0]
    assert [source["superseded"] for source in report["sources"]] == [6, 0, 0]


def starts_of(content: bytes) -> list[int]:
    """Return where each record of an intact event file begins, and its end."""
    starts = [0]
    while starts[-1] < len(content):
        length = int.from_bytes(content[starts[-1] : starts[-1] + 8], "little")
        starts.append(starts[-1] + length + 16)
    return starts


def flipped(content: bytes, position: int, bits: int = 0xFF) -> bytes:
    return content[:position] + bytes([content[position] ^ bits]) + content[position + 1 :]


def without(content: bytes, first: int, end: int) -> bytes:
    return content[:first] + content[end:]


@pytest.mark.parametrize(
    ("damage", "lost", "places"),
    [
        (lambda content, _: content[:-3], [8], ""),
        (lambda content, _: content + b"\0" * 40, [], ""),
        (lambda content, starts: flipped(content, starts[6] + 20), [4], ""),
        (lambda content, starts: flipped(content, starts[6]), [4], ""),
        (lambda content, starts: flipped(content, starts[7] - 1), [4], ""),
        (lambda content, starts: without(content, starts[6] + 30, starts[6] + 70), [4], ""),
        (lambda content, starts: without(content, starts[6] + 30, starts[8] + 5), [4, 5, 6], ""),
        (
            lambda content, starts: flipped(flipped(content, starts[6]), starts[7] + 12),
            [4, 5],
            "",
        ),
        (
            lambda content, starts: flipped(flipped(content, starts[5]), starts[9] + 12),
            [3, 7],
            " in 2 places",
        ),
    ],
    ids=[
        *("cut off", "zeros at the end", "data", "length", "checksum", "removed bytes"),
        *("removed records", "neighbours", "two places"),
    ],
)
@pytest.mark.parametrize("block", [1 << 20, 13])
def test_records_after_damage_are_recovered(
    damage: Any,  # noqa: ANN401
    lost: list[int],
    places: str,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("omr.event_records.SCAN_BYTES", block)
    file = write_run("run", range(1, 9))
    whole = file.read_bytes()
    starts = starts_of(whole)
    file.write_bytes(damage(whole, starts))
    result = run("merge", "run", "--out", "merged")
    assert result.exit_code == 0
    numbers = [i for i in range(11) if i - 2 not in lost]  # three records before the first step
    intact = b"".join(whole[starts[i] : starts[i + 1]] for i in numbers)
    assert Path("merged", file.name).read_bytes() == intact
    size = file.stat().st_size
    first = starts[min(lost) + 2] if lost else len(whole)
    assert (
        f"{file}: damaged or incomplete after {first:,} of {size:,} bytes; "
        f"{size - len(intact):,} bytes were skipped{places}, and {len(intact) / size:.1%} could be "
        f"read, up to step {7 if 8 in lost else 8}"
    ) in " ".join(result.stderr.split())
    assert steps_of(read("merged")) == [step for step in range(1, 9) if step not in lost]


def test_a_damaged_byte_costs_a_single_record(tmp_path: Path) -> None:
    whole = write_run("run", range(1, 3)).read_bytes()
    starts, file = starts_of(whole), tmp_path / "damaged.tfevents"

    @settings(max_examples=30)
    @given(st.integers(starts[1], len(whole) - 1), st.integers(1, 255))
    def recovers_the_others(position: int, bits: int) -> None:
        file.write_bytes(flipped(whole, position, bits))
        lost = max(i for i, start in enumerate(starts) if start <= position)
        found = read_event_file(file)
        assert found.skipped == ((starts[lost], starts[lost + 1]),)
        assert found.n_records == len(starts) - 2

    recovers_the_others()


def test_an_event_file_in_a_damaged_record_is_not_recovered() -> None:
    embedded = write("inner", [summary(50, *values_of(50))]).read_bytes()
    image = Summary.Image(height=1, width=1, colorspace=1, encoded_image_string=embedded)
    values = Summary.Value(tag="page", image=image)
    file = write("run", [summary(n, *values_of(n), values) for n in (1, 2, 3)])
    content = file.read_bytes()
    file.write_bytes(flipped(content, starts_of(content)[2] + 12))
    done("cut", "run", "--out", "cut")
    assert steps_of(read("cut")) == [1, 3]
    file.write_bytes(content[:-4])  # while the last event was written, the run was killed
    done("cut", "run", "--out", "killed")
    assert steps_of(read("killed")) == [1, 2]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty; remove it, or restore it"),
        (b"\x80PNG" * 40, "not an event file of TensorBoard, or its start is damaged"),
        (b"\0", "not an event file of TensorBoard, or its start is damaged"),
    ],
)
def test_other_files_are_refused(content: bytes, problem: str) -> None:
    Path("x.tfevents").write_bytes(content)
    assert error("cut", "x.tfevents", "--out", "cut") == f"x.tfevents: {problem}"
    assert not Path("cut").exists()


def test_records_of_other_programs_are_refused() -> None:
    """Records of the same form, whose first one is not a version."""
    file = write_run("run", [1])
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    file.write_bytes(content[16 + length :])
    assert error("cut", "run", "--out", "cut").endswith("or its start is damaged")


def test_a_folder_without_event_files() -> None:
    Path("empty").mkdir()
    write_run("runs/a", [1])
    assert error("merge", "empty", "--out", "x").endswith(
        "no event files of TensorBoard (*tfevents*)"
    )
    assert error("merge", "runs", "--out", "x").endswith("(*tfevents*); did you mean runs/a?")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--from 9", "--from 9: keeps nothing; the steps are 2 to 5"),
        ("--to 1", "--to 1: keeps nothing; the steps are 2 to 5"),
        ("--from 4 --to 3", "--from 4: is after --to 3"),
        ("--from 3 --shift -4", "--shift -4: step 3 would become negative; expected at least -3"),
        (
            "--tags [",
            "--tags [: not a regular expression: unterminated character set at position 0",
        ),
        (
            "--tags loss$x",
            "--tags loss$x: matches no tag; the files contain lr/pg0, note, page, train/loss, weights",
        ),
    ],
)
def test_selections_that_keep_nothing(options: str, message: str) -> None:
    write_run("run", range(2, 6))
    assert error("cut", "run", "--out", "cut", *options.split()) == message
    assert not Path("cut").exists()


def test_a_run_without_values() -> None:
    write("run", [])
    assert done("cut", "run", "--out", "cut", "--from", 5)["records"] == 1


def test_existing_files_are_protected() -> None:
    file = write_run("run", [1, 2])
    content = file.read_bytes()
    assert "is an input" in error("cut", "run", "--out", "run", "--force", "--to", 1)
    assert file.read_bytes() == content
    done("cut", "run", "--out", "cut")
    assert "already exists" in error("cut", "run", "--out", "cut", "--to", 1)
    assert done("cut", "run", "--out", "cut", "--to", 1, "--force")["records"] == 4
    shutil.copy(file, "cut/other.tfevents")
    assert re.search("files other than", error("cut", "run", "--out", "cut", "--force"))
    assert error("merge", "run", file, "--out", "x") == "duplicate file; give every run once"


def test_the_steps_of_a_file_are_those_of_its_values() -> None:
    file = read_event_file(write_run("run", [4, 2, 9]))
    assert (file.first_step, file.last_step, file.read_bytes) == (2, 9, file.size)
    assert file.first_steps[LOSS] == 2
    assert file.damage == ""
