import random
from collections.abc import Iterator

import pytest
from lxml import etree

from benchmarks.foreign import musicxml
from benchmarks.foreign.pieces import draw_piece
from converters.engraving.music.composition import compose
from converters.engraving.typesetting import to_mei

MEI = "{http://www.music-encoding.org/ns/mei}"


def mei_of(*, measures: str, staves: str = "") -> str:
    """Write a small piece of one staff, unless ``staves`` defines others."""
    staff = staves or '<staffDef n="1" lines="5"><clef shape="G" line="2"/></staffDef>'
    return (
        '<mei xmlns="http://www.music-encoding.org/ns/mei" xmlns:xml='
        '"http://www.w3.org/XML/1998/namespace"><meiHead><fileDesc><titleStmt><title>T</title>'
        "</titleStmt></fileDesc></meiHead><music><body><mdiv><score>"
        '<scoreDef keysig="2f" meter.count="3" meter.unit="4"><staffGrp symbol="bracket" '
        f'bar.thru="true">{staff}</staffGrp></scoreDef><section>{measures}</section>'
        "</score></mdiv></body></music></mei>"
    )


def converted(*, measures: str) -> etree._Element:
    return etree.fromstring(musicxml.from_mei(mei_of(measures=measures), 2.0))


def events(mei: str) -> Iterator[tuple[str | None, ...]]:
    """List the notes and rests of a piece, measure by measure."""
    for note in etree.fromstring(mei.encode()).iter(f"{MEI}note", f"{MEI}rest", f"{MEI}mRest"):
        chord = note.getparent() if note.getparent().tag == f"{MEI}chord" else note
        names = note.get("pname"), note.get("oct"), chord.get("dur"), chord.get("dots")
        signs = [note, *note.iter(f"{MEI}accid")]
        printed = next((sign.get("accid") for sign in signs if sign.get("accid")), None)
        sounding = next((sign.get("accid.ges") for sign in signs if sign.get("accid.ges")), printed)
        sounding = {"ss": "x", "n": None}.get(sounding or "n", sounding)
        yield etree.QName(note).localname, *names, printed, sounding


@pytest.mark.parametrize("seed", range(12))
def test_verovio_reads_the_same_notes_from_musicxml_as_from_mei(seed: int) -> None:
    mei = compose(random.Random(seed), bars=16)
    back = to_mei(musicxml.from_mei(mei, 1.6))
    assert back is not None
    assert list(events(back)) == list(events(mei))


@pytest.mark.parametrize("seed", range(12))
def test_the_voices_of_a_measure_are_equally_long(seed: int) -> None:
    score = etree.fromstring(musicxml.from_mei(compose(random.Random(seed), bars=16), 1.6))
    for measures in zip(*score.iter("part"), strict=True):
        lengths = set()
        for measure in measures:
            at = 0
            for element in measure.iter("note", "backup", "forward"):
                if element.tag == "backup":
                    lengths.add(at)
                    assert int(element.findtext("duration")) == at
                    at = 0
                else:
                    at += musicxml._duration(element)
            lengths.add(at)
        assert len(lengths) == 1


def test_a_piece_without_notes() -> None:
    score = converted(
        measures='<measure n="1"><staff n="1"><layer><mRest/></layer></staff></measure>'
    )
    assert score.findtext("work/work-title") == "T"
    assert score.findtext("defaults/scaling/millimeters") == "8.0000"
    assert score.findtext(".//fifths") == "-2"
    assert (score.findtext(".//beats"), score.findtext(".//beat-type")) == ("3", "4")
    assert score.findtext(".//note/duration") == "72"
    assert score.find(".//note/rest").get("measure") == "yes"


def test_a_beam_of_an_eighth_and_two_sixteenths() -> None:
    notes = "".join(f'<note pname="c" oct="5" dur="{dur}"/>' for dur in (8, 16, 16))
    layer = f'<layer><beam>{notes}</beam><rest dur="2"/></layer>'
    score = converted(measures=f'<measure n="1"><staff n="1">{layer}</staff></measure>')
    beams = [[(b.get("number"), b.text) for b in note.iter("beam")] for note in score.iter("note")]
    assert beams == [
        [("1", "begin")],
        [("1", "continue"), ("2", "begin")],
        [("1", "end"), ("2", "end")],
        [],
    ]


def test_a_dotted_eighth_and_a_sixteenth_have_a_hook() -> None:
    notes = '<note pname="c" oct="5" dur="8" dots="1"/><note pname="c" oct="5" dur="16"/>'
    layer = f'<layer><beam>{notes}</beam><rest dur="2"/></layer>'
    score = converted(measures=f'<measure n="1"><staff n="1">{layer}</staff></measure>')
    beams = [[b.text for b in note.iter("beam")] for note in score.iter("note")]
    assert beams == [["begin"], ["end", "backward hook"], []]


def test_an_unknown_element_is_an_error() -> None:
    layer = '<layer><beatRpt dur="4"/></layer>'
    with pytest.raises(ValueError, match="unexpected element: beatRpt"):
        converted(measures=f'<measure n="1"><staff n="1">{layer}</staff></measure>')


def test_pieces_differ_by_number_and_seed_and_are_reproducible() -> None:
    first = draw_piece(0, 0)
    assert first == draw_piece(0, 0)
    assert len({first.musicxml, draw_piece(0, 1).musicxml, draw_piece(1, 0).musicxml}) == 3


@pytest.mark.parametrize("number", range(8))
def test_only_the_first_and_last_bar_are_incomplete(number: int) -> None:
    measures = list(etree.fromstring(draw_piece(3, number).musicxml).find("part"))
    assert not any(measure.get("implicit") for measure in measures[1:-1])
