import pytest
from hypothesis import given
from hypothesis import strategies as st

from class_maps import ConfigError
from settings.activations import NAMES, PARTS, counts_text, parse_activations

FUNCTIONS = st.one_of(
    st.sampled_from([name for name in NAMES if name != "leaky"]),
    st.integers(1, 99).map(lambda n: f"leaky:{n / 100:g}"),
)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", {}),
        ("relu", dict.fromkeys(PARTS, "relu")),
        ("leaky:0.10", dict.fromkeys(PARTS, "leaky:0.1")),
        (" backbone = relu , head=leaky:1e-2", {"backbone": "relu", "head": "leaky:0.01"}),
        ("head=silu,neck=mish", {"neck": "mish", "head": "silu"}),
    ],
)
def test_activations_are_read(text: str, chosen: dict[str, str]) -> None:
    assert list(parse_activations(text).items()) == list(chosen.items())


@given(st.dictionaries(st.sampled_from(PARTS), FUNCTIONS))
def test_what_is_written_is_read(chosen: dict[str, str]) -> None:
    text = ",".join(f"{part}={name}" for part, name in chosen.items())
    assert parse_activations(text) == chosen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "rleu",
            "unknown: rleu (did you mean relu?); use silu, relu, relu6, leaky, hardswish, gelu, mish",
        ),
        ("nek=relu", "unknown part: nek (did you mean neck?)"),
        ("backbone=", "unknown: ; use silu, relu, relu6, leaky, hardswish, gelu, mish"),
        ("relu,head=silu", "relu: no part; expected part=name, such as head=relu"),
        ("head=relu,", "an empty element: no part; expected part=name, such as head=relu"),
        ("head=relu,head=silu", "duplicate part: head"),
        ("relu:0.1", "relu has no slope; only leaky has"),
        ("leaky", "leaky: expected a slope above 0 and below 1, such as leaky:0.1"),
        ("leaky:0", "leaky:0: expected a slope above 0 and below 1, such as leaky:0.1"),
        ("leaky:1", "leaky:1: expected a slope above 0 and below 1, such as leaky:0.1"),
        ("leaky:-0.1", "leaky:-0.1: expected a slope above 0 and below 1, such as leaky:0.1"),
        ("leaky:nan", "leaky:nan: expected a slope above 0 and below 1, such as leaky:0.1"),
        ("leaky:x", "leaky:x: expected a slope above 0 and below 1, such as leaky:0.1"),
    ],
)
def test_invalid_activations(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_activations(text)
    assert str(error.value) == f"--activation {text}: {message}"


def test_counts_are_written_by_part() -> None:
    counts = {"backbone": {"relu": 36}, "neck": {}, "head": {"relu": 6, "silu": 12}}
    assert counts_text(counts) == "backbone 36 relu, neck none, head 6 relu + 12 silu"
