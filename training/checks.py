"""Checks before a training run writes anything: configuration and inputs."""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError, InputError, MissingExtraError, short_list
from converters.conversion_checks import MIN_EXPECTED
from eval.html.number_format import counted
from settings.head_config import HeadConfig
from settings.training import STRIDE, AssignerName
from training.config import TrainConfig
from training.data.image_files import check_images
from training.data.label_files import no_symbols
from training.engine.freezing import check_freezing
from training.engine.inputs import TrainingInputs
from training.engine.run_options import RunOptions
from training.engine.tensorboard import check_tensorboard
from training.heads.distance_bins import strides_below_zero
from training.heads.grouped import GroupedDetect
from training.label_checks import check_labels
from training.losses.loss_options import UNUSED
from training.models.building import build_network
from training.models.meta_tensors import MetaTensors
from training.models.transfer import check_fit
from training.models.zoo import read_model
from training.runtime.devices import check_device
from training.runtime.distributed import check_ranks, is_first, n_devices
from training.runtime.library_loggers import quiet
from training.runtime.multiples import check_multiple
from training.runtime.precision import resolved

MOST_NAMES = 8
"""Maximum number of class names per line."""


def check_machine(config: TrainConfig) -> None:
    """Check devices, precision and packages, before any input is opened.

    Raises:
        ConfigError: A device is missing or does not support the precision, or the batch cannot be
            divided among the devices.
        MissingExtraError: A package is not installed.
    """
    resolved(config.precision, torch.device(check_device(config.device)))
    check_ranks(config.device, config.batch)
    if config.tensorboard:
        check_tensorboard()
    if "," in config.device and importlib.util.find_spec("cloudpickle") is None:
        raise MissingExtraError("several devices need cloudpickle: pip install cloudpickle")


def check_inputs(config: TrainConfig, options: RunOptions, inputs: TrainingInputs) -> None:
    """Check that the data sets, weights and settings of a training run match.

    Raises:
        ConfigError: Music would be mirrored; class groups, frozen layers, the input size or the
            last batch do not match the model or the data.
        InputError: The weights belong to another model, an image cannot be used for training,
            labels have errors, or validation would have no symbols.
    """
    options.transforms.check(inputs.data)
    _check_validation(config, inputs)
    model = _model_shape(options, inputs)
    stride = int(model.stride.max())
    check_multiple(
        "--imgsz", config.imgsz, stride, f"{stride}, the largest stride of {config.model}"
    )
    _check_heads(config, options, inputs, model)
    check_freezing(options.freezing, weights=inputs.model, epochs=config.epochs)
    _check_last_batch(config, inputs.counts["train"].images)
    if is_first():
        check_images(inputs.image_labels("train") | inputs.image_labels("val"))
        if config.lint and not config.resume:
            check_labels(inputs, _separate_groups(options.heads, inputs))


def notes_of(
    config: TrainConfig,
    options: RunOptions,
    inputs: TrainingInputs,
    image_hashes: Mapping[str, int],
) -> list[str]:
    """List effects of a training run that its user may not expect, one line each.

    Args:
        config: Training configuration.
        options: Settings beyond Ultralytics' arguments.
        inputs: Opened data sets and weights.
        image_hashes: Short hash of each image.
    """
    notes = [
        remark
        for source in inputs.data.sources
        for remark in source.dataset.skipped_files("train", "val")
    ]
    trained_at = inputs.weights.imgsz if inputs.weights else None
    if trained_at not in (None, config.imgsz):
        notes.append(f"imgsz {config.imgsz}: the weights were trained at {trained_at}")
    if config.batch == n_devices(config.device):
        notes.append(
            f"batch {config.batch}: BatchNorm takes its statistics from single images, as in "
            "Ultralytics, and metrics may drop; use a larger --batch"
        )
    notes += [*_notes_of_same_boxes(options.heads, inputs), *_notes_of_missing_classes(inputs)]
    if not config.validate:
        return notes
    notes += _notes_of_shared_pages(inputs, image_hashes)
    in_train, in_val = (inputs.class_counts(split) > 0 for split in ("train", "val"))
    for absent, present, consequence, is_lacking in (
        ("train", "val", "cannot be learnt", in_val & ~in_train),
        ("val", "train", "cannot be validated", in_train & ~in_val),
    ):
        if names := [inputs.data.names[label] for label in is_lacking.nonzero()[0]]:
            notes.append(
                f"{counted(len(names), 'class occurs', 'classes occur')} in {present} but not in "
                f"{absent}, and {consequence}: {short_list(names, MOST_NAMES)}"
            )
    return notes


