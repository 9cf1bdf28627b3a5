"""Rule ``swapped-label``: labels in whose place a trained network finds another class."""

from eval.lint.label_scores import LabelScores, Predictions
from eval.lint.pages import LintPage
from eval.lint.ranking import RankingCheck


class SwappedLabels(RankingCheck):
    """Counts labels that coincide with a prediction of another class."""

    def add_scores(self, page: LintPage, scores: LabelScores, predictions: Predictions) -> None:
        """Add the labels of an image."""
        self.rank_labels(page, predictions, scores.swapped, scores.other_class)
