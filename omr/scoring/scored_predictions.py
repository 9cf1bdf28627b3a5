"""Predictions to be scored, with what is known about where they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from omr.scoring.class_matching import MatchedPredictions
from omr.scoring.protocol import ScoredSource, ScoringSettings
from omr.scoring.result import UNKNOWN_OVERLAP, TrainingOverlap


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredPredictions:
    """Predictions for every page or tile of a split."""

    source: ScoredSource
    """Weights or files that they come from."""
    settings: ScoringSettings
    matched: MatchedPredictions
    overlap: TrainingOverlap = UNKNOWN_OVERLAP
    """Pages or tiles that the model was trained on."""
    differences: tuple[str, ...] = ()
    """Settings and properties of the data that differ from those in training."""
    heads: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Classes of each head of the network; empty if there is one head, or it is unknown."""
    remarks: tuple[str, ...] = ()
    """Notes that limit the meaning of the metrics."""
