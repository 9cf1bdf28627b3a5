from types import SimpleNamespace

import pytest
import torch

from class_maps import ConfigError
from training.memory import gpus
from training.memory.gpus import (
    DESKTOP_BYTES,
    LIBRARIES_BYTES,
    find_gpu,
    known_gpus,
    present_gpu,
)

GIB = 2**30


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("rtx5090", "RTX 5090"),
        ("RTX 5090", "RTX 5090"),
        ("nvidia geforce rtx 5090", "RTX 5090"),
        ("NVIDIA GeForce RTX 5090", "RTX 5090"),
        ("rtx-5090", "RTX 5090"),
        ("5090", "RTX 5090"),
        ("rtx_5070_ti", "RTX 5070 Ti"),
        ("rtx 4070 ti super", "RTX 4070 Ti Super"),
        ("RTX 4060 Ti 16", "RTX 4060 Ti 16GB"),
        ("rtx4060ti16gb", "RTX 4060 Ti 16GB"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-32GB", "V100 32GB"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("h100", "H100"),
        ("H100-PCIe", "H100"),
        ("H200", "H200"),
        ("NVIDIA B200", "B200"),
    ],
)
def test_a_gpu_is_found_in_any_spelling(written: str, name: str) -> None:
    assert find_gpu(written).name == name


def test_every_gpu_is_found_by_its_name() -> None:
    assert len({gpu.name for gpu in known_gpus()}) == len(known_gpus())
    for gpu in known_gpus():
        assert find_gpu(gpu.name) == gpu


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("", "--gpu: unknown GPU: ; expected one of rtx3060, rtx3060ti, "),
        (
            "rtx5091",
            "--gpu: unknown GPU: rtx5091 (did you mean rtx5090?); expected one of rtx3060, ",
        ),
        (
            "NVIDIA GeForce RTX 4095",
            "--gpu: unknown GPU: rtx4095 (did you mean rtx4090?); expected one of ",
        ),
        (
            "RTX 3085 Ti",
            "--gpu: unknown GPU: rtx3085ti (did you mean rtx3080ti?); expected one of ",
        ),
        ("toaster", "--gpu: unknown GPU: toaster; expected one of "),
    ],
)
def test_an_unknown_gpu_is_an_error_with_the_nearest_name(written: str, start: str) -> None:
    with pytest.raises(ConfigError) as error:
        find_gpu(written)
    assert str(error.value).startswith(start)
    assert str(error.value).endswith(", b200")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("a100", "--gpu a100: two memory sizes exist; use a100-40gb or a100-80gb"),
        ("RTX 3080", "--gpu RTX 3080: two memory sizes exist; use rtx3080-10gb or rtx3080-12gb"),
    ],
)
def test_a_gpu_with_two_sizes_needs_its_size(written: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        find_gpu(written)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "total", "usable", "bf16"),
    [
        # nvidia-smi: 32607 MiB, less 700 + 400 + 300, and 1024 for a desktop
        ("rtx5090", 32607, 30183, True),
        ("t4", 15360, 13960, False),  # no desktop, no bf16
        ("h200", 143771, 142371, True),
    ],
)
def test_usable_memory_excludes_driver_context_and_desktop(
    name: str, total: int, usable: int, bf16: bool
) -> None:
    gpu = find_gpu(name)
    assert (gpu.total_bytes, gpu.usable_bytes, gpu.bf16) == (total * 2**20, usable * 2**20, bf16)


def test_every_row_is_plausible() -> None:
    for gpu in known_gpus():
        assert 5 * GIB < gpu.usable_bytes < gpu.total_bytes < 200 * GIB
    old = {gpu.name for gpu in known_gpus() if not gpu.bf16}
    assert old == {"T4", "V100 16GB", "V100 32GB"}
    assert DESKTOP_BYTES == GIB


def test_without_cuda_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert present_gpu() is None


@pytest.mark.parametrize(
    ("free", "usable"),
    [(10 * GIB, 11 * GIB - LIBRARIES_BYTES), (0, GIB - LIBRARIES_BYTES)],
)
def test_usable_memory_is_free_or_reserved_but_unused(
    monkeypatch: pytest.MonkeyPatch, free: int, usable: int
) -> None:
    device = SimpleNamespace(name="NVIDIA Test", total_memory=16 * GIB)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpus, "resolved", lambda *_: "bf16")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 16 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2 * GIB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: device)
    gpu = present_gpu()
    assert gpu is not None
    assert (gpu.name, gpu.total_bytes, gpu.bf16) == ("NVIDIA Test", 16 * GIB, True)
    assert gpu.usable_bytes == usable


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_usable_memory_of_a_real_gpu_can_be_allocated() -> None:
    gpu = present_gpu()
    assert gpu is not None
    tensor = torch.empty(gpu.usable_bytes // 2, dtype=torch.uint8, device="cuda")
    later = present_gpu()
    assert later is not None
    assert later.usable_bytes <= gpu.usable_bytes - tensor.numel() + LIBRARIES_BYTES
