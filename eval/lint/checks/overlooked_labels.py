"""Rule ``overlooked-label``: symbols that a trained network finds, and that have no label."""

import numpy as np

from eval.lint.findings import RankedLabel
from eval.lint.label_scores import LabelScores, Predictions
from eval.lint.pages import LintPage
from eval.lint.ranking import RankingCheck, ranked_label


class OverlookedLabels(RankingCheck):
    """Counts predictions that no label explains; the share is that of the predictions."""

    def add_scores(self, page: LintPage, scores: LabelScores, predictions: Predictions) -> None:
        """Add the predictions of an image; in tiles, those that touch the border are skipped."""
        is_cut = page.touch_edge(predictions.boxes_xyxy) & page.is_tile
        rows = np.flatnonzero(~is_cut)

        def entry(index: int) -> RankedLabel:
            row = int(rows[index])
            score = float(scores.overlooked[row])
            return ranked_label(page, predictions, self.names, score, label=None, prediction=row)

        self.rank(page, predictions.labels[rows], scores.overlooked[rows], entry)
