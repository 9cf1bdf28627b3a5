"""Inserted bars, which may change clef, key and metre, and restore them at their end."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from lxml.etree import _Element as Element

from converters.engraving.music.decorations.bars import Clef, MeiBar, MeiMetre, layers
from converters.engraving.music.decorations.mei import Pen, name
from converters.engraving.music.decorations.melodies import Melody
from converters.engraving.music.decorations.rhythms import Rhythm, sustained
from converters.engraving.music.keys import Key


@dataclass(kw_only=True, slots=True)
class Scene:
    """A sequence of new bars to be inserted before a bar of the score."""

    pen: Pen
    rng: random.Random
    home: MeiBar
    """Bar after the new bars."""
    before: MeiBar
    """Bar before the new bars."""
    elements: list[Element] = field(default_factory=list)
    """Measures, and ``scoreDef`` elements before measures that change key or metre."""
    _metre: MeiMetre | None = None
    _fifths: int | None = None
    _announced: dict[str, str] = field(default_factory=dict)
    _signature: list[Element] = field(default_factory=list)

    @property
    def staves(self) -> list[str]:
        """Numbers of the staves, from the top."""
        return list(self.home.staves)

    @property
    def metre(self) -> MeiMetre:
        """Current metre; 4/4 if the score has none."""
        return self._metre or self.home.metre or MeiMetre(count=4, unit=4)

    @property
    def key(self) -> Key:
        """Current key; C major if the staves have different keys."""
        return Key(self._fifths if self._fifths is not None else self.home.fifths or 0)

    def set_metre(self, metre: MeiMetre) -> None:
        """Change the metre from the next bar on, unless the score has none."""
        if self.home.metre is not None and metre != self.metre:
            self._metre = metre
            self._announced = metre.attributes()

    def set_key(self, fifths: int) -> None:
        """Change the key from the next bar on, unless it could not be restored."""
        if self.home.fifths is None or fifths == self.key.fifths:
            return
        self._fifths = fifths
        sign = f"{abs(fifths)}{'s' if fifths > 0 else 'f'}" if fifths else "0"
        cancelled = self.rng.random() < 0.8 or not fifths
        signature = {"sig": sign, "cancelaccid": "before" if cancelled else "none"}
        self._signature = [self.pen.write("keySig", signature)]

    def bar(
        self,
        voices: Mapping[str, Iterable[Element]],
        marks: Iterable[Element] = (),
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """Write a bar; staves without a voice rest."""
        self._announce()
        write = self.pen.write
        staves = [
            write("staff", {"n": n}, write("layer", {"n": "1"}, *voices.get(n, [write("mRest")])))
            for n in self.staves
        ]
        free = {} if self.home.metre is not None else {"metcon": "false"}
        self.elements.append(write("measure", {**free, **(attributes or {})}, *staves, *marks))

    def play(self, melodies: Mapping[str, Melody], rhythm: Callable[[], Rhythm]) -> None:
        """Write a bar in which some staves play, with a common rhythm or one each.

        The other staves rest or hold a note.
        """
        shared = rhythm() if self.rng.random() < 0.5 else None
        voices = {n: melody.bar(shared or rhythm()) for n, melody in melodies.items()}
        for staff in self.staves:
            if staff not in voices and self.rng.random() < 0.25:
                voices[staff] = self.melody(staff).bar(sustained(self.metre))
        self.bar(voices)

    def melody(self, staff: str, clef: Clef | None = None) -> Melody:
        """Start a line in the current key."""
        low, high = self.rng.choice(((-3, 4), (-2, 10), (-2, 10), (3, 11)))
        return Melody(
            pen=self.pen,
            rng=self.rng,
            clef=clef or self.home.clefs[staff],
            key=self.key,
            low=low,
            high=high,
        )

    def cast(self) -> list[str]:
        """Choose the staves that play: often one, sometimes all."""
        kind = self.rng.random()
        if kind < 0.5:
            return [self.rng.choice(self.staves)]
        if kind < 0.75:
            return self.staves
        return self.rng.sample(self.staves, self.rng.randint(1, len(self.staves)))

    def melodies(self) -> dict[str, Melody]:
        """Start a melody on each staff that plays."""
        return {n: self.melody(n) for n in self.cast()}

    def clef_at_end(self, staff: str, clef: Clef) -> None:
        """Change a clef before the last barline so far."""
        measure = self.elements[-1] if self.elements else self.before.measure
        for element in measure:
            if element.get("n") == staff and (staff_layers := layers(element)):
                for last in staff_layers[0][-1:]:  # two clefs would overlap
                    if name(last) == "clef":
                        staff_layers[0].remove(last)
                staff_layers[0].append(self.pen.write("clef", clef.attributes()))

    def close(self) -> list[Element]:
        """Restore metre and key, and return the elements to insert."""
        if self.home.metre is not None:
            self.set_metre(self.home.metre)
        if self.home.fifths is not None:
            self.set_key(self.home.fifths)
        self._announce()
        return self.elements

    def _announce(self) -> None:
        if self._announced or self._signature:
            definition = self.pen.write("scoreDef", self._announced, *self._signature)
            self.elements.append(definition)
            self._announced, self._signature = {}, []
