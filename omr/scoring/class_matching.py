"""Matching of predicted classes with those of a data set, by name.

Shapes: C classes of the data set, K classes of the predictions.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from class_maps import ConfigError, with_nearest
from converters.page import Page
from converters.stored_pages import StoredPages
from converters.tracking import Track


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MatchedPredictions:
    """Predictions for the pages or tiles of a split, with the labels of the data set."""

    pages: StoredPages
    """One per page or tile, with at most ``max_det`` symbols, highest score first."""
    max_det: int
    ignored_classes: tuple[str, ...]
    """Classes of the predictions that the data set does not have."""
    missing_classes: tuple[str, ...]
    """Classes of the data set that are never predicted."""
    n_ignored: int
    """Predictions of ignored classes."""
    unlabelled: Mapping[str, int]
    """Number of predictions that were omitted because the data set of their page never labels their
    class, by class."""

    @property
    def n_at_max_det(self) -> int:
        """Number of pages or tiles with ``max_det`` symbols."""
        return sum(len(page.labels) >= self.max_det for page in self.pages)


def match_classes(
    predicted: Iterable[Page],
    n_pages: int,
    names: Sequence[str],
    data_names: Sequence[str],
    *,
    max_det: int,
    track: Track[Page],
    unlabelled: Mapping[PurePosixPath, frozenset[int]],
) -> MatchedPredictions:
    """Give predictions the labels of the data set, and limit their number.

    Args:
        predicted: Predictions, highest score first.
        n_pages: Number of pages.
        names: Class names of the predictions, length K.
        data_names: Class names of the data set, length C.
        max_det: Maximum number of symbols per page.
        track: Wrapper around the predicted pages that shows progress.
        unlabelled: Labels of the classes that are never annotated on a page, by its name;
            predictions of them are omitted.
    """
    pages, n_ignored, omitted = StoredPages(), 0, Counter[str]()
    for page in track(predicted, n_pages):
        known = relabel(page, names, data_names)
        n_ignored += len(page.labels) - len(known.labels)
        is_labelled = ~np.isin(known.labels, [*unlabelled.get(page.image, ())])
        omitted.update(data_names[label] for label in known.labels[~is_labelled].tolist())
        pages.append(known.only(is_labelled).only(slice(max_det)))
    return MatchedPredictions(
        pages=pages,
        max_det=max_det,
        ignored_classes=tuple(name for name in names if name not in data_names),
        missing_classes=tuple(name for name in data_names if name not in names),
        n_ignored=n_ignored,
        unlabelled={name: omitted[name] for name in data_names if omitted[name]},
    )


def relabel(page: Page, names: Sequence[str], data_names: Sequence[str]) -> Page:
    """Return a prediction with the labels of a data set, without classes that the set lacks.

    Args:
        page: Predicted symbols, with labels of the predictions.
        names: Class names of the predictions by label, length K.
        data_names: Names of the data set's classes by label, length C.
    """
    if tuple(names) == tuple(data_names):
        return page
    label_of = {name: label for label, name in enumerate(data_names)}
    new_labels = np.array([label_of.get(name, -1) for name in names], dtype=np.int64)  # (K,)
    labels = new_labels[page.labels]
    return replace(page, labels=labels).only(labels >= 0)


def check_names(
    names: Sequence[str], data_names: Sequence[str], truths: Iterable[Page], kind: str
) -> None:
    """Check that each class with ground truth can be predicted, and that names are unique.

    Args:
        names: Class names of the predictions, length K.
        data_names: Class names of the data set, length C.
        truths: Ground truth.
        kind: ``weights`` or ``predictions``, for messages.

    Raises:
        ConfigError: A class is missing, or a name is duplicated.
    """
    if tuple(names) == tuple(data_names):
        return
    problems = [
        f"duplicate names in the {origin}: {', '.join(duplicates)}"
        for origin, of_origin in ((kind, names), ("data", data_names))
        if (duplicates := sorted(name for name, n in Counter(of_origin).items() if n > 1))
    ]
    present = {data_names[label] for truth in truths for label in np.unique(truth.labels)}
    if missing := present - set(names):
        problems.append(
            f"not in the {kind}: {with_nearest(missing, names)}; convert the data set "
            f"again with the class map of the {kind}, or score other {kind}"
        )
    if problems:
        raise ConfigError(f"classes of {kind} and data differ: {'; '.join(problems)}")
