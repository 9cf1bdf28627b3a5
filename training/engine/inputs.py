"""Inputs of a training, opened once and passed to every check and to the trainer."""

from dataclasses import dataclass

from ultralytics.nn.tasks import DetectionModel

from training.data.label_files import ImageLabels, LabelCounts, SplitLabels, read_labels, total
from training.data.multi_dataset import MultiDataset, join
from training.engine.run_options import RunOptions
from training.models.checkpoints import load_weights

SPLITS = "train", "val"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingInputs:
    """Everything that a training reads before its first step, apart from pixels."""

    model: DetectionModel | None
    """Model of the weights file; None to train from scratch."""
    data: MultiDataset
    labels: tuple[dict[str, SplitLabels], ...]
    """Labels of ``train`` and ``val`` of each data set, in the order of ``data.sources``."""

    @property
    def counts(self) -> dict[str, LabelCounts]:
        """Counts of ``train`` and ``val`` over all data sets."""
        return {split: total(labels[split].counts for labels in self.labels) for split in SPLITS}

    @property
    def counts_by_folder(self) -> dict[str, dict[str, LabelCounts]]:
        """Counts of ``train`` and ``val`` of each data set, by its folder."""
        return {
            str(folder): {split: labels[split].counts for split in SPLITS}
            for folder, labels in zip(self.data.options.folders, self.labels, strict=True)
        }

    def image_labels(self, split: str) -> dict[str, ImageLabels]:
        """Return the labels of every image of ``train`` or ``val``, by its absolute path."""
        return {
            file: image for labels in self.labels for file, image in labels[split].images.items()
        }


def open_inputs(options: RunOptions) -> TrainingInputs:
    """Open the data sets, and read the weights and each label file once.

    Raises:
        ConfigError: A class name may have different meanings in two data sets.
        InputError: The weights or a data set cannot be read, or have invalid content.
    """
    data = join(options.datasets)
    file = options.weights_file
    return TrainingInputs(
        model=load_weights(file, trust=options.trust) if file else None,
        data=data,
        labels=tuple(read_labels(source.dataset) for source in data.sources),
    )
