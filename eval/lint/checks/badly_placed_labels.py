"""Rule ``badly-placed-label``: boxes that a trained network places differently."""

from eval.lint.label_scores import LabelScores, Predictions
from eval.lint.pages import LintPage
from eval.lint.ranking import RankingCheck


class BadlyPlacedLabels(RankingCheck):
    """Counts labels whose box differs from that of the prediction of their class."""

    def add_scores(self, page: LintPage, scores: LabelScores, predictions: Predictions) -> None:
        """Add the labels of an image."""
        self.rank_labels(page, predictions, scores.badly_placed, scores.same_class)
