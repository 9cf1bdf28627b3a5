"""Runs of a session, each trained and scored in processes of its own, one run per device."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, TypeAlias

import yaml

from class_maps import ConfigError, OmrError
from converters.files.atomic_files import atomic_file
from converters.files.output_lock import check_unlocked
from converters.files.overwriting import is_free
from omr.run_listing import read_run
from omr.scoring.evaluation_folders import REPORT_FILE
from omr.session import child
from omr.session.folder import SessionFolder
from omr.session.preflight import end_of, last_line
from omr.session.state import SessionState, Status, save_state
from settings.run_files import LAST_WEIGHTS, STATE_FILE, WEIGHTS_FOLDER

POLL_S = 0.1
END_S = 60.0
"""Time that an interrupted process has to end."""
UNLOCK_S = 10.0
"""Time in which the process of a killed session ends and releases its run."""
BEST_WEIGHTS = "best.pt"


class Job(Protocol):
    """Process of a run, such as :class:`subprocess.Popen`."""

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process is running."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, unless the process has ended."""


Start: TypeAlias = Callable[[Sequence[str], Mapping[str, str], IO[bytes]], Job]
"""Starts a process from the arguments of ``omr``, the environment and the file of its output."""
Changed: TypeAlias = Callable[[str], None]
"""Called with the name of a run that has started, has been trained or has ended."""


@dataclass(kw_only=True, slots=True)
class _Active:
    """Run whose process is running."""

    job: Job
    log: IO[bytes]
    began: float
    resumes: bool
    """Whether the process resumes a training."""


