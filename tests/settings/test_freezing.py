from dataclasses import replace
from typing import Any

import pytest

from class_maps import ConfigError
from settings.freezing import FreezeOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": "head"}, "--freeze head: expected backbone, neck, or a number of layers"),
        ({"freeze": "0"}, "--freeze 0: expected backbone, neck, or a number of layers"),
        (
            {"unfreeze_at": (3,)},
            "--unfreeze-at: no layers are frozen; add --freeze",
        ),
        (
            {"freeze": "neck", "unfreeze_at": (3, 3)},
            "--unfreeze-at 3,3: expected increasing epochs from 1 on",
        ),
        (
            {"freeze": "neck", "unfreeze_at": (0,)},
            "--unfreeze-at 0: expected increasing epochs from 1 on",
        ),
        (
            {"freeze": "1", "unfreeze_at": (1, 2)},
            "--unfreeze-at: more steps (2) than frozen layers (1); give fewer epochs",
        ),
        (
            {"freeze": "neck", "lr_scale": (0.1,)},
            "--lr-scale: no layers are unfrozen; add --unfreeze-at",
        ),
        (
            {"freeze": "neck", "unfreeze_at": (1, 2, 3), "lr_scale": (0.1, 0.2)},
            "--lr-scale: number of values (2) differs from that of steps (3); give one value, or one per step",
        ),
        (
            {"freeze": "neck", "unfreeze_at": (1,), "lr_scale": (0.0,)},
            "--lr-scale 0: expected values above 0",
        ),
        ({"warmup_epochs": -1.0}, "--unfreeze-warmup -1: expected 0 or more"),
    ],
)
def test_what_cannot_be_frozen_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        FreezeOptions(**options)
    assert str(error.value) == message


def test_layers_come_back_in_equal_parts() -> None:
    options = FreezeOptions(freeze="9", unfreeze_at=(3, 6, 9))
    steps = [options.steps_done(epoch) for epoch in (0, 2, 3, 5, 6, 8, 9, 100)]
    assert steps == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [options.n_frozen(9, step) for step in range(4)] == [9, 6, 3, 0]
    assert [options.n_frozen(50, step) for step in range(4)] == [50, 33, 16, 0]
    assert FreezeOptions(freeze="9").n_frozen(9, 0) == 9
    assert FreezeOptions().n_frozen(0, 0) == 0


def test_a_step_warms_up_from_its_own_epoch() -> None:
    options = FreezeOptions(freeze="neck", unfreeze_at=(2, 5), lr_scale=(0.1, 0.05))
    assert [options.scale(step) for step in (0, 1)] == [0.1, 0.05]
    assert [options.warm_up(0, done) for done in (2, 2.5, 3, 4)] == [0, 0.5, 1, 1]
    assert options.warm_up(1, 5.25) == 0.25
    assert replace(options, warmup_epochs=0.0).warm_up(0, 2) == 1
