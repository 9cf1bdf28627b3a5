"""The run folder: locked during a run, emptied before it, and cleaned up if it fails to start."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from class_maps import ConfigError
from converters.files.output_lock import LOCK, locked_folder
from converters.files.overwriting import Contents, check_folder, unwritten
from settings.run_files import CONFIG_FILE, RECORD_FILE, RESULTS_FILE, STATE_FILE
from training.config import TrainConfig
from training.models.transfer import REPORT_FILE as TRANSFER_FILE
from training.runs.checkpoint_files import REPORT_FILE
from training.runs.provenance import HEADS_FILE, IMAGES_FILE

FIRST_FILES = (
    *("weights/last.pt", "events.out.tfevents.*", RESULTS_FILE, "args.yaml"),
    *(REPORT_FILE, TRANSFER_FILE, IMAGES_FILE, HEADS_FILE, RECORD_FILE, CONFIG_FILE),
)
"""Files that a run writes before the first weights; the marker of the folder comes last."""
LATER_FILES = tuple(
    f"weights/{name}" for name in (STATE_FILE, "last.safetensors", "best.pt", "best.safetensors")
)
"""Files that a run writes later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFolder:
    """Folder that is locked for a run."""

    path: Path
    force: bool
    """Whether to replace a run in the folder."""
    inputs: tuple[Path, ...]
    """Files and folders that must not be in the folder if it is replaced."""
    before: Contents
    """Contents of the folder when it was locked."""

    def clear(self, images: Iterable[Path]) -> None:
        """Remove the run in the folder, if there is one.

        Args:
            images: Images of the data sets.

        Raises:
            ConfigError: The run may not be replaced, or the folder contains training inputs or has
                changed since it was locked.
        """
        if new := self.before.added(self.path):
            raise ConfigError(
                f"{self.path}: changed while omr was reading the data ({new}), so it was not "
                "replaced; start again"
            )
        check_run(self.path, force=self.force, inputs=(*self.inputs, *images))
        if not self.path.is_dir():
            return
        # The marker goes last, so that an interrupted removal can be repeated.
        for old in sorted(self.path.iterdir(), key=lambda file: file.name == CONFIG_FILE):
            if old.name != LOCK:
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()


@contextlib.contextmanager
def locked_run(
    config: TrainConfig, *, force: bool, config_file: Path | None
) -> Iterator[RunFolder]:
    """Check the run folder of a configuration, and lock it during the block.

    Args:
        config: Configuration of the run.
        force: Whether to replace a run in the folder.
        config_file: File that the configuration was read from; must not be in a replaced folder.

    Raises:
        ConfigError: The folder may not be replaced, does not exist although a run is to be resumed,
            or another omr process is writing to it.
    """
    out = config.out
    files = (config.model, config.weights, config.heads, config_file)
    inputs = (config.data, *config.joint, *(Path(file) for file in files if file))
    if not config.resume:
        check_run(out, force=force, inputs=inputs)
    elif not out.is_dir():
        raise ConfigError(f"{out}: no such folder; check --out, or omit --resume for a new run")
    with locked_folder(out), contextlib.closing(Contents(out)) as before:
        yield RunFolder(path=out, force=force, inputs=inputs, before=before)


def check_run(folder: Path, *, force: bool, inputs: Iterable[Path]) -> None:
    """Check that a run folder is free, or may be replaced; see ``check_folder`` for the arguments.

    Raises:
        ConfigError: The folder must not be replaced; also if it contains other files than a run's.
    """
    check_folder(
        folder,
        marker=CONFIG_FILE,
        others=lambda folder: unwritten(folder, is_of_run),
        force=force,
        inputs=inputs,
        resumable=True,
    )


def is_of_run(path: str) -> bool:
    """Check whether a run writes the file of a path, relative to the run folder."""
    name = path.removesuffix(".part")
    return any(fnmatchcase(name, pattern) for pattern in (*FIRST_FILES, *LATER_FILES))


def remove_start(out: Path) -> None:
    """Remove the files that a run has written before its first weights, and no other file."""
    with contextlib.suppress(OSError):
        for pattern in FIRST_FILES:
            for file in (*out.glob(pattern), *out.glob(f"{pattern}.part")):
                file.unlink()
    with contextlib.suppress(OSError):
        (out / "weights").rmdir()
