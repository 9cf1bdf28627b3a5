"""Melodies: rhythms turned into notes on a staff, spelled in a key."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from lxml.etree import _Element as Element

from converters.engraving.music.decorations.bars import WHOLE, Clef
from converters.engraving.music.decorations.mei import Pen
from converters.engraving.music.decorations.rhythms import (
    QUARTER,
    Rhythm,
    RhythmEvent,
    RhythmGroup,
    written,
)
from converters.engraving.music.keys import LETTERS, Key

ACCIDENTALS = {-2: "ff", -1: "f", 0: "n", 1: "s", 2: "x"}
_LEAPS = (-4, -3, -2, -2, -1, -1, -1, 1, 1, 1, 2, 2, 3, 4)
_WIDE_CHORDS = ((0, 2), (0, 2, 4), (0, 3, 5), (0, 2, 5), (0, 4, 7), (0, 2, 4, 7))
_CHORDS = (*_WIDE_CHORDS, (0, 1, 4))


@dataclass(kw_only=True, slots=True)
class Melody:
    """A random line on a staff, written bar by bar."""

    pen: Pen
    rng: random.Random
    clef: Clef
    key: Key
    chromatic: float = 0.1
    """Fraction of notes that are raised or lowered."""
    extreme: float = 0.1
    """Fraction of altered notes that move by two semitones, if an accidental for it exists."""
    chords: float = 0.0
    """Fraction of notes that are chords, among quarter notes and longer ones."""
    is_cue: bool = False
    """Whether all notes are cue-sized."""
    low: int = -2
    """Lowest staff position: 0 is the lowest staff line, 1 the space above it."""
    high: int = 10
    """Highest staff position."""
    _position: int = 4
    _altered: dict[int, int] = field(default_factory=dict)

    def bar(self, rhythm: Rhythm) -> list[Element]:
        """Write a bar."""
        self._altered.clear()
        self._position = self.rng.randint(self.low, self.high)
        return [element for group in rhythm for element in self._group(group)]

    def _group(self, group: RhythmGroup) -> list[Element]:
        elements = [self._sound(sound) for sound in group.sounds]
        if group.beamed:
            elements = self._beams(elements, group.sounds)
        if group.ratio is None:
            return elements
        n, replaced = group.ratio
        attributes = {"num": str(n), "numbase": str(replaced)}
        if self.rng.random() < 0.4:
            attributes["bracket.visible"] = self.rng.choice(("true", "true", "false"))
        if self.rng.random() < 0.15:
            attributes["num.format"] = "ratio"
        return [self.pen.write("tuplet", attributes, *elements)]

    def _beams(self, elements: Sequence[Element], sounds: Sequence[RhythmEvent]) -> list[Element]:
        """Group runs of notes with flags under beams."""
        beamed: list[Element] = []
        run: list[Element] = []
        for element, sound in zip(elements, sounds, strict=True):
            if sound.length < QUARTER and not sound.is_rest:
                run.append(element)
                continue
            beamed += self._beam(run)
            beamed.append(element)
            run = []
        return beamed + self._beam(run)

    def _beam(self, run: Sequence[Element]) -> list[Element]:
        if len(run) < 2:
            return list(run)
        return [self.pen.write("beam", {"cue": "true"} if self.is_cue else {}, *run)]

    def _sound(self, sound: RhythmEvent) -> Element:
        value, dots = written(sound.length)
        attributes = {"dur": value} | ({"dots": str(dots)} if dots else {})
        if self.is_cue:
            attributes["cue"] = "true"
        if sound.is_rest:
            return self.pen.write("rest", attributes)
        if sound.strokes:
            attributes["stem.mod"] = f"{sound.strokes}slash"
        self._move()
        element = self._chord(attributes) if self._is_chord(sound) else self._note(attributes)
        if sound.strokes and sound.length >= WHOLE:  # no stem to carry the strokes
            return self.pen.write("bTrem", {}, element)
        return element

    def _is_chord(self, sound: RhythmEvent) -> bool:
        return sound.length >= QUARTER and self.rng.random() < self.chords

    def _chord(self, attributes: dict[str, str]) -> Element:
        is_breve = attributes["dur"] == "breve"  # in verovio, breves a second apart overlap
        chord = self.rng.choice(_WIDE_CHORDS if is_breve else _CHORDS)
        notes = [self._pitched(self._position + up, {}) for up in chord]
        return self.pen.write("chord", attributes, *notes)

    def _note(self, attributes: dict[str, str]) -> Element:
        return self._pitched(self._position, attributes)

    def _move(self) -> None:
        position = self._position + self.rng.choice(_LEAPS)
        if not self.low <= position <= self.high:
            position = 2 * self._position - position
        self._position = min(max(position, self.low), self.high)

    def _pitched(self, position: int, attributes: dict[str, str]) -> Element:
        if self.clef.shape == "perc":
            return self.pen.write("note", {"loc": str(position), **attributes})
        step = self.clef.bottom + position
        pitch = {"pname": LETTERS[step % 7], "oct": str(step // 7)}
        if sign := self._accidental(step):
            pitch["accid"] = sign
        return self.pen.write("note", pitch | attributes)

    def _accidental(self, step: int) -> str:
        """Draw the accidental of the next note on a step; empty if none is needed."""
        signature_alter = self.key.signature[step % 7]
        alter = signature_alter
        if self.rng.random() < self.chromatic:
            far = 2 if self.rng.random() < self.extreme else 1
            alter = max(-2, min(2, signature_alter + self.rng.choice((-far, far))))
        if alter == self._altered.get(step, signature_alter):
            return ""
        self._altered[step] = alter
        return ACCIDENTALS[alter]
