"""Predictions of a trained network for the labelled images of ``omr lint --weights``."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError, short_list
from converters.formats.yolo_dataset import YoloDataset
from converters.manifest import Manifest, read_manifest
from eval.html.number_format import counted
from eval.lint.label_scores import Predictions
from eval.lint.pages import LintPage
from omr.prediction import PredictOptions, open_network, reading_options
from reading.network import training_input
from reading.page_reader import prepare, read_page

MOST_NAMES = 5
"""Maximum number of class names in a note."""


class LabelPredictor:
    """Reads labelled images as ``omr predict`` does, with the class names of the data set.

    Args:
        weights: Weights of a training, or an ``.onnx`` or ``.tflite`` file.
        dataset: Data set with the images.
        device: ``cpu``, ``0`` ...; empty for the first CUDA device, or the CPU.
        trust: Whether loading pickled weights may execute their code.

    Raises:
        ConfigError: The weights share no class with the data, or do not record how the pages of
            their training were prepared.
        InputError: The weights cannot be read.
    """

    def __init__(
        self, weights: Path, dataset: YoloDataset, *, device: str = "", trust: bool = False
    ) -> None:
        network = self._network = open_network(weights, device=device, trust=trust)
        self._names = dataset.names
        label_of = {name: label for label, name in enumerate(dataset.names)}
        self._labels = np.array([label_of.get(name, -1) for name in network.names])
        if (self._labels < 0).all():
            raise ConfigError(
                f"no class in common with {dataset.root}; the weights find "
                f"{short_list(network.names, 3)}, the data labels {short_list(dataset.names, 3)}",
                option="--weights",
                value=weights,
            )
        expected = training_input(network.preparations)
        if isinstance(expected, str):
            raise ConfigError(
                f"the weights {expected}; use weights that omr train wrote from a data set of omr "
                "convert",
                option="--weights",
                value=weights,
            )
        self._options = reading_options(network, PredictOptions(weights=weights))
        self._labelled = _labelled_by_source(dataset.names, read_manifest(dataset.root))
        self._n_without_staves = 0

    def added_to(self, pages: Iterable[LintPage]) -> Iterator[LintPage]:
        """Yield images whose predictions are made when a rule needs them."""
        for page in pages:
            predicted = replace(page, predict=self._predict)
            predicted.measured.update(page.measured)  # by other processes, which `replace` drops
            yield predicted

    @property
    def notes(self) -> list[str]:
        """Classes and images of which predictions were not compared with labels."""
        known = set(self._network.names)
        return [
            *_left_out([name for name in self._names if name not in known], "the weights lack"),
            *_left_out(
                [name for name in self._network.names if name not in self._names],
                "the data set lacks",
            ),
            *(
                [f"{counted(self._n_without_staves, 'image', 'images')} without staves"]
                if self._n_without_staves
                else []
            ),
        ]

    def _predict(self, page: LintPage) -> Predictions | None:
        """Find the symbols of an image; None without staves."""
        network, staff_space = self._network, page.staff_space
        if staff_space is None:
            self._n_without_staves += 1
            return None
        options = replace(self._options, staff_space=staff_space)
        prepared = prepare(page.page.image, page.pixels, network.imgsz, options)
        symbols = read_page(prepared, network, options)
        of_source = self._labelled.get(page.source, self._labelled[""])
        is_known = of_source & np.isin(np.arange(len(self._names)), self._labels)
        classes, scores = symbols.labels, np.asarray(symbols.scores)
        limits = np.array(
            options.class_thresholds or [options.score_thresh] * len(network.names), float
        )[classes]
        labels = self._labels[classes]
        is_of_data = (labels >= 0) & is_known[labels]
        return Predictions(
            boxes_xyxy=symbols.boxes_xyxy[is_of_data],
            labels=labels[is_of_data],
            confidences=(0.5 + 0.5 * (scores - limits) / (1 - limits))[is_of_data],
            is_known=is_known,
            staff_space=staff_space,
        )


def _labelled_by_source(names: Sequence[str], manifest: Manifest) -> dict[str, NDArray[np.bool_]]:
    """Return the classes that each source labels, shape ``(C,)``; an empty name for any other."""
    unlabelled = {data_set.name: set(data_set.unlabelled) for data_set in manifest.data_sets}
    unlabelled[""] = set(manifest.class_map.unlabelled)
    return {
        source: np.array([name not in missing for name in names])
        for source, missing in unlabelled.items()
    }


def _left_out(names: Sequence[str], who: str) -> list[str]:
    if not names:
        return []
    classes = counted(len(names), "class", "classes")
    return [f"{classes} that {who}: {short_list(names, MOST_NAMES)}"]