def _separate_groups(heads: HeadConfig | None, inputs: TrainingInputs) -> dict[str, str]:
    """Return the group of each class if every group has a box branch of its own, or nothing."""
    if heads is None and inputs.model is not None:
        heads = getattr(inputs.model.model[-1], "config", None)
    groups = heads.groups if heads and heads.box == "separate" else ()
    return {name: group.name for group in groups for name in group.classes}


def _notes_of_same_boxes(heads: HeadConfig | None, inputs: TrainingInputs) -> list[str]:
    """Return a note if a head has two classes whose symbols have the same box.

    An anchor point can be assigned to one symbol only, or to one of each separate box branch.
    """
    group_of = _separate_groups(heads, inputs)
    pairs = [
        (f"{a} + {b} ({n})", n)
        for (a, b), n in inputs.same_box_classes().most_common()
        if group_of.get(a) == group_of.get(b)
    ]
    if not pairs:
        return []
    n_pairs = counted(sum(n for _, n in pairs), "pair of symbols has", "pairs of symbols have")
    return [
        f"{n_pairs} the same box but two classes, and a box branch learns only one of each: "
        f"{short_list([text for text, _ in pairs], MOST_NAMES)}; put the classes into separate "
        "groups with box: separate (--heads), or make them one class in the class map"
    ]


def _notes_of_missing_classes(inputs: TrainingInputs) -> Iterator[str]:
    """Yield a note for each data set without symbols of classes that the others have many of.

    Its images are negative examples of these classes, as for ``omr convert`` with several sources.
    """
    n_classes = len(inputs.data.names)
    parts = [[*labels["train"].images.values()] for labels in inputs.labels]
    counts = np.zeros((len(parts), n_classes), np.int64)
    for i, (source, images) in enumerate(zip(inputs.data.sources, parts, strict=True)):
        for image in images:
            labels = source.labels[image.rows[:, 0].astype(np.int64)]
            counts[i] += np.bincount(labels, minlength=n_classes)
    n_images = np.array([len(images) for images in parts])
    n_other_images = n_images.sum() - n_images
    expected = (counts.sum(axis=0) - counts) * (n_images / np.maximum(n_other_images, 1))[:, None]
    for folder, source, count, many in zip(
        inputs.data.options.folders, inputs.data.sources, counts, expected, strict=True
    ):
        is_missing = source.labelled & (count == 0) & (many >= MIN_EXPECTED)
        if names := [inputs.data.names[label] for label in is_missing.nonzero()[0]]:
            yield (
                f"{folder}: no symbols of {short_list(names, MOST_NAMES)}, which are frequent in "
                "the other data sets, so its images are negative examples of them; if they were "
                "not annotated, convert it again with a class map that lists them as unlabelled"
            )