@dataclass(kw_only=True, slots=True)
class SessionRunner:
    """Trains and scores the runs of a session, and saves its state after every change."""

    folder: SessionFolder
    state: SessionState
    devices: Sequence[str]
    """Devices, each of which trains one run at a time: ``cpu``, or indices of GPUs."""
    changed: Changed
    keep_going: bool = False
    """Whether further runs are started after one has failed."""
    start: Start = child.start
    _active: dict[str, _Active] = field(default_factory=dict)
    _has_failed: bool = False

    def run(self, names: Sequence[str]) -> None:
        """Run what is left of each run, in order.

        Args:
            names: Runs that are not done.

        Raises:
            KeyboardInterrupt: The user stopped the session.
            OSError: A file of the session cannot be written.
        """
        waiting = [*names]
        try:
            while True:
                for device in self._free_devices():
                    if waiting and (self.keep_going or not self._has_failed):
                        self._begin(waiting.pop(0), device)
                if not self._active and (not waiting or (self._has_failed and not self.keep_going)):
                    return
                time.sleep(POLL_S if self._active else 0)
                for name in [*self._active]:
                    self._check(name)
        finally:
            self._interrupt_all()

    def _free_devices(self) -> list[str]:
        busy = {self.state.runs[name].device for name in self._active}
        return [device for device in self.devices if device not in busy]

    def _begin(self, name: str, device: str) -> None:
        """Start or resume a run on a device."""
        run = self.state.runs[name]
        is_first = not run.attempts
        run.attempts, run.device, run.error = run.attempts + 1, device, ""
        try:
            training = None if run.is_trained else self._training(name, is_first=is_first)
        except OmrError as error:
            self._fail(name, str(error))
            return
        if training is None:
            run.is_trained = True
            self._start(name, "scoring", self._scoring(name))
        else:
            self._start(name, "training", training)

    def _training(self, name: str, *, is_first: bool) -> list[str] | None:
        """Return the command that trains or resumes a run; None if it is trained.

        Raises:
            ConfigError: Another process is writing to the run, or files of it are missing.
        """
        run, folder, settings = (
            self.state.runs[name],
            self.folder.run(name),
            self.folder.settings(name),
        )
        _wait_until_unlocked(folder)
        settings.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(settings) as part:
            part.write_text(yaml.safe_dump(run.settings, sort_keys=False), "utf-8")
        new = ["train", "--config", str(settings), *self._common(name, folder)]
        if is_free(folder):
            return new
        weights = folder / WEIGHTS_FOLDER
        if is_first:
            return [*new, "--force"]
        if (weights / STATE_FILE).is_file():
            data = run.settings["data"]
            folders = data if isinstance(data, list) else [data]
            return ["train", *folders, "--resume", *self._common(name, folder)]
        entry = read_run(folder)
        if entry.status == "finished":
            return None
        if entry.epochs > 1 and (weights / LAST_WEIGHTS).is_file():
            raise ConfigError(
                f"{folder}: {'; '.join(entry.problems)}; restore the files, or remove the folder "
                "to train the run again"
            )
        return [*new, "--force"]  # killed before it had saved the first epoch

    def _scoring(self, name: str) -> list[str]:
        scoring, weights = self.state.scoring, self.folder.run(name) / WEIGHTS_FOLDER / BEST_WEIGHTS
        unit = ["--unit", scoring["unit"]] if scoring["unit"] else []
        data = [str(weights), scoring["data"], "--split", scoring["split"], *unit]
        return ["eval", *data, "--force", *self._common(name, self.folder.score(name))]

    def _common(self, name: str, out: Path) -> list[str]:
        device = self.state.runs[name].device
        return ["--out", str(out), "--device", device if device == child.CPU else "0"]

    def _start(self, name: str, status: Status, arguments: Sequence[str]) -> None:
        """Start a process of a run, whose state is saved before."""
        run = self.state.runs[name]
        run.status = status
        save_state(self.folder.root, self.state)
        path = self.folder.log(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("a+b")
        environment = child.environment_of([run.device], os.environ)
        self._active[name] = _Active(
            job=self.start(arguments, environment, log),
            log=log,
            began=time.monotonic(),
            resumes="--resume" in arguments,
        )
        self.changed(name)

    def _check(self, name: str) -> None:
        """Continue a run whose process has ended."""
        active, run = self._active[name], self.state.runs[name]
        exit_status = active.job.poll()
        if exit_status is None:
            return
        self._close(name)
        is_training = run.status == "training"
        # A run that was killed after its last epoch refuses to be resumed.
        if exit_status and is_training and active.resumes:
            exit_status = 0 if read_run(self.folder.run(name)).status == "finished" else exit_status
        if exit_status:
            with self.folder.log(name).open("rb") as log:
                self._fail(name, end_of(exit_status, last_line(log)))
        elif is_training:
            run.is_trained = True
            self._start(name, "scoring", self._scoring(name))
        else:
            macro = json.loads((self.folder.score(name) / REPORT_FILE).read_bytes())["macro"]
            run.score = {key: macro[key] for key in ("ap", "ap50")}
            run.status = "done"
            save_state(self.folder.root, self.state)
            self.changed(name)

    def _fail(self, name: str, error: str) -> None:
        run = self.state.runs[name]
        run.status, run.error, self._has_failed = "failed", error, True
        save_state(self.folder.root, self.state)
        self.changed(name)

    def _close(self, name: str) -> None:
        active = self._active.pop(name)
        active.log.close()
        self.state.runs[name].seconds += time.monotonic() - active.began

    def _interrupt_all(self) -> None:
        """Interrupt the processes that are running, and wait for them."""
        for active in self._active.values():
            active.job.send_signal(signal.SIGINT)
        end = time.monotonic() + END_S
        for name, active in [*self._active.items()]:
            while active.job.poll() is None:
                if time.monotonic() > end:
                    active.job.send_signal(signal.SIGKILL)
                time.sleep(POLL_S)
            self._close(name)
            self.state.runs[name].status = "interrupted"
            with contextlib.suppress(OSError):  # a full disk; the state says that it was running
                save_state(self.folder.root, self.state)


def _wait_until_unlocked(folder: Path) -> None:
    """Wait until the process of a killed session has released a run.

    Raises:
        ConfigError: Another process keeps writing to it.
    """
    end = time.monotonic() + UNLOCK_S
    while True:
        try:
            check_unlocked(folder)
        except ConfigError:
            if time.monotonic() > end:
                raise
            time.sleep(POLL_S)
        else:
            return
