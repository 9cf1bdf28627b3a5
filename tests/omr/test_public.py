import omr


def test_the_public_names_are_sorted_and_there() -> None:
    assert sorted(omr.__all__) == omr.__all__
    for name in omr.__all__:
        assert getattr(omr, name).__name__ in {name, "load", "analyze"}


def test_other_names_are_not() -> None:
    assert not hasattr(omr, "numpy")
