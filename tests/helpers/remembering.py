"""An assigner that keeps its results."""

from training.assigners.assigner import Assigner, WrappedAssigner
from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.predictions import Predictions


class Remembering(WrappedAssigner):
    """Wraps an assigner and keeps its assignments."""

    def __init__(self, inner: Assigner) -> None:
        super().__init__(inner)
        self.results: list[Assignment] = []

    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        self.results.append(self.inner.assign(predictions, anchors, targets))
        return self.results[-1]
