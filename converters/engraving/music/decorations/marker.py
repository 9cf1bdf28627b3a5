"""Writer for marks and lines on notes."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from converters.engraving.music.decorations.lanes import Lane, Side, Spot
from converters.engraving.music.decorations.mei import Pen


@dataclass(frozen=True, kw_only=True, slots=True)
class Marker:
    """Pen and random number generator for marks."""

    pen: Pen
    rng: random.Random

    def put(self, lane: Lane, mark: str, spot: Spot, side: Side, **more: str) -> None:
        """Add a mark above or below a note; ``text`` is its content, the rest are attributes."""
        text = more.pop("text", None)
        attributes = {"startid": self.reference(spot), "staff": lane.staff, "place": side}
        element = self.pen.write(mark, attributes | more)
        element.text = text
        lane.measure.append(element)
        spot.taken.add(side)

    def draw(self, lane: Lane, line: str, start: Spot, end: Spot, **attributes: str) -> None:
        """Draw a line between two notes; underscores in attribute names become dots."""
        ends = {"startid": self.reference(start), "endid": self.reference(end)}
        more = {key.replace("_", "."): value for key, value in attributes.items()}
        lane.measure.append(self.pen.write(line, ends | {"staff": lane.staff} | more))

    def reference(self, spot: Spot) -> str:
        """Return the URI fragment that refers to a note."""
        return "#" + self.pen.id_of(spot.element)

    def choose(self, weights: Mapping[str, float]) -> str:
        """Choose a key by weight."""
        return self.rng.choices(list(weights), list(weights.values()))[0]

    def happens(self, probability: float) -> bool:
        """Decide at random whether an event with this probability happens."""
        return self.rng.random() < probability
