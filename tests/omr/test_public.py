import pytest

import omr

RENAMED = {"analyze_density": "analyze", "load_class_map": "load"}


def test_public_names_are_sorted() -> None:
    assert sorted(omr.__all__) == omr.__all__


@pytest.mark.parametrize("name", omr.__all__)
def test_public_name_can_be_imported(name: str) -> None:
    assert getattr(omr, name).__name__ == RENAMED.get(name, name)


def test_other_names_are_missing() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'numpy'"):
        omr.numpy  # noqa: B018
