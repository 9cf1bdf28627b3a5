"""Sessions whose processes are stubs, which write the files of a run; killed at their Nth change.

As a program: arguments are N, the session's file and its folder. Forks a session that is killed
with SIGKILL at its Nth change of a file, for every N from 1, resumes it, and prints as JSON what
each resumed session did.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml
from scored_folders import TRUTHS, write_scored

from class_maps import OmrError
from omr.scoring.comparison import ComparisonOptions
from omr.session import report as report_module
from omr.session import running
from omr.session import session as session_module
from omr.session.preflight import Preflight
from omr.session.session import SessionOptions, run_session
from omr.session.state import SessionState
from settings.run_files import MAP, MAP50

EPOCHS = 2
SYMBOLS = True
"""Whether evaluations contain symbols, so that they can be compared."""
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


@dataclass
class StubJob:
    """Process that has ended already, or never ends until it gets a signal."""

    status: int | None
    signals: list[int] = field(default_factory=list)

    def poll(self) -> int | None:
        return self.status

    def send_signal(self, sig: int, /) -> None:
        self.signals.append(sig)
        self.status = -sig


@dataclass
class Stubs:
    """Starts stubs of ``omr train`` and ``omr eval``, and records them.

    Args:
        failing: Words of the command lines that fail, and their messages.
        endless: Word of the command line whose process does not end.
    """

    failing: Mapping[str, str] = field(default_factory=dict)
    endless: str = "no such word"
    started: list[list[str]] = field(default_factory=list)
    visible: list[str | None] = field(default_factory=list)
    """GPUs that each process sees."""
    jobs: list[StubJob] = field(default_factory=list)

    def __call__(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: IO[bytes]
    ) -> StubJob:
        self.started.append([*arguments])
        self.visible.append(environment.get("CUDA_VISIBLE_DEVICES"))
        message = next((m for word, m in self.failing.items() if _has(arguments, word)), None)
        status: int | None = 0
        if message is not None:
            log.write(f"Traceback\n\nerror: {message}\n".encode())
            status = 1
        elif _has(arguments, self.endless):
            status = None
        else:
            (_train if arguments[0] == "train" else _score)([*arguments])
        self.jobs.append(StubJob(status))
        return self.jobs[-1]

    def summary(self) -> list[str]:
        """Describe the commands: ``train a``, ``resume a``, ``eval a``."""
        return [
            f"{'resume' if '--resume' in words else words[0]} {Path(_value(words, '--out')).name}"
            for words in self.started
        ]


def _has(words: Sequence[str], word: str) -> bool:
    return any(word in one for one in words)


def _value(words: Sequence[str], option: str) -> str:
    return words[words.index(option) + 1]


def _train(words: list[str]) -> None:
    """Write the files of a run in the order in which ``omr train`` does."""
    out = Path(_value(words, "--out"))
    weights = out / "weights"
    if "--resume" in words:
        assert (weights / "state.pt").is_file()
        done = int((weights / "state.pt").read_text())
    else:
        if out.exists() and any(out.iterdir()):
            assert "--force" in words, words
            shutil.rmtree(out)
        weights.mkdir(parents=True)
        settings = yaml.safe_load(Path(_value(words, "--config")).read_text())
        (out / "omr.yaml").write_text(yaml.safe_dump({"epochs": EPOCHS} | settings))
        (out / "run.json").write_text(json.dumps({"data": [{"hash": "1"}]}))
        done = 0
    for epoch in range(done + 1, EPOCHS + 1):
        for name in ("last.pt", "best.pt", "state.pt"):
            _replace(weights / name, f"{epoch}")
        rows = [f"{n},1,{3 / n},0.1,{n / 10},{n / 20}\n" for n in range(1, epoch + 1)]
        heading = f"epoch,time,train/box_loss,train/cls_loss,{MAP50},{MAP}\n"
        _replace(out / "results.csv", heading + "".join(rows))
    (weights / "state.pt").unlink()


def _replace(file: Path, text: str) -> None:
    part = file.with_name(f"{file.name}.part")
    part.write_text(text)
    part.replace(file)


def _score(words: list[str]) -> None:
    """Write the files of an evaluation; the runs get different scores."""
    out = Path(_value(words, "--out"))
    if out.exists():
        shutil.rmtree(out)
    assert Path(words[1]).is_file()
    number = sum(map(ord, out.name))
    if SYMBOLS:
        write_scored(out, (number % 7) / 10, seed=number, truths=TRUTHS[:2])
    else:
        out.mkdir(parents=True)
        (out / "report.json").write_text("{}")
    report = json.loads((out / "report.json").read_text())
    report["macro"] = {"ap": number / 1000, "ap50": number / 500}
    (out / "report.json").write_text(json.dumps(report))


def unchecked(devices: Sequence[str] = ("cpu",)) -> Callable[..., Preflight]:
    """Return checks that find nothing."""
    return lambda *_, **__: Preflight(faults=(), devices=tuple(devices), trials=())


def quick_options() -> ComparisonOptions:
    """Return options of a comparison whose intervals do not matter."""
    return ComparisonOptions(metric="ap50", samples=2)


def run_stubs(spec: Path, out: Path, stubs: Stubs, **options: Any) -> SessionState:  # noqa: ANN401
    """Run a session of stubs whose runs are not checked."""
    state, _ = run_session(
        SessionOptions(spec=spec, out=out, **options),
        track=lambda trials, _: trials,
        report_faults=lambda faults: print(*faults, file=sys.stderr),
        changed=lambda _name, _state: None,
        start=stubs,
    )
    return state


def _killed(number: int, spec: Path, out: Path) -> bool:
    """Run a session in a fork that is killed at its Nth change; return whether it was."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if (event in CHANGES or is_write) and str(out) in str(arguments[0]):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    run_stubs(spec, out, Stubs())
    os._exit(0)


def _main() -> None:
    spec, root = Path(sys.argv[1]), Path(sys.argv[2])
    session_module.check_runs = unchecked()  # type: ignore[assignment]
    report_module._comparison = lambda *_: (None, [])  # type: ignore[assignment]
    running.POLL_S = 0
    os.fsync = lambda fd: None
    global SYMBOLS
    SYMBOLS = False
    run_stubs(spec, root / "first", Stubs())  # fills caches that all forks share
    number, outcomes = 0, []
    while True:
        number += 1
        out = root / f"{number}"
        if not _killed(number, spec, out):
            break
        stubs = Stubs()
        try:
            state = run_stubs(spec, out, stubs)
            statuses = {name: run.status for name, run in state.runs.items()}
        except OmrError as error:
            statuses = {"error": str(error)}
        parts = [str(path) for path in out.rglob("*.part") if "runs" not in path.parts]
        reports = {name: (out / name).read_text() for name in ("session.json", "report.md")}
        outcomes.append([statuses, stubs.summary(), parts, reports])
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    _main()
