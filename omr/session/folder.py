"""Folder of a session."""

from dataclasses import dataclass
from pathlib import Path

from omr.session.state import STATE_FILE

REPORT_HTML, REPORT_MARKDOWN = "report.html", "report.md"
COMPARISON_FILES = "comparison.html", "comparison.md", "comparison.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionFolder:
    """Paths of everything that a session writes."""

    root: Path

    @property
    def state(self) -> Path:
        """State of all runs; marks the folder as that of a session."""
        return self.root / STATE_FILE

    def settings(self, name: str) -> Path:
        """Return the configuration file that a run is started with."""
        return self.root / "settings" / f"{name}.yaml"

    def run(self, name: str) -> Path:
        """Return the run folder of ``omr train``."""
        return self.root / "runs" / name

    def score(self, name: str) -> Path:
        """Return the folder of ``omr eval``."""
        return self.root / "scores" / name

    def log(self, name: str) -> Path:
        """Return the file with the output of a run's processes."""
        return self.root / "logs" / f"{name}.log"
