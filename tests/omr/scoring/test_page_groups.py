from pathlib import PurePosixPath

from omr.scoring.page_groups import page_groups


def test_fonts_and_writers_are_read_from_names() -> None:
    names = [
        "lg-12-aug-bravura-000013--page-2.png",
        "lg-12-aug-leland-000014--page-2__x00010_y00020.png",
        "lg-7-aug-gonville--page-1.png",
        "sub/CVC-MUSCIMA_W-01_N-10_D-ideal.png",
        "scan.png",
    ]
    assert page_groups(map(PurePosixPath, names)) == {
        names[0]: {"font": "bravura"},
        names[1]: {"font": "leland"},
        names[2]: {"font": "gonville"},
        names[3]: {"writer": "01"},
    }
