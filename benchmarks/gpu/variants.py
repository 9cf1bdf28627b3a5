"""Step times of one model with various settings of torch, on a batch that is on the device.

``benchmarks.gpu.throughput`` starts it. Loader and logging are excluded, so that differences are
those of network, loss and optimiser.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.figures import Setup
from benchmarks.gpu.trainers import BRIGHTNESS, LR, MODEL, without_label_caches
from training.config import TrainConfig
from training.trainer import ready_trainer

WARM_UP = 5
"""Steps before a variant is timed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """Settings of torch that may affect the time of a step."""

    name: str
    precision: str = "bf16"
    weights_format: torch.memory_format = torch.channels_last
    images_format: torch.memory_format = torch.channels_last
    deterministic: bool = False
    benchmark: bool = False
    """Whether cuDNN benchmarks its algorithms."""
    tf32: bool = True
    """Whether fp32 convolutions round their inputs to TF32, as is torch's default."""


CONTIGUOUS = torch.contiguous_format
ON_GPU = (
    Variant(name="bf16, weights and images channels_last"),
    Variant(name="images contiguous", images_format=CONTIGUOUS),
    Variant(
        name="weights and images contiguous", weights_format=CONTIGUOUS, images_format=CONTIGUOUS
    ),
    Variant(name="deterministic", deterministic=True),
    Variant(name="cudnn.benchmark", benchmark=True),
    Variant(name="fp32 with TF32", precision="fp32"),
    Variant(name="fp32 without TF32", precision="fp32", tf32=False),
)
"""Variants on a GPU; each differs from the first one in the setting in its name."""
ON_CPU = (
    Variant(name="fp32, channels_last", precision="fp32"),
    Variant(
        name="fp32, contiguous",
        precision="fp32",
        weights_format=CONTIGUOUS,
        images_format=CONTIGUOUS,
    ),
)


def run(setup: Setup) -> None:
    """Time all variants, and write each row to ``variants.json`` immediately."""
    trainer, batch = prepare(setup)
    (Path(setup.out) / "ready").touch()
    if not sys.stdin.readline():
        return
    rows: list[tuple[str, float, float]] = []
    file = Path(setup.out) / "variants.json"
    for variant in ON_CPU if setup.device == "cpu" else ON_GPU:
        step = partial(train_step, trainer, ready(variant, trainer, batch), variant)
        host_ms, step_ms = time_steps(step, setup.steps, warm_up=min(WARM_UP, setup.warm_up))
        rows.append((variant.name, step_ms, host_ms))
        part = file.with_suffix(".part")
        part.write_text(json.dumps(rows), "utf-8")
        part.replace(file)


def prepare(setup: Setup) -> tuple[Any, dict[str, Any]]:
    """Set up a training run and load its first batch onto the device."""
    without_label_caches()
    config = TrainConfig(
        data=Path(setup.data),
        out=Path(setup.out) / "run",
        model=MODEL,
        imgsz=setup.imgsz,
        batch=setup.batch,
        device=setup.device,
        workers=setup.workers,
        precision="fp32",  # each variant switches autocast on by itself
        lr=LR,
        brightness=BRIGHTNESS,
        validate=False,
        lint=False,
    )
    trainer = ready_trainer(config)
    batch = next(iter(trainer.train_loader))
    trainer.train_loader.close()
    return trainer, trainer.preprocess_batch(batch)


def ready(variant: Variant, trainer: Any, batch: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """Apply the settings of a variant, and return the batch in its memory format."""
    torch.use_deterministic_algorithms(variant.deterministic, warn_only=True)
    torch.backends.cudnn.deterministic = variant.deterministic
    torch.backends.cudnn.benchmark = variant.benchmark
    use_tf32(variant.tf32)
    for model in (trainer.model, trainer.ema.ema):
        model.to(memory_format=variant.weights_format)
    # Its state would keep the other memory format, which is slower.
    trainer.optimizer.state.clear()
    images = batch["img"].contiguous(memory_format=variant.images_format)
    return dict(batch) | {"img": images}


def use_tf32(enabled: bool) -> None:
    """Choose whether fp32 convolutions may round their inputs to TF32."""
    cudnn: Any = torch.backends.cudnn
    if hasattr(cudnn, "conv"):  # torch >= 2.9, which refuses to mix both interfaces
        cudnn.conv.fp32_precision = "tf32" if enabled else "ieee"
    else:
        cudnn.allow_tf32 = enabled


def train_step(trainer: Any, batch: dict[str, Any], variant: Variant) -> None:  # noqa: ANN401
    """Run a step like the trainers: network, loss, gradients, optimiser, moving average."""
    bf16 = variant.precision == "bf16"
    with torch.autocast(trainer.device.type, dtype=torch.bfloat16, enabled=bf16):
        loss, _ = trainer.model(batch)
    loss.sum().backward()
    torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), max_norm=10.0)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    trainer.ema.update(trainer.model)


def time_steps(step: Callable[[], None], n_steps: int, *, warm_up: int) -> tuple[float, float]:
    """Time steps.

    Args:
        step: Function to time.
        n_steps: Steps that are timed together.
        warm_up: Steps before them.

    Returns:
        Milliseconds per step until the host has launched all work, and until it is done.
    """
    for _ in range(warm_up):
        step()
    synchronize()
    begin = time.perf_counter()
    for _ in range(n_steps):
        step()
    launched = time.perf_counter()
    synchronize()
    done = time.perf_counter()
    return 1000 * (launched - begin) / n_steps, 1000 * (done - begin) / n_steps


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Parse the setup from the command line, and time the variants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setup", help="fields of Setup as JSON")
    run(Setup(**json.loads(parser.parse_args().setup)))


if __name__ == "__main__":
    main()
