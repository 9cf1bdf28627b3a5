"""Bars of a score, with the clefs, key and metre at the start of each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from lxml.etree import _Element as Element

from converters.engraving.music.decorations.mei import ID, inside, name, tag

WHOLE = 128
"""Time units per whole note: time is counted in 128th notes."""
_STEPS = {"C": 28, "F": 24, "G": 32}
_OCTAVES = {"8": 1, "15": 2, "22": 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class Clef:
    """A clef and its line; the shape ``perc`` has no pitch."""

    shape: str
    line: int
    octaves: int = 0
    """Octave transposition, negative for down, as shown by an 8 or 15 at the clef."""

    @property
    def bottom(self) -> int:
        """Pitch of the lowest line in steps above C0: 30 in the treble clef."""
        return _STEPS.get(self.shape, _STEPS["G"]) - 2 * (self.line - 1) + 7 * self.octaves

    def attributes(self) -> dict[str, str]:
        """Return the clef as MEI attributes."""
        attributes = {"shape": self.shape, "line": str(self.line)}
        if self.octaves:
            attributes["dis"] = str(7 * abs(self.octaves) + 1)
            attributes["dis.place"] = "above" if self.octaves > 0 else "below"
        return attributes


@dataclass(frozen=True, kw_only=True, slots=True)
class MeiMetre:
    """A time signature, as in the score."""

    count: int
    unit: int
    symbol: str | None = None

    @property
    def length(self) -> int:
        """Length of a bar in 128th notes."""
        return self.count * WHOLE // self.unit

    def attributes(self) -> dict[str, str]:
        """Return the metre as attributes of MEI's ``scoreDef``."""
        attributes = {"meter.count": str(self.count), "meter.unit": str(self.unit)}
        return attributes | ({"meter.sym": self.symbol} if self.symbol else {})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeiBar:
    """A measure, with the clefs, key and metre at its start."""

    measure: Element
    staves: dict[str, Element]
    """Staves by their ``n``, from the top."""
    clefs: dict[str, Clef]
    """Clefs by the ``n`` of their staves."""
    fifths: int | None
    """Sharps of the key signature, negative for flats; None if it varies or is irregular."""
    metre: MeiMetre | None
    """Time signature; None if it is missing or not a single fraction."""


@dataclass(slots=True)
class _BarState:
    """Clefs, keys and metre at the current position of the reader."""

    clefs: dict[str, Clef] = field(default_factory=dict)
    fifths: dict[str, int | None] = field(default_factory=dict)
    metre: MeiMetre | None = None


def read_bars(root: Element) -> list[MeiBar]:
    """List the measures of a score in order."""
    state = _BarState()
    bars: list[MeiBar] = []
    for element in root.iter(*map(tag, _READERS), tag("measure")):
        if name(element) == "measure":
            bars.append(_bar(element, state))
        else:
            _READERS[name(element)](element, state)
    return bars


def joined(bars: list[MeiBar]) -> list[bool]:
    """Determine for every bar whether it is connected to the next one.

    Ties, slurs and other lines, beams, and words divided by the barline count.
    """
    bar_of = {
        element.get(ID): i
        for i, bar in enumerate(bars)
        for element in bar.measure.iter(tag("note"), tag("chord"), tag("rest"))
    }
    connected = [any(_open_ended(staff) for staff in bar.staves.values()) for bar in bars]
    for i, bar in enumerate(bars):
        for line in bar.measure:
            ends = [bar_of.get((line.get(end) or "#")[1:], i) for end in ("startid", "endid")] + [
                i + _later_bars(line)
            ]
            for k in range(min(ends), min(max(ends), len(bars))):
                connected[k] = True
    return connected


def layers(staff: Element) -> list[Element]:
    """List the layers of a staff in a bar."""
    return list(staff.iterchildren(tag("layer")))


def _bar(measure: Element, state: _BarState) -> MeiBar:
    staves = {s.get("n") or str(i): s for i, s in enumerate(measure.iterchildren(tag("staff")), 1)}
    fifths = {state.fifths.get(n, state.fifths.get("", 0)) for n in staves}
    treble = Clef(shape="G", line=2)
    return MeiBar(
        measure=measure,
        staves=staves,
        clefs={n: state.clefs.get(n, state.clefs.get("", treble)) for n in staves},
        fifths=fifths.pop() if len(fifths) == 1 else None,
        metre=state.metre,
    )


