"""Every reader of a file from outside: a damaged file is read, or refused with an OmrError.

``make fuzz`` runs each target for ``FUZZ_SECONDS``, otherwise a few fixed examples are tried.
"""

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.checks import Fuzzed, check
from tests.fuzz.mutations import damaged
from tests.fuzz.targets import CORPUS, TARGETS, prepare
from tests.fuzz.weights_targets import weights_targets

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow and torch
SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
"""Time for each target; 0 for a few examples."""
FEW, MANY = 15, 200
"""Examples of a short run, and of each round of a long one."""
WEIGHTS = ("safetensors", "pickle", "state")


def fuzz(target: Fuzzed, folder: Path) -> None:
    seeds = list(target.seeds())
    for data in seeds:
        target.run(data, folder)  # valid

    def one_round(number: int, n_examples: int) -> None:
        @seed(number)
        @settings(
            max_examples=n_examples,
            deadline=None,
            database=None,
            suppress_health_check=[*HealthCheck],
            phases=[Phase.generate, Phase.shrink],
        )
        @given(damaged(seeds))
        def run(data: bytes) -> None:
            check(target, data, folder)

        run()

    end, number = time.monotonic() + SECONDS, 0
    one_round(number, FEW)
    while time.monotonic() < end:
        number += 1
        one_round(number, MANY)


def test_every_target_has_seeds() -> None:
    assert {path.name for path in CORPUS.iterdir()} == {target.name for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_reader(target: Fuzzed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    fuzz(target, tmp_path)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name: str, tmp_path: Path) -> None:
    [target] = [target for target in weights_targets(tmp_path) if target.name == name]
    fuzz(target, tmp_path)
