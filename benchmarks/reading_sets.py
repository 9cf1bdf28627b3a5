"""Engraved test pages for ``benchmarks.page_reading``: plain, decorated, and with one fault each.

    python -m benchmarks.reading_sets OUT [--pages 10] [--classes harmony] [--sets NAME ...]

Writes data sets of whole pages to OUT/plain, OUT/photo ... The seeds are not those of a recipe, so
no model that comes with omr has seen these pieces. The faults are stronger than most that ``omr
engrave --degrade mixed`` draws.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from class_maps import load
from converters.conversion import ConversionOptions, convert
from converters.engraving.captures import SPACES_PER_INCH, Degradation
from converters.engraving.dataset import EngravingOptions, engrave
from converters.engraving.pages import PageOptions
from converters.prepare.preparation import PreparationOptions

FIRST_SEED = 9001
PRINT_PX = 0.6
"""Spread of the ink of a printed page."""
LOW, LOW_DPI = "75 dpi", 75
"""Set of pages of low resolution, whose staves are 7 mm high."""
SETS: Mapping[str, PageOptions] = {
    "plain": PageOptions(),
    "decorated": PageOptions(style="decorated"),
    "scan": PageOptions(style="mixed", degrade="scan"),
    "photo": PageOptions(style="mixed", degrade="photo"),
    LOW: PageOptions(degrade=Degradation(capture="scan", noise=2, ink_blur_px=PRINT_PX)),
    "rotated 2 degrees": PageOptions(
        degrade=Degradation(capture="scan", rotation=2, ink_blur_px=PRINT_PX)
    ),
    "thin": PageOptions(degrade=Degradation(capture="worn", ink_blur_px=1.0, edge=0.75, fray=0.1)),
    "blurred 4 px": PageOptions(
        degrade=Degradation(capture="scan", blur_px=4, noise=2, ink_blur_px=PRINT_PX)
    ),
    "binarised": PageOptions(
        degrade=Degradation(
            capture="fax",
            dpi=150,
            noise=3,
            binarisation="fixed",
            threshold=0.5,
            ink_blur_px=PRINT_PX,
        )
    ),
}


def main() -> None:
    """Engrave and convert every set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--pages", type=int, default=10)
    parser.add_argument("--classes", default="harmony", help="class map")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    options = ConversionOptions(class_map=load(arguments.classes))
    low = PreparationOptions(staff_space=LOW_DPI / SPACES_PER_INCH)
    for number, (name, page) in enumerate(SETS.items()):
        if name not in arguments.sets:
            continue
        with TemporaryDirectory() as folder:
            pages = Path(folder) / "pages"
            seeded = replace(page, seed=FIRST_SEED + number)
            of_set = EngravingOptions(pages=arguments.pages, page=seeded)
            engrave(pages, of_set, workers=arguments.workers)
            how = replace(options, preparation=low) if name == LOW else options
            convert(pages, arguments.out / name, how, workers=arguments.workers)
        print(arguments.out / name, flush=True)


if __name__ == "__main__":
    main()
