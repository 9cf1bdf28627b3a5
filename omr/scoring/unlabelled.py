"""Classes that the data set of a page never labels, so that predictions of them prove nothing."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from converters.manifest import Manifest
from converters.page import Page


def unlabelled_labels(
    manifest: Manifest, truths: Sequence[Page], names: Sequence[str]
) -> dict[PurePosixPath, frozenset[int]]:
    """Return the labels of the classes that are never annotated in the data set of each page.

    Classes with ground truth in any page of the same data set are labelled, whatever the manifest
    records: the annotations may have been completed since.

    Args:
        manifest: Manifest of the data set, which records the classes that its sources lack.
        truths: Ground truth.
        names: Class names, indexed by label.

    Raises:
        InputError: The manifest is malformed.
    """
    label_of = {name: label for label, name in enumerate(names)}
    missing = {data_set.name: set(data_set.unlabelled) for data_set in manifest.data_sets}
    missing[""] = set(manifest.class_map.unlabelled).union(*missing.values())
    present = defaultdict[str, set[int]](set)
    origins = []
    for page in truths:
        origins.append(next((part for part in page.image.parent.parts if part in missing), ""))
        present[origins[-1]].update(page.labels.tolist())
    of_origin = {
        origin: frozenset(label_of[name] for name in classes if name in label_of) - present[origin]
        for origin, classes in missing.items()
    }
    return {page.image: of_origin[origin] for page, origin in zip(truths, origins, strict=True)}


def hash_of_unlabelled(unlabelled: Mapping[PurePosixPath, frozenset[int]]) -> str:
    """Hash the labels that do not count on each page; empty if all of them count."""
    if not any(unlabelled.values()):
        return ""
    rows = sorted((str(image), sorted(labels)) for image, labels in unlabelled.items())
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
