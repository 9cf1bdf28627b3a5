import pytest

from converters.manifest import ConvertedPages
from eval.reports.density_figures import PipelineStage, SymbolSpread
from training.density.pipeline_counts import pipeline_stage, pipeline_stages, symbol_spread


def converted(**changes: object) -> ConvertedPages:
    known = {"n_pages": 2, "mean_annotations": 9.0, "annotations": (12, 6), "symbols": (10, 4)}
    known["are_cut"] = True
    return ConvertedPages(**(known | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param(
            [],
            PipelineStage(name="s", n_images=0, mean=None, symbols=None, histogram=()),
            id="no images",
        ),
        pytest.param(
            [0, 0],
            PipelineStage(
                name="s",
                n_images=2,
                mean=0,
                symbols=SymbolSpread(mean=0, p50=0, p95=0, p99=0, max=0),
                histogram=((0, 2),),
            ),
            id="no symbols",
        ),
        pytest.param(
            [7, 3, 3, 0],
            PipelineStage(
                name="s",
                n_images=4,
                mean=3.25,
                symbols=SymbolSpread(mean=3.25, p50=3, p95=7, p99=7, max=7),
                histogram=((0, 1), (3, 2), (7, 1)),
            ),
            id="some",
        ),
    ],
)
def test_a_stage(counts: list[int], expected: PipelineStage) -> None:
    assert pipeline_stage("s", counts) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param([], None, id="no images"),
        pytest.param([7], SymbolSpread(mean=7, p50=7, p95=7, p99=7, max=7), id="one image"),
        pytest.param(
            list(range(1, 101)),
            SymbolSpread(mean=50.5, p50=50, p95=95, p99=99, max=100),
            id="1 to 100",
        ),
    ],
)
def test_spread(counts: list[int], expected: SymbolSpread | None) -> None:
    assert symbol_spread(counts) == expected


def test_all_stages() -> None:
    stages = pipeline_stages([5, 4, 2], [6, 0], converted())
    assert [(s.name, s.n_images, s.mean) for s in stages] == [
        ("as labelled", 2, 9),
        ("after cleaning", 2, 7),
        ("after tiling", 3, 11 / 3),
        ("as trained", 2, 3),
    ]
    assert stages[0].histogram == ((6, 1), (12, 1))
    assert stages[1].symbols == SymbolSpread(mean=7, p50=4, p95=10, p99=10, max=10)


def test_whole_pages_have_after_cleaning_what_is_stored() -> None:
    stages = pipeline_stages([8, 4], [6, 0], converted(symbols=None, are_cut=False))
    assert [s.mean for s in stages] == [9, 6, 6, 3]
    assert stages[2].name == "as stored"
    assert stages[1].histogram == stages[2].histogram == ((4, 1), (8, 1))


@pytest.mark.parametrize("mean", [9.0, None])
def test_an_older_conversion_has_at_most_a_mean(mean: float | None) -> None:
    pages = converted(annotations=None, mean_annotations=mean)
    labelled = pipeline_stages([5], [5], pages)[0]
    assert labelled == PipelineStage(
        name="as labelled", n_images=2, mean=mean, symbols=None, histogram=()
    )


def test_data_of_unknown_origin() -> None:
    assert [s.name for s in pipeline_stages([5], [])] == ["as stored", "as trained"]
