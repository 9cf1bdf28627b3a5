"""Progress of ``omr train`` on stderr.

On a terminal, progress is a table with a row per epoch, whose last row is updated in place.
Elsewhere every epoch is a line, and a longer epoch has a line every ten seconds.
"""

import time
from collections.abc import Iterable, Mapping

from rich.live import Live
from rich.text import Text

from eval.html.number_format import counted
from omr.console import (
    LIVE_INTERVAL_S,
    PLAIN_INTERVAL_S,
    Pace,
    err,
    is_live,
    paragraph,
    say,
)
from settings.run_files import MAP, MAP50, PAGE_MAP
from training.engine.display import TrainingDisplay, TrainingStart, TrainingStep
from training.memory.gpus import GIB

GAP = "  "
"""Space between two columns."""
METRICS: Mapping[str, str] = {"mAP50": MAP50, "mAP50-95": MAP}
"""Validation metrics by their headings; while an epoch is in progress, its position takes their
place."""
PAGE_METRICS = {"page AP": PAGE_MAP, "tile AP": MAP}
"""Validation metrics if pages are scored: the mean AP50-95 that selects the best epoch, and that of
the images as they are."""
WIDTHS = {"lr": 8, "time": 12, "memory": 8}
"""Width of the columns other than the epoch, the losses and the validation."""
LOSS_WIDTH = 5


def training_display() -> TrainingDisplay:
    """Build the display that suits stderr."""
    return TableDisplay() if is_live() else LineDisplay()


class LineDisplay:
    """Display of complete lines, for files and pipes."""

    def __init__(self) -> None:
        self._pace = Pace(PLAIN_INTERVAL_S)
        self._clock = _Clock()
        self._metrics = METRICS

    def start(self, training: TrainingStart) -> None:
        """Print the model and the data."""
        _show_start(training)
        self._metrics = _metrics(training)
        self._clock.start(training.epochs_done)

    def is_due(self) -> bool:
        """Return whether the last line is ten seconds old."""
        return self._pace.is_due()

    def show_step(self, step: TrainingStep) -> None:
        """Print the losses so far, the position in the epoch and the time left."""
        self._print(step, _position(step), self._clock.time_left(step))

    def show_validation(self, batch: int, n_batches: int) -> None:
        """Print the number of validated batches."""
        say(f"validated {batch} of {n_batches} batches")
        self._pace.restart()

    def show_epoch(self, step: TrainingStep, metrics: Mapping[str, float]) -> None:
        """Print the losses, the metrics and the duration of an epoch."""
        values = _validation(metrics, self._metrics)
        validation = GAP.join(f"{name} {value}" for name, value in values.items())
        self._print(step, validation, self._clock.end_epoch())

    def stop(self) -> None:
        """Do nothing, as every line is complete."""

    def _print(self, step: TrainingStep, position: str, duration: str) -> None:
        heading = _heading(self._metrics)
        cells = _cells(step, heading, position, duration)
        named = [
            text if name in {heading, "time", "memory"} else f"{name} {text:>{_width(name, step)}}"
            for name, text in cells.items()
        ]
        say(GAP.join(filter(None, named)))
        self._pace.restart()


class TableDisplay:
    """Table on a terminal, whose last row is updated in place."""

    def __init__(self) -> None:
        self._pace = Pace(LIVE_INTERVAL_S, at_once=True)
        self._clock = _Clock()
        self._metrics = METRICS
        # No thread refreshes it: a loader process forked meanwhile would inherit a locked lock.
        self._live = Live(console=err, auto_refresh=False, transient=True)
        self._has_header = False
        self._last: TrainingStep | None = None

    def start(self, training: TrainingStart) -> None:
        """Print the model and the data, and start the last row."""
        _show_start(training)
        self._metrics = _metrics(training)
        self._clock.start(training.epochs_done)
        self._live.start()

    def is_due(self) -> bool:
        """Return whether the last row is a quarter of a second old."""
        return self._pace.is_due()

    def show_step(self, step: TrainingStep) -> None:
        """Update the last row: losses so far, position in the epoch and time left."""
        self._last = step
        self._update(step, _position(step))

    def show_validation(self, batch: int, n_batches: int) -> None:
        """Update the last row: number of validated batches and time left."""
        if step := self._last:
            self._update(step, f"val {batch}/{n_batches}")

    def show_epoch(self, step: TrainingStep, metrics: Mapping[str, float]) -> None:
        """Print the row of an epoch, and start the next one."""
        widths = map(len, self._metrics)
        values = [*_validation(metrics, self._metrics).values()] or ["-", "-"]
        validation = GAP.join(map(str.rjust, values, widths))
        cells = _cells(step, _heading(self._metrics), validation, self._clock.end_epoch())
        self._print_header(cells, step)
        self._live.update(Text(), refresh=True)
        err.print(_row(cells.items(), step))

    def stop(self) -> None:
        """Remove the last row, as its epoch was not finished."""
        self._live.stop()

    def _update(self, step: TrainingStep, position: str) -> None:
        cells = _cells(step, _heading(self._metrics), position, self._clock.time_left(step))
        self._print_header(cells, step)
        self._live.update(_row(cells.items(), step), refresh=True)
        self._pace.restart()

    def _print_header(self, cells: Mapping[str, str], step: TrainingStep) -> None:
        """Print the headings once; the names of the losses are unknown before the first step."""
        if not self._has_header:
            err.print(_row(((name, name) for name in cells), step, style="bold"))
        self._has_header = True


