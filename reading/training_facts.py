"""Facts in the training record of an exported network that reading depends on."""

import json
from pathlib import Path

import msgspec

from class_maps import InputError, shortened
from converters.manifest import Preparation
from reading.network import Conf


class TrainingFacts(msgspec.Struct, kw_only=True):
    """Part of a training record."""

    preparations: tuple[Preparation | None, ...]
    conf: Conf | None = None
    class_confs: tuple[Conf, ...] = ()


def training_facts(record: str, n_classes: int, file: Path) -> TrainingFacts:
    """Parse the training record of an exported network.

    Args:
        record: Training record as JSON; empty if the file contains none.
        n_classes: Number of classes of the network.
        file: File that contains the record, for error messages.

    Raises:
        InputError: The record is damaged.
    """
    if not record:
        return TrainingFacts(preparations=())
    try:
        facts = msgspec.convert(json.loads(record)["training"], TrainingFacts)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"damaged training record: {shortened(str(error))}", path=file) from error
    if len(facts.class_confs) not in (0, n_classes):
        raise InputError("damaged training record: one threshold per class", path=file)
    return facts
