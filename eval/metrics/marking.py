"""Right and wrong predictions on a page, for its overlay in a report.

Shapes: C classes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from converters.images import Pixels
from converters.page import Page
from eval.metrics.backends import EvaluatorInput, run
from eval.metrics.symbol_table import SymbolTable, table_order
from eval.reports.page_overlays import MarkedPage


def marked_page(
    truth: Page, prediction: Page, thresholds: Sequence[float], pixels: Pixels | None
) -> MarkedPage:
    """Mark the symbols that predictions find, and the predictions that find one.

    Args:
        truth: Ground truth of a page.
        prediction: Predictions for it, with scores.
        thresholds: Confidence from which a prediction counts, length C.
        pixels: Image of the page; None if it is not available.
    """
    assert prediction.scores is not None
    kept = prediction.only(prediction.scores >= np.array(thresholds)[prediction.labels])
    truth, kept = (page.only(table_order(page)) for page in (truth, kept))
    data = EvaluatorInput(
        truths=SymbolTable.of([replace(truth, scores=None)]),
        predictions=SymbolTable.of([kept]),
        n_classes=len(thresholds),
        max_det=max(len(kept.labels), 1),
    )
    is_found, is_right = (np.zeros(len(page.labels), np.bool_) for page in (truth, kept))
    for cell in filter(None, run(data, iou_thresholds=[0.5]).evalImgs):
        if len(cell["gtIds"]) and len(cell["dtIds"]):
            is_found[np.asarray(cell["gtIds"]) - 1] = np.asarray(cell["gtMatches"])[0] > 0
            is_right[np.asarray(cell["dtIds"]) - 1] = np.asarray(cell["dtMatches"])[0] > 0
    return MarkedPage(
        truth=truth, is_found=is_found, prediction=kept, is_right=is_right, pixels=pixels
    )
