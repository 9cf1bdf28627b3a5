"""Settings of a training run: the single source of its defaults, option help and limits."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from class_maps import ConfigError
from settings.activations import NAMES
from settings.published import DEFAULT_WEIGHTS
from settings.setting import KEY, Declaration, setting, settings_of

AssignerName = Literal["tal", "simota", "static"]
ClassLoss = Literal["bce", "focal", "varifocal"]
SimilarityName = Literal["ciou+nwd", "ciou", "iou", "nwd", "dilated"]
Precision = Literal["auto", "bf16", "fp16", "fp32"]
Selection = Literal["auto", "page", "tile"]
OptimizerName = Literal["AdamW", "Adam", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD", "MuSGD"]
"""Optimisers of Ultralytics, without ``auto``, which would ignore the learning rate."""

MODEL, OPTIMISATION, LOSS = "Model", "Optimisation", "Loss and label assignment"
SEVERAL, AUGMENTATION = "Several data sets", "Augmentation"
"""Panels of ``omr train --help``."""
MAX_IMGSZ = 8192
"""Largest network input in pixels: one image takes 0.8 GB before the network even begins."""
BASE_BATCH = 16
BASE_LR = 0.001
"""Learning rate for ``BASE_BATCH`` images per optimiser step."""
LR_RULES = "auto", "auto:sqrt", "auto:linear"
"""Rules that scale ``BASE_LR`` with the batch; ``auto`` is ``auto:sqrt``."""
AUTO = "auto"
"""Batch that is computed from the memory available."""
STRIDE = 32
"""Pixels per cell of the coarsest level."""
LARGEST_SEED = 2**31 - 1
"""Largest seed: NumPy's limit, minus a margin for the ranks that are added on several devices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """Settings of a training run, without the checks that need the training code.

    Raises:
        ConfigError: A number is outside its limits, or a name is unknown.
    """

    data: Path = field(
        metadata={
            KEY: Declaration(
                help="One or more data sets written by `omr convert`, to train on jointly.",
                metavar="DATA",
                flag=False,
            )
        }
    )
    """Folder with a ``data.yaml``, or that file."""
    joint: tuple[Path, ...] = setting(
        (), help="Further data sets to train on together with data.", flag=False, in_file=False
    )
    out: Path = field(
        metadata={
            KEY: Declaration(
                help="Run folder to create; required here or in the --config file.",
                metavar="<dir>",
            )
        }
    )

    device: str = setting(
        "",
        help="Device: cpu, a GPU index such as 0, or several such as 0,1.",
        default_text="first GPU if available, otherwise cpu",
    )
    workers: int = setting(
        16,
        help="Data-loading worker processes per device, at most one per core; none when training "
        "on a CPU.",
        minimum=0,
    )
    validate: bool = setting(
        True,
        help="Validate after every epoch; without validation, best.pt is identical to last.pt.",
    )
    lint: bool = setting(
        True,
        help="Check the boxes with the error rules of `omr lint` that need no pixels, and refuse "
        "to train on errors.",
    )
    select: Selection = setting(
        "auto",
        help="Validation score that selects the epoch of best.pt: page (tiles merged into pages), "
        "tile (images as they are) or auto (page if the images of val are tiles of known pages, "
        "otherwise tile).",
    )
    tensorboard: bool = setting(False, help="Write TensorBoard logs to the run folder.")
    resume: bool = setting(
        False, help="Resume the run in --out with its original settings.", in_file=False
    )

    model: str = setting(
        "yolo11n",
        help="Model to train from scratch (yolov8, yolo11, yolo12 or yolo26 with size n, s, m, l "
        "or x, such as yolo11n; since yolo11, -c2f and -noattn choose simpler blocks, such as "
        "yolo11n-c2f-noattn; yolov7-tiny; omr-tiny), or weights to continue training from: "
        f"{DEFAULT_WEIGHTS}, which comes with omr, or a file.",
        metavar="<name or .pt>",
        group=MODEL,
    )
    weights: str = setting(
        "",
        help="Weights to initialise the model from; layers and classes that do not match are "
        "skipped and listed.",
        metavar="<.pt>",
        group=MODEL,
    )
    activation: str = setting(
        "",
        help="Activation function of all parts, or by part, such as backbone=relu,neck=silu: "
        f"{', '.join(NAMES[:-1])} or {NAMES[-1]}; leaky has a slope, leaky:0.1.",
        metavar="<name or part=name,...>",
        default_text="that of the model",
        group=MODEL,
    )
    recalibrate: int = setting(
        0,
        help="Training images on which the batch normalisation of the weights is measured again "
        "before the first step, for weights with another activation function; 0 for none.",
        minimum=0,
        group=MODEL,
    )
    trust: bool = setting(
        False,
        help="Load pickled weights even though doing so can run code they contain.",
        group=MODEL,
    )
    size_prior: bool = setting(
        True,
        help="Initialise the box predictions of a new head from the symbol sizes in the data.",
        group=MODEL,
    )
    heads: str = setting(
        "",
        help="Head config, which divides the classes among heads: a name from `omr heads list`, or "
        "a .yaml file.",
        metavar="<name or .yaml>",
        default_text="one head, or the heads of the weights",
        group=MODEL,
    )

    epochs: int = setting(
        100, help="Number of passes over the training images.", minimum=1, group=OPTIMISATION
    )
    imgsz: int = setting(
        640,
        help="Side length of the network input in pixels, a multiple of 32.",
        default_text="that of the weights in --model, otherwise 640",
        minimum=32,
        maximum=MAX_IMGSZ,
        group=OPTIMISATION,
    )
    batch: int = setting(
        BASE_BATCH,
        help="Batch size: images per forward pass, in total over all devices; auto chooses the "
        "largest that fits in memory, at most 64 per device.",
        metavar="<int or auto>",
        minimum=1,
        keywords=(AUTO,),
        group=OPTIMISATION,
    )
    nominal_batch: int = setting(
        0,
        help="Effective batch size: images per optimiser step, a multiple of --batch. If it is "
        "larger than --batch, gradients are accumulated.",
        default_text="--batch",
        minimum=0,
        group=OPTIMISATION,
    )
    balance_classes: bool = setting(
        False,
        help="Draw images with rare classes more often, and others less often; the length of an "
        "epoch does not change.",
        group=OPTIMISATION,
    )
    balance_threshold: float = setting(
        0.05,
        help="Fraction of the images below which a class is rare, for balance_classes.",
        above=0,
        maximum=1,
        flag=False,
    )
    lr: float = setting(
        BASE_LR,
        help="Learning rate after warm-up; auto:sqrt (or auto) and auto:linear scale the default "
        "with the number of images per optimiser step.",
        metavar="<float or auto>",
        above=0,
        maximum=1,
        keywords=LR_RULES,
        group=OPTIMISATION,
    )
    final_lr: float = setting(
        0.0,
        help="Final learning rate, as a fraction of lr.",
        minimum=0,
        maximum=1,
        flag=False,
    )
    warmup_epochs: float = setting(
        3.0,
        help="Epochs over which the learning rate rises from 0, at most --epochs - 1 (0.1 in a run "
        "of one epoch).",
        minimum=0,
        group=OPTIMISATION,
    )
    optimizer: OptimizerName = setting(
        "AdamW", help="Name of the optimiser in Ultralytics.", flag=False
    )
    weight_decay: float = setting(0.0005, help="Weight decay of convolution weights.", flag=False)
    freeze: str = setting(
        "",
        help="Layers to freeze: backbone, neck (everything before the head), or the number of "
        "layers to freeze, counted from the input.",
        metavar="<part or int>",
        group=OPTIMISATION,
    )
    unfreeze_at: tuple[int, ...] = setting(
        (),
        help="Epochs at which frozen layers are unfrozen, e.g. 5 or 3,6,9 (last layers first).",
        metavar="<int,...>",
        default_text="never",
        example="3,6,9",
        group=OPTIMISATION,
    )
    lr_scale: tuple[float, ...] = setting(
        (),
        help="Learning-rate factor for unfrozen layers: one value, or one per epoch in "
        "--unfreeze-at.",
        metavar="<float,...>",
        default_text="0.1",
        example="0.1,0.05",
        group=OPTIMISATION,
    )
    unfreeze_warmup: float = setting(
        1.0,
        help="Epochs over which the learning rate of unfrozen layers rises from 0.",
        minimum=0,
        group=OPTIMISATION,
    )
    precision: Precision = setting(
        "auto",
        help="Floating-point format of the network; auto chooses bf16 on GPUs that support it "
        "(after a test against fp32), fp16 on other GPUs and fp32 on a CPU.",
        group=OPTIMISATION,
    )
    seed: int = setting(
        0,
        help="Random seed for the initial weights, data order and augmentation.",
        group=OPTIMISATION,
    )
    deterministic: bool = setting(
        False,
        help="Use deterministic algorithms on a GPU, which are slower; CPU runs are always "
        "deterministic.",
        group=OPTIMISATION,
    )

    assigner: AssignerName = setting(
        "tal",
        help="Label assignment: tal (task-aligned, as in Ultralytics), simota (SimOTA, as in "
        "YOLOX) or static (nearest anchor points).",
        group=LOSS,
    )
    class_loss: ClassLoss = setting(
        "bce",
        help="Classification loss: bce (binary cross-entropy), focal or varifocal.",
        group=LOSS,
    )
    similarity: SimilarityName = setting(
        "ciou+nwd",
        help="Box similarity for label assignment: ciou (as in Ultralytics), iou, nwd (normalised "
        "Wasserstein distance), ciou+nwd (the larger of CIoU and half of NWD) or dilated (IoU of "
        "enlarged boxes).",
        metavar="<name>",
        group=LOSS,
    )
    beta: float = setting(
        6.0,
        help="Exponent of the box similarity in the alignment metric of tal; lower values weight "
        "the anchor points of a symbol more evenly.",
        above=0,
        group=LOSS,
    )

    translate: float = setting(
        0.1,
        help="Maximum shift, as a fraction of the image size.",
        minimum=0,
        maximum=1,
        group=AUGMENTATION,
    )
    scale: float = setting(
        0.2,
        help="Maximum change in size: images are scaled by a factor from 1 - SCALE to 1 + SCALE.",
        minimum=0,
        maximum=1,
        group=AUGMENTATION,
    )
    brightness: float = setting(
        0.2,
        help="Maximum change in brightness, as a fraction of the original.",
        minimum=0,
        maximum=1,
        group=AUGMENTATION,
    )
    fliplr: float = setting(
        0.0,
        help="Probability of a horizontal flip; photographs only.",
        minimum=0,
        maximum=1,
        group=AUGMENTATION,
    )
    flipud: float = setting(
        0.0,
        help="Probability of a vertical flip; photographs only.",
        minimum=0,
        maximum=1,
        group=AUGMENTATION,
    )
    degrees: float = setting(
        0.0,
        help="Maximum rotation in degrees; at most 1 for music.",
        minimum=0,
        maximum=180,
        group=AUGMENTATION,
    )
    mosaic: float = setting(
        0.0,
        help="Probability of combining four images of the same data set into one.",
        minimum=0,
        maximum=1,
        group=AUGMENTATION,
    )
    allow_music_flips: bool = setting(
        False, help="Allow flips and larger rotations for music as well.", group=AUGMENTATION
    )

    sampling_weights: tuple[float, ...] = setting(
        (),
        help="Sampling weight of each data set, in order, e.g. 2:1.",
        metavar="<float:...>",
        default_text="number of images in each",
        separator=":",
        example="2:1",
        group=SEVERAL,
    )
    true_negatives: bool = setting(
        False,
        help="Assume that classes a data set does not label are absent from its images; by "
        "default, its images do not contribute to the loss of these classes.",
        group=SEVERAL,
    )
    merge_classes: tuple[str, ...] = setting(
        (),
        help="Classes that have the same meaning in several data sets although the class maps "
        "differ, e.g. tie,slur; `all` merges every shared name.",
        metavar="<name,...>",
        example="tie,slur",
        group=SEVERAL,
    )

    def __post_init__(self) -> None:
        problems = [
            ConfigError(
                f"expected {declared.expected(keywords=False)}",
                option=declared.flag,
                value=getattr(self, name),
            )
            for name, declared in settings_of(TrainingSettings).items()
            if not declared.is_valid(getattr(self, name))
        ]
        if problems:
            raise ConfigError("; ".join(map(str, problems)))
