import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image, UnidentifiedImageError
from torch import nn
from ultralytics.utils import SETTINGS, dist

from training.runtime import offline

# Refuses, and writes down, every attempt to reach a host or to find its address.
CHILD = """
import socket, sys, time
attempts = []
def refuse(*args, **options):
    attempts.append(repr(args))
    raise OSError("network is unreachable")
for name in ("connect", "connect_ex"):
    setattr(socket.socket, name, refuse)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, refuse)
if {first}:  # let it believe that it is online
    socket.getaddrinfo = lambda *args: attempts.append(repr(args))
from pathlib import Path, PurePosixPath
data, out = map(Path, sys.argv[1:])
if {first}:
    from ultralytics.utils import ONLINE, events
    assert ONLINE and events.events.enabled
    socket.getaddrinfo = refuse
from training.config import TrainConfig
from training.trainer import train
from training.predict.detector import predict
import torch
result = train(
    TrainConfig(data=data, out=out, model="omr-tiny", epochs=1, imgsz=64, batch=4, device="cpu")
)
images = sorted((data / "images" / "val").iterdir())
pages = list(predict(result.last, [(p, PurePosixPath(p.name)) for p in images], imgsz=64))
assert len(pages) == len(images)
time.sleep(0.2)  # for what a thread might still send
print("attempts:", attempts[{known}:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("ultralytics_first", [False, True])
def test_training_and_prediction_ask_nobody(
    ultralytics_first: bool, dataset: Path, tmp_path: Path
) -> None:
    # Imported by somebody else before, it has asked for an address by then.
    code = CHILD.format(first=ultralytics_first, known=1 if ultralytics_first else 0)
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("YOLO_", "PYTEST_", "WANDB_"))
    }
    environment = clean | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PYTHONPATH": str(Path(offline.__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(dataset), str(tmp_path / "run")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "attempts: []"
    if not ultralytics_first:
        assert done.stdout == "attempts: []\n", "stdout belongs to results"
        assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_importing_the_package_is_enough() -> None:
    from ultralytics.data import utils as data_utils
    from ultralytics.utils import callbacks, checks, events

    assert not events.events.enabled
    assert checks.check_font is data_utils.check_font is offline._no_font
    assert checks.check_font("Arial.ttf") is None
    trainer = type("Trainer", (), {"callbacks": {}})()
    callbacks.add_integration_callbacks(trainer)
    assert trainer.callbacks == {}


def test_shutting_twice_does_no_harm() -> None:
    before = list(logging.getLogger("ultralytics").handlers)
    offline.block_network()
    assert logging.getLogger("ultralytics").handlers == before


def test_files_of_a_launch_are_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", "/mine")
    stock = dist.USER_CONFIG_DIR
    with offline.process_launch():
        folder = Path(os.environ["YOLO_CONFIG_DIR"])
        assert folder / "Ultralytics" == dist.USER_CONFIG_DIR
        assert json.loads((folder / "Ultralytics" / "settings.json").read_text()) == SETTINGS
    assert not folder.exists()
    assert (os.environ["YOLO_CONFIG_DIR"], dist.USER_CONFIG_DIR) == ("/mine", stock)


@pytest.mark.parametrize("content", [(), ("compiled",)])
def test_only_an_empty_folder_of_torch_is_removed(
    content: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "torchinductor"
    folder.mkdir()
    for name in content:
        (folder / name).touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
    offline._remove_empty_cache()
    assert folder.exists() == bool(content)


def test_log_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("ultralytics").warning("a line")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a line" in captured.err


@pytest.mark.parametrize(
    ("gpu", "works"),
    [
        ("NVIDIA GeForce RTX 5090", True),
        ("NVIDIA H200", True),
        ("NVIDIA GeForce GTX 1660 Ti", False),
        ("Quadro T2000", False),
    ],
)
def test_half_precision_is_decided_by_name(
    gpu: str, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Linear(1, 1)
    assert not offline.amp_works(model), "not on a CPU"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: gpu)
    on_cuda = type("Model", (), {"parameters": lambda _self: iter([_OnCuda()])})()
    assert offline.amp_works(on_cuda) is works


class _OnCuda:
    device = torch.device("cuda", 0)


def test_a_file_that_is_no_image_is_only_that(tmp_path: Path) -> None:
    """Ultralytics puts a function in PIL's place that asks for another package."""
    offline.block_network()
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(UnidentifiedImageError):
        Image.open(tmp_path / "a.png")