def _read_definition(element: Element, state: _BarState) -> None:
    """Read the attributes of a ``scoreDef`` or ``staffDef``."""
    staff = element.get("n", "") if name(element) == "staffDef" else ""
    if shape := element.get("clef.shape"):
        _set_clef(state, staff, shape, element, "clef.")
    if (key := element.get("keysig") or element.get("key.sig")) is not None:
        _set_key(state, staff, key)
    if element.get("meter.count") or element.get("meter.sym"):
        state.metre = _metre(element, "meter.")


def _read_clef(element: Element, state: _BarState) -> None:
    if element.get("sameas") is None and (shape := element.get("shape")):
        _set_clef(state, _staff_of(element), shape, element, "")


def _read_key(element: Element, state: _BarState) -> None:
    _set_key(state, _staff_of(element), element.get("sig") or "mixed")


def _read_metre(element: Element, state: _BarState) -> None:
    if not inside(element, "meterSigGrp"):
        state.metre = _metre(element, "")


def _read_metre_group(_: Element, state: _BarState) -> None:
    state.metre = None


_READERS: dict[str, Callable[[Element, _BarState], None]] = {
    "scoreDef": _read_definition,
    "staffDef": _read_definition,
    "clef": _read_clef,
    "keySig": _read_key,
    "meterSig": _read_metre,
    "meterSigGrp": _read_metre_group,
}


def _staff_of(element: Element) -> str:
    """Return the number of the staff of a clef or signature; empty if it applies to all staves."""
    owner = next(element.iterancestors(tag("staffDef"), tag("staff")), None)
    return owner.get("n") or "" if owner is not None else ""


def _set_clef(state: _BarState, staff: str, shape: str, element: Element, prefix: str) -> None:
    octaves = _OCTAVES.get(element.get(prefix + "dis") or "", 0)
    line = element.get(prefix + "line") or {"G": "2", "F": "4"}.get(shape, "3")
    clef = Clef(shape=shape, line=int(line), octaves=octaves)
    if element.get(prefix + "dis.place") == "below":
        clef = replace(clef, octaves=-octaves)
    if not staff:
        state.clefs.clear()
    state.clefs[staff] = clef


def _set_key(state: _BarState, staff: str, signature: str) -> None:
    number, sign = signature[:-1], signature[-1:]
    if signature == "0":
        fifths: int | None = 0
    elif number.isdecimal() and sign in {"s", "f"}:
        fifths = int(number) * (1 if sign == "s" else -1)
    else:
        fifths = None
    if not staff:
        state.fifths.clear()
    state.fifths[staff] = fifths


def _metre(element: Element, prefix: str) -> MeiMetre | None:
    symbol = element.get(prefix + "sym")
    by_symbol = {"common": ("4", "4"), "cut": ("2", "2")}.get(symbol or "", ("", ""))
    count = element.get(prefix + "count") or by_symbol[0]
    unit = element.get(prefix + "unit") or by_symbol[1]
    if not (count.isdecimal() and unit.isdecimal()) or element.get(prefix + "form"):
        return None
    if not int(count) or not int(unit) or WHOLE % int(unit):
        return None
    return MeiMetre(count=int(count), unit=int(unit), symbol=symbol)


def _later_bars(line: Element) -> int:
    """Return the number of bars after which a line ends, according to its ``tstamp2``."""
    bars, is_later, _ = (line.get("tstamp2") or "").partition("m+")
    return int(bars) if is_later and bars.isdecimal() else 0


def _open_ended(staff: Element) -> bool:
    """Check whether a tie, slur or word continues after the last note of a layer."""
    for layer in layers(staff):
        last = next(_from_end(layer), None)
        if last is None:
            continue
        parts = [last, *last.iter(tag("note"))]
        if any(part.get("tie", "t") in {"i", "m"} or part.get("slur") for part in parts):
            return True
        if any(syl.get("wordpos") in {"i", "m"} for syl in last.iter(tag("syl"))):
            return True
    return False


def _from_end(layer: Element) -> Iterator[Element]:
    for element in reversed(list(layer.iter(tag("note"), tag("chord"), tag("rest")))):
        if not inside(element, "chord"):
            yield element
