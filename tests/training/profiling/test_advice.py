from dataclasses import replace

import pytest

from training.profiling.advice import Situation, advise
from training.profiling.times import PartName, StepProfile, StepTimes

PROFILE = StepProfile(
    model="yolo11n",
    device="cuda:0",
    precision="bf16",
    imgsz=640,
    batch=16,
    workers=4,
    steps=10,
    symbols_per_image=512.3,
    times=StepTimes.of_totals({"forward": 30, "backward": 70}, 1, 16),
    gpu_busy=0.95,
    densities=(),
    advice="",
)
SITUATION = Situation(profile=PROFILE, cores=8, image_side=640, assigner="tal")
ON_CPU = {"device": "cpu", "gpu_busy": None, "precision": "fp32"}


@pytest.mark.parametrize(
    ("totals", "profile", "situation", "expected"),
    [
        ({}, {}, {}, "The network takes 100% of a step: only a smaller --model than yolo11n, a smaller --imgsz or a faster device saves time."),
        ({}, ON_CPU, {}, "The network takes 100% of a step: only a smaller --model than yolo11n, a smaller --imgsz or a faster device saves time."),
        ({"load": 100}, {}, {}, "Steps wait 50% of the time for data: raise --workers from 4, up to the number of cores, 8."),
        ({"load": 100}, {"workers": 8}, {}, "Steps wait 50% of the time for data although every core loads images: use a machine with more cores."),
        ({"load": 100}, {}, {"image_side": 2772}, "Steps wait 50% of the time for data, because images of 2772 px are scaled to 640 px in every epoch: convert the data again with omr convert --tile or --scale."),
        ({"load": 100}, ON_CPU | {"workers": 0}, {}, "Loading takes 50% of a step, because no other processes load images when training on a CPU: use a GPU."),
        ({"load": 10}, {"gpu_busy": 0.42}, {}, "The GPU is idle 58% of the time although it has data: raise --batch from 16, for example with --batch auto."),
        ({"load": 10, "assigner": 100}, {}, {}, "Label assignment takes 48% of a step with 512 symbols per image: cut smaller tiles with omr convert --tile."),
        ({"assigner": 100}, {}, {"assigner": "simota"}, "Label assignment takes 50% of a step: --assigner tal is faster than simota."),
        ({"optimiser": 100}, {}, {}, "The optimiser takes 50% of a step: raise --batch from 16, or accumulate batches with --nominal-batch."),
        ({}, {"precision": "fp32"}, {}, "The network computes in fp32: use --precision auto, unless bf16 and fp16 fail."),
    ],
)  # fmt: skip
def test_the_first_problem_is_named(
    totals: dict[PartName, float],
    profile: dict[str, object],
    situation: dict[str, object],
    expected: str,
) -> None:
    times = StepTimes.of_totals({"forward": 30, "backward": 70, **totals}, 1, 16)
    changed = replace(PROFILE, times=times, **profile)  # type: ignore[arg-type]
    assert advise(replace(SITUATION, profile=changed, **situation)) == expected  # type: ignore[arg-type]