def _notes_of_shared_pages(inputs: TrainingInputs, image_hashes: Mapping[str, int]) -> list[str]:
    """Return a note if images of val are also in train, or show the same pages as images there.

    Equal images without symbols do not count: they are blank tiles of different pages.
    """
    train = {image_hashes[file] for file in inputs.image_labels("train")}
    train_pages = train.union(inputs.page_hashes("train", image_hashes).hashes.tolist())
    val = inputs.image_labels("val")
    val_pages = inputs.page_hashes("val", image_hashes).hashes.tolist()
    blank = {image_hashes[file] for file, labels in val.items() if not len(labels.rows)}
    shared = [
        file
        for file, page in zip(val, val_pages, strict=True)
        if not train_pages.isdisjoint({image_hashes[file], page} - blank)
    ]
    if not shared:
        return []
    is_same = train.issuperset(image_hashes[file] for file in shared)
    is_one = len(shared) == 1
    relation = "is also" if is_one else "are also"
    if not is_same:
        relation = "shows a page that is also" if is_one else "show pages that are also"
    images = counted(len(val), "image", "images")
    return [
        f"{len(shared)} of {images} of val {relation} in train, the first is {shared[0]}: "
        "validation overestimates how well the model generalises"
    ]


def _check_validation(config: TrainConfig, inputs: TrainingInputs) -> None:
    """Check that the validation images contain at least one symbol."""
    if config.validate and not inputs.counts["val"].symbols:
        datasets = [source.dataset for source in inputs.data.sources]
        raise InputError(
            f"{no_symbols(datasets, 'val')}, or give --no-validate",
            path=datasets[0].splits["val"],
        )


def _model_shape(options: RunOptions, inputs: TrainingInputs) -> DetectionModel:
    """Return a model of the architecture to train; a new one has no values."""
    if inputs.model is not None and str(options.weights_file) == options.model:
        return inputs.model
    with quiet(), MetaTensors({torch.tensor}):
        return build_network(read_model(options.model), len(inputs.data.names), options.activations)


def _check_heads(
    config: TrainConfig, options: RunOptions, inputs: TrainingInputs, model: DetectionModel
) -> None:
    """Check that the class groups match the data, and that the weights match both.

    Args:
        config: Training configuration.
        options: Options of the run.
        inputs: Opened data sets and weights.
        model: Model of the architecture to train.

    Raises:
        ConfigError: The groups have other classes than the data or the weights.
        InputError: The weights belong to another model.
    """
    heads, names, weights = options.heads, inputs.data.names, inputs.model
    if heads:
        heads.labels(names)
        _check_group_settings(heads, config.assigner)
    if config.resume or weights is None:
        return
    file = options.weights_file or Path()
    if str(file) != options.model:
        check_fit(weights, model, file, config.model)
    if heads and heads.box_encoding == "stock" and strides_below_zero(weights.model[-1]):
        raise ConfigError(
            f"--heads: box_encoding: stock, but {file} has distance bins below zero; omit "
            "box_encoding, or start from other weights"
        )
    if isinstance(weights.model[-1], GroupedDetect):
        _check_grouped_weights(options, weights, names)


def _check_grouped_weights(
    options: RunOptions, weights: DetectionModel, names: Sequence[str]
) -> None:
    file = options.weights_file
    if options.heads:
        raise ConfigError(f"--heads: {file} already has several heads; omit --heads")
    if sorted(weights.names.values()) != sorted(names):
        folders = " ".join(map(str, options.datasets.folders))
        raise ConfigError(
            f"{file}: has heads for other classes than {folders}; start from weights with a single "
            "head"
        )


def _check_group_settings(heads: HeadConfig, assigner: AssignerName) -> None:
    """Check that the assigner uses every setting of the class groups."""
    for group in heads.groups:
        if unused := [
            name for name in UNUSED.get(assigner, ()) if getattr(group, name) is not None
        ]:
            raise ConfigError(
                f"--heads: {group.name}: {' and '.join(unused)}: not used by --assigner "
                f"{assigner}; omit {'it' if len(unused) == 1 else 'them'}"
            )


def _check_last_batch(config: TrainConfig, n_images: int) -> None:
    """Check the last batch: BatchNorm would see one value per channel of a single small image."""
    if config.imgsz < 2 * STRIDE and n_images % config.batch == 1:
        raise ConfigError(
            f"--imgsz {config.imgsz}: too small for a last batch of one image; use {2 * STRIDE}, "
            "or another --batch"
        )
