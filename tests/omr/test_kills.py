"""Commands that are killed before one of their changes on the disk, and repeated."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sharded
from PIL import Image
from stopped_runs import contents

from benchmarks.forked_commands import Launcher, Outcome, launcher

ROOT, HELPERS = Path(__file__).parents[2], Path(__file__).parents[1] / "helpers"
N_KILLS, N_LAST = 2, 3
"""Numbers of random changes, and of last changes, before which a command is killed."""
CONVERT = "convert data {} --tile 100 --format yolo,coco --workers 1"
COMMANDS = {
    "convert": [CONVERT],
    "merge": [f"{CONVERT} --merge", f"{CONVERT} --shard 1/1"],
    "engrave": ["engrave {} --pages 3 --size 400x300 --segmentation --workers 1"],
    "predict": ["predict pages {} --weights w.onnx --staff-space none --format yolo,coco"],
}
"""Command of each case, and those that prepare it."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("kills")
    sharded.write(work / "data", 2)
    (work / "pages").mkdir()
    for i in range(6):
        page = Image.new("L", (150, 80), 255)
        page.paste(0, (20 * i, 30, 20 * i + 12, 40))
        page.save(work / f"pages/{i}.png")
    (work / "w.onnx").touch()
    return work


@pytest.fixture(scope="module")
def commands() -> Iterator[Launcher]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HELPERS)]))
        patch.chdir(ROOT)
        with launcher("ink_commands") as started:
            yield started


@pytest.mark.parametrize("case", COMMANDS)
def test_a_killed_command_continues(case: str, commands: Launcher, work: Path) -> None:
    def run(line: str, out: str) -> Outcome:
        outcome = commands.run(line.format(out).split(), work)
        assert outcome.status == 0, outcome.log
        return outcome

    command, *preparations = COMMANDS[case]
    for line in preparations:
        run(line, f"{case}/out")
    n_changes, n_continued = run(command, f"{case}/out").n_changes, 0
    expected = contents(work / case / "out")
    assert n_changes > 10
    last = [n_changes - i for i in range(N_LAST)]
    for number in random.Random(1).sample(range(1, n_changes - N_LAST), N_KILLS) + last:
        out = f"{case}-{number}/out"
        for line in preparations:
            run(line, out)
        assert commands.run(command.format(out).split(), work, kill_at=number).was_killed
        is_complete = (work / out).exists()  # killed after the final step
        again = commands.run(command.format(out).split(), work)
        assert bool(again.status) == is_complete, again.log
        n_continued += "continuing: " in again.log
        assert contents(work / out) == expected
        left = [path.name for path in (work / out).parent.iterdir()]
        assert [name for name in left if name != ".out.omr.lock"] == ["out"]
    assert n_continued
