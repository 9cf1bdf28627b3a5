"""Configuration files: levels, thresholds, and errors that name the key."""

from pathlib import Path

import pytest

from class_maps import InputError
from eval.lint.config_file import read_config
from eval.lint.rules import default_settings


def test_an_empty_file_keeps_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "lint.toml"
    file.write_text("")
    assert read_config(file) == default_settings()


def test_levels_and_thresholds(tmp_path: Path) -> None:
    file = tmp_path / "lint.toml"
    file.write_text('rare-class = "off"\n[unlikely-size]\nlevel = "error"\nmin_share = 0.5\n')
    settings = read_config(file)
    assert settings["rare-class"].level == "off"
    assert settings["unlikely-size"].level == "error"
    assert settings["unlikely-size"].thresholds["min_share"] == 0.5
    assert settings["unlikely-size"].thresholds["factor"] == 1.6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "is not TOML: Invalid value (at end of document)"),
        ('rare-clas = "off"', "unknown rules: rare-clas (did you mean rare-class?)"),
        ('rare-class = "info"', "rare-class: expected error, warning, off, got 'info'"),
        ("rare-class = 3", "rare-class: expected error, warning, off, got 3"),
        ("[leak-image]\nn = 1", "leak-image: unknown threshold: n; the rule has no thresholds"),
        (
            "[rare-class]\nmin = 1",
            "rare-class: unknown threshold: min; the rule has thresholds: min_boxes",
        ),
        *(
            (
                f"[rare-class]\nmin_boxes = {value}",
                f"rare-class.min_boxes: expected a number that is not negative, got {shown}",
            )
            for value, shown in (("true", "True"), ("-1", "-1"), ("nan", "nan"), ('"3"', "'3'"))
        ),
    ],
)
def test_errors(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "lint.toml"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        read_config(file)
    assert str(error.value) == f"{file}: {message}"