class _Clock:
    """Clock that estimates the remaining training time from the epochs of this call."""

    def __init__(self) -> None:
        self.start(0)

    def start(self, epochs_done: int) -> None:
        """Start the clock after a number of finished epochs."""
        self._begin = self._epoch_begin = time.monotonic()
        self._epochs_done = epochs_done

    def time_left(self, step: TrainingStep) -> str:
        """Estimate the time until the last epoch ends."""
        done = step.epoch - 1 + step.step / step.n_steps
        seconds_per_epoch = (time.monotonic() - self._begin) / (done - self._epochs_done)
        return f"{_duration(seconds_per_epoch * (step.n_epochs - done))} left"

    def end_epoch(self) -> str:
        """Return the duration of the current epoch, and start the next one."""
        now = time.monotonic()
        seconds, self._epoch_begin = now - self._epoch_begin, now
        return _duration(seconds)


def _show_start(training: TrainingStart) -> None:
    heads, epochs = (
        counted(training.n_heads, "head", "heads"),
        counted(training.n_epochs, "epoch", "epochs"),
    )
    run = f"resumed after {training.epochs_done} of {epochs}" if training.epochs_done else epochs
    paragraph(
        f"{training.model}, {heads}, {training.boxes}; "
        f"{counted(training.n_images, 'image', 'images')}, "
        f"{counted(training.n_symbols, 'symbol', 'symbols')}; {run}"
    )
    activations = f"activations: {training.activations}"
    for text in filter(None, (training.transfer, activations, training.recalibration)):
        paragraph(text)


def _cells(step: TrainingStep, heading: str, position: str, duration: str) -> dict[str, str]:
    """Return the text of each column by its name, that of the position by ``heading``."""
    losses = {name.removesuffix("_loss"): _loss(loss) for name, loss in step.losses.items()}
    return {
        "epoch": f"{step.epoch}/{step.n_epochs}",
        **losses,
        "lr": f"{step.rate:.2e}",
        heading: position,
        "time": duration,
        "memory": f"{step.memory_bytes / GIB:.1f} GiB",
    }


def _row(cells: Iterable[tuple[str, str]], step: TrainingStep, style: str = "") -> Text:
    """Align cells with their columns; columns that do not fit the terminal are cut off."""
    texts = [text.rjust(_width(name, step)) for name, text in cells]
    return Text(GAP.join(texts), style=style, no_wrap=True, overflow="ellipsis")


def _width(name: str, step: TrainingStep) -> int:
    if name == "epoch":
        return max(len(name), 2 * len(str(step.n_epochs)) + 1)
    return WIDTHS.get(name, max(len(name), LOSS_WIDTH))


def _position(step: TrainingStep) -> str:
    return f"step {step.step}/{step.n_steps}"


def _metrics(training: TrainingStart) -> Mapping[str, str]:
    """Return the metrics to show by their headings."""
    return PAGE_METRICS if training.scores_pages else METRICS


def _heading(metrics: Iterable[str]) -> str:
    """Return the heading of the column that shows metrics, or a position within the epoch."""
    return GAP.join(metrics)


def _validation(values: Mapping[str, float], metrics: Mapping[str, str]) -> dict[str, str]:
    """Return the validation metrics by their headings; empty without validation."""
    return {heading: f"{values[name]:.3f}" for heading, name in metrics.items() if name in values}


def _loss(value: float) -> str:
    """Format a loss with four digits."""
    decimals = 3 - sum(value >= limit for limit in (10, 100))
    return f"{value:.{decimals}f}" if value < 1000 else f"{value:.0e}"


def _duration(seconds: float) -> str:
    """Format a duration as ``M:SS`` or ``H:MM:SS``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
