"""Options of the loss and of label assignment."""

from dataclasses import dataclass
from typing import Any, get_args

from class_maps import ConfigError
from settings.setting import settings_of
from settings.training import AssignerName, ClassLoss, SimilarityName, TrainingSettings
from training.assigners.assignment import SmallBoxes, check_small_boxes
from training.assigners.similarity import EPS, MIN_SCORE

UNUSED: dict[AssignerName, tuple[str, ...]] = {
    "simota": ("beta",),
    "static": ("similarity", "beta"),
}
"""Options of both the loss and the groups of classes that an assigner ignores."""

_DEFAULTS: dict[str, Any] = {
    name: setting.default for name, setting in settings_of(TrainingSettings).items()
}


@dataclass(frozen=True, kw_only=True, slots=True)
class LossOptions:
    """Options of loss and label assignment; ``static`` ignores the fields after ``class_loss``.

    Raises:
        ConfigError: A name is unknown.
        ValueError: ``small_boxes`` is invalid.
    """

    assigner: AssignerName = _DEFAULTS["assigner"]
    class_loss: ClassLoss = _DEFAULTS["class_loss"]
    similarity: SimilarityName = _DEFAULTS["similarity"]
    """Box similarity: ``ciou+nwd`` (the larger of CIoU and half the normalised Wasserstein
    distance), ``ciou``, ``iou``, ``nwd`` or ``dilated``. Groups of a head config may override
    it."""
    beta: float = _DEFAULTS["beta"]
    """Exponent of the similarity in the metric of ``tal``; groups may override it."""
    min_score: float = MIN_SCORE
    """Target score of a symbol's best anchor point if the predicted box barely overlaps the
    symbol."""
    eps: float = EPS
    """Added to the best metric of a symbol before dividing by it, for ``tal``."""
    small_boxes: SmallBoxes = "ultralytics"

    def __post_init__(self) -> None:
        check_small_boxes(self.small_boxes)
        known_names = {
            "assigner": AssignerName,
            "class_loss": ClassLoss,
            "similarity": SimilarityName,
        }
        for name, known in known_names.items():
            value = getattr(self, name)
            if value not in get_args(known):
                raise ConfigError(f"{name}: {value}: expected one of {', '.join(get_args(known))}")


STOCK = LossOptions(similarity="ciou", min_score=0.0, eps=1e-9)
"""Options with which the loss equals that of Ultralytics."""
