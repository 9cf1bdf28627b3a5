"""Every function with code for CUDA is named by a test that runs on a CUDA device."""

import ast
from pathlib import Path

import pytest
from cuda_branches import covered_names, cuda_functions, functions, named_functions

ROOT = Path(__file__).parents[1]
OUT_OF_REACH = {
    "training.engine.omr_trainer:OmrTrainer._setup_ddp": "needs several devices, or a CPU",
    "reading.onnx_network:_providers": "needs onnxruntime-gpu",
    "reading.tflite_network:TfliteNetwork.__init__": "runs on the CPU only",
}
"""Functions that the machine with a GPU does not run, each with the reason."""


def test_every_function_for_cuda_is_named_by_a_gpu_test() -> None:
    known = cuda_functions(ROOT)
    named = named_functions(ROOT / "tests" / "gpu")
    missing = [f"{name}, line {line}" for name, line in known.items() if name not in named]
    missing = [line for line in missing if line.split(",")[0] not in OUT_OF_REACH]
    assert not missing, "name these in @pytest.mark.gpu(covers=[...]) of a test that calls them"
    unknown = {name: tests for name, tests in named.items() if name not in known}
    assert not unknown, "these functions do not exist, or contain nothing for CUDA"
    assert OUT_OF_REACH.keys() <= known.keys() - named.keys()


@pytest.mark.parametrize(
    ("code", "mentions"),
    [
        ("pass", False),
        ('"""Only on cuda."""', False),
        ('"""Waits."""\n    return x.device.type == "cuda"', True),
        ('return x.device.type != "cpu"', True),
        ('return spec.device == "cpu"', True),
        ('return device in {"cpu", "mps"}', True),
        ('return name == "cpu"', False),
        ('return Spec(device="cpu")', False),
        ('return torch.device("cuda:0")', True),
        ('return torch.device(f"cuda:{index}")', True),
        ('init("nccl")', True),
        ('raise ValueError("no cuda here")', False),
        ("torch.cuda.synchronize()", True),
        ("x = x.to(device, non_blocking=True)", True),
        ("loader = Loader(pin_memory=on_gpu)", True),
        ("return torch.amp.GradScaler()", True),
        ("def inner():\n        return torch.cuda.is_available()\n    return inner", True),
    ],
)
def test_mentions_of_cuda(code: str, mentions: bool, tmp_path: Path) -> None:
    module = tmp_path / "training" / "module.py"
    module.parent.mkdir()
    module.write_text(f"class Outer:\n  def method(self):\n    {code}\n")
    found = cuda_functions(tmp_path)
    assert list(found) == (["training.module:Outer.method"] if mentions else [])


def test_annotations_and_class_bodies_do_not_count(tmp_path: Path) -> None:
    module = tmp_path / "omr" / "__init__.py"
    module.parent.mkdir()
    module.write_text('class A:\n  device: str = "cuda"\ndef f(x: "cuda" = 1) -> "cuda": ...\n')
    assert cuda_functions(tmp_path) == {}


def test_names_are_read_from_all_marks() -> None:
    code = """
@pytest.mark.slow
@pytest.mark.gpu(covers=["a:f", "a:g"], covers_on_cuda=["b:C.h"])
def test_one(): ...

@pytest.mark.gpu
def test_two(): ...
"""
    found = {name: [*covered_names(test)] for name, test in functions(ast.parse(code))}
    assert found == {"test_one": ["a:f", "a:g", "b:C.h"], "test_two": []}
