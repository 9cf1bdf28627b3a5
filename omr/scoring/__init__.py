"""Scoring: metrics of a model, or of the predictions of any tool, on a split of a data set.

Main path: :func:`~omr.scoring.score.score_model` and :func:`~omr.scoring.score.score_predictions`
read the ground truth (:mod:`~omr.scoring.evaluation_set`, whose pages may be in tiles, see
:mod:`~reading.page_tiles`), predict it with a network (:mod:`~omr.scoring.model_predictions`)
or read the predictions (:mod:`~omr.scoring.prediction_formats`), and return a
:class:`~omr.scoring.result.ScoringResult` with the :class:`~omr.scoring.protocol.Protocol` that it
was computed by.

:func:`~omr.scoring.comparison.compare_folders` compares such results by the symbols that
:mod:`~omr.scoring.symbols_file` keeps.
"""
