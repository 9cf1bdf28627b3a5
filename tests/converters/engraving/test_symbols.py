"""Labels of small fragments, worked out from the music by hand."""

import numpy as np
import pytest
from alone import ink_box
from fragments import SPACE_PX, counted, drawn, labelled, score

from converters.engraving import smufl
from converters.engraving.svg import Drawing
from converters.engraving.symbols import symbols

ALWAYS = "staff clefG clefF barlineSingle systemicBarline stem"


def note(pname: str = "c", octave: int = 5, dur: str = "4", inside: str = "", **more: str) -> str:
    attributes = "".join(f' {name.replace("_", ".")}="{value}"' for name, value in more.items())
    return f'<note pname="{pname}" oct="{octave}" dur="{dur}"{attributes}>{inside}</note>'


def smufl_text(code: int) -> str:
    return f'<rend glyph.auth="smufl" fontfam="smufl">&#x{code:X};</rend>'


SEGNO_AL_CODA = {"text": 1, "segno": 1, "coda": 1}


def test_drawing_without_ink() -> None:
    blank = Drawing(width=100, height=100, font="Leipzig", staff_space=18.0, shapes=[])
    assert symbols(blank) == []


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        ("<mRest/>", {"restWhole": 1}),
        ('<rest dur="breve"/>', {"restDoubleWhole": 1}),
        ('<rest dur="2"/><rest dur="8"/>', {"restHalf": 1, "rest8th": 1}),
        (note("b", 4), {"noteheadBlackOnLine": 1}),
        (note("c", 5), {"noteheadBlackInSpace": 1}),
        (note("b", 4, "2"), {"noteheadHalfOnLine": 1}),
        (note("b", 4, "2", head_fill="solid"), {"noteheadBlackOnLine": 1}),
        (note("b", 4, "4", head_fill="void"), {"noteheadHalfOnLine": 1}),
        (note("c", 5, "1"), {"noteheadWholeInSpace": 1}),
        (note("c", 5, "breve"), {"noteheadDoubleWholeInSpace": 1}),
        (note("c", 4), {"noteheadBlackOnLine": 1, "ledgerLine": 1}),
        (note("a", 3), {"noteheadBlackOnLine": 1, "ledgerLine": 2}),
        (note("c", 5, dots="2"), {"noteheadBlackInSpace": 1, "augmentationDot": 2}),
        (note("a", 4, "8"), {"noteheadBlackInSpace": 1, "flag8thUp": 1}),
        (note("d", 5, "32"), {"noteheadBlackOnLine": 1, "flag32ndDown": 1}),
        (
            note("c", 5, "4", '<accid accid="s"/>') + note("d", 5, "4", '<accid accid="ff"/>'),
            {
                "noteheadBlackInSpace": 1,
                "noteheadBlackOnLine": 1,
                "accidentalSharp": 1,
                "accidentalDoubleFlat": 1,
            },
        ),
        (
            note("c", 5, "8", grace="unacc", stem_mod="1slash", stem_dir="up") + note(),
            {
                "noteheadBlackInSpaceSmall": 1,
                "flag8thUpSmall": 1,
                "graceSlash": 1,
                "noteheadBlackInSpace": 1,
            },
        ),
        (
            note("c", 5, "4", '<artic artic="stacc" place="above"/>')
            + note("c", 5, "4", '<artic artic="marc" place="below"/>'),
            {"noteheadBlackInSpace": 2, "articStaccatoAbove": 1, "articMarcatoBelow": 1},
        ),
        (f"<bTrem>{note(stem_mod='3slash')}</bTrem>", {"noteheadBlackInSpace": 1, "tremolo3": 1}),
        ('<multiRest num="8"/>', {"restHBar": 1, "restHNr": 1}),
        ('<multiRest num="12"/>', {"restHBar": 1, "restHNr": 1}),
        (
            '<tuplet num="3" numbase="2" bracket.visible="true">' + note() * 3 + "</tuplet>",
            {"noteheadBlackInSpace": 3, "tuplet3": 1, "tupletBracket": 1},
        ),
    ],
)
def test_symbols_of_a_bar(bar: str, expected: dict[str, int]) -> None:
    assert counted(labelled(score([bar])), without=ALWAYS) == expected


@pytest.mark.parametrize(
    ("inner", "n"),
    [
        pytest.param(note("c", 5, "8") + note("d", 5, "8"), 1, id="one beam"),
        pytest.param(note("c", 5, "16") + note("d", 5, "16"), 2, id="two beams, each one symbol"),
        pytest.param(
            note("c", 5, "16") * 4, 2, id="the pieces between notes are one beam, not three"
        ),
        pytest.param(note("c", 5, "8", dots="1") + note("d", 5, "16"), 2, id="a beam and a stub"),
    ],
)
def test_beams(inner: str, n: int) -> None:
    assert counted(labelled(score([f"<beam>{inner}</beam>"])))["beam"] == n


@pytest.mark.parametrize(
    ("clef", "expected"),
    [
        ('<clef shape="G" line="2"/>', {"clefG": 1}),
        ('<clef shape="F" line="4"/>', {"clefF": 1}),
        ('<clef shape="C" line="3"/>', {"clefCAlto": 1}),
        ('<clef shape="C" line="4"/>', {"clefCTenor": 1}),
        ('<clef shape="C" line="1"/>', {"otherSymbol": 1}),
        ('<clef shape="C" line="2"/>', {"otherSymbol": 1}),
        ('<clef shape="C" line="5"/>', {"otherSymbol": 1}),
        ('<clef shape="C" line="4" dis="8" dis.place="below"/>', {"clefCTenor": 1, "clef8": 1}),
        ('<clef shape="G" line="2" dis="8" dis.place="below"/>', {"clefG": 1, "clef8": 1}),
        ('<clef shape="G" line="2" dis="15" dis.place="above"/>', {"clefG": 1, "clef15": 1}),
        ('<clef shape="F" line="4" dis="8" dis.place="below"/>', {"clefF": 1, "clef8": 1}),
        ('<clef shape="perc"/>', {"clefUnpitchedPercussion": 1}),
    ],
)
@pytest.mark.parametrize("font", smufl.FONTS)
def test_clefs(clef: str, expected: dict[str, int], font: str) -> None:
    result = labelled(score(["<mRest/>"], clef=clef), font)
    assert counted(result, without="staff barlineSingle restWhole systemicBarline") == expected


@pytest.mark.parametrize("font", smufl.FONTS)
@pytest.mark.parametrize(("place", "above"), [("above", True), ("below", False)])
def test_figure_of_an_octave_clef_is_above_or_below(font: str, place: str, above: bool) -> None:
    clef = f'<clef shape="G" line="2" dis="8" dis.place="{place}"/>'
    result = {
        s.category: s.outline.box_xyxy() for s in labelled(score(["<mRest/>"], clef=clef), font)
    }
    plain = {s.category: s.outline.box_xyxy() for s in labelled(score(["<mRest/>"]), font)}
    size = result["clefG"][2:] - result["clefG"][:2]
    assert np.allclose(size, plain["clefG"][2:] - plain["clefG"][:2])
    figure = result["clef8"]
    middle = figure[[1, 3]].mean()
    assert (middle < result["clefG"][1] + SPACE_PX) == above
    assert (middle > result["clefG"][3] - SPACE_PX) == (not above)
    assert 0.5 * SPACE_PX < figure[2] - figure[0] < 1.2 * SPACE_PX


def test_key_and_time_signature() -> None:
    result = labelled(score(["<mRest/>"], head='keysig="3f" meter.count="12" meter.unit="8"'))
    assert counted(result, without=ALWAYS) == {
        "keyFlat": 3,
        "timeSig1": 1,
        "timeSig2": 1,
        "timeSig8": 1,
        "restWhole": 1,
    }


@pytest.mark.parametrize(
    ("left_right", "expected"),
    [
        ("", {"barlineSingle": 1}),
        ('right="dbl"', {"barlineDouble": 1}),
        ('right="end"', {"barlineFinal": 1}),
        ('right="rptend"', {"barlineFinal": 1, "repeatDot": 4}),
        ('left="rptstart"', {"barlineSingle": 1, "barlineReverseFinal": 1, "repeatDot": 4}),
        ('right="rptboth"', {"barlineRepeatBoth": 1, "repeatDot": 8}),
        ('right="heavy"', {"barlineHeavy": 1}),
        ('right="dblheavy"', {"otherSymbol": 1}),
        ('right="dashed"', {"barlineDashed": 1}),
        ('right="dotted"', {"barlineDashed": 1}),
        ('right="dbldotted"', {"barlineDashed": 1}),
        ('right="invis"', {}),
    ],
)
@pytest.mark.parametrize("distance", [8, 9, 10, 11, 13, 14])
def test_barline_through_two_staves_is_one_symbol(
    left_right: str, expected: dict[str, int], distance: int
) -> None:
    mei = score(["<mRest/>"], lower=["<mRest/>"], attributes=[left_right], group='bar.thru="true"')
    result = labelled(mei, spacingStaff=distance)
    assert counted(result, without="staff clefG clefF restWhole systemicBarline") == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("end", {"barlineFinal": 2}),
        ("dashed", {"barlineDashed": 2}),
        ("dotted", {"barlineDashed": 2}),
        ("dbldotted", {"barlineDashed": 2}),
        ("rptboth", {"barlineRepeatBoth": 2, "repeatDot": 8}),
    ],
)
def test_interrupted_barlines_are_one_symbol_per_staff(form: str, expected: dict[str, int]) -> None:
    result = labelled(score(["<mRest/>"], lower=["<mRest/>"], attributes=[f'right="{form}"']))
    assert counted(result, without="staff clefG clefF restWhole systemicBarline") == expected


@pytest.mark.parametrize(
    ("form", "category"),
    [("single", "barlineSingle"), ("end", "barlineFinal"), ("dotted", "barlineDashed")],
)
def test_barlines_on_a_staff_of_one_line(form: str, category: str) -> None:
    mei = score(["<mRest/>"], clef='<clef shape="perc"/>', attributes=[f'right="{form}"'])
    result = labelled(mei.replace('lines="5"', 'lines="1"'))
    assert counted(result, without="staff restWhole clefUnpitchedPercussion") == {category: 1}


@pytest.mark.parametrize(("symbol", "category"), [("brace", "brace"), ("bracket", "bracket")])
@pytest.mark.parametrize("glyph", [True, False])
def test_brace_and_bracket_of_a_system(symbol: str, category: str, glyph: bool) -> None:
    mei = score(["<mRest/>"], lower=["<mRest/>"], group=f'symbol="{symbol}"')
    [result] = [s for s in labelled(mei, useBraceGlyph=glyph) if s.category == category]
    staves = [s.outline.box_xyxy() for s in labelled(mei) if s.category == "staff"]
    box = result.outline.box_xyxy()
    assert box[1] < staves[0][1] + 2
    assert box[3] > staves[1][3] - 2


@pytest.mark.parametrize(
    ("form", "category"),
    [("cres", "dynamicCrescendoHairpin"), ("dim", "dynamicDiminuendoHairpin")],
)
@pytest.mark.parametrize("more", ["", 'niente="true"', 'lform="dashed"', 'lform="dotted"'])
def test_hairpins(form: str, category: str, more: str) -> None:
    bar = note(xml_id="a") + note(xml_id="b")
    bar = bar.replace("xml.id", "xml:id")
    hairpin = f'<hairpin form="{form}" {more} startid="#a" endid="#b" place="below"/>'
    result = labelled(score([bar], controls=[hairpin]))
    assert counted(result, without=f"{ALWAYS} noteheadBlackInSpace") == {category: 1}


def test_ring_of_a_niente_hairpin_is_hollow() -> None:
    bar = (note(xml_id="a") + note(xml_id="b")).replace("xml.id", "xml:id")
    hairpin = '<hairpin form="cres" niente="true" startid="#a" endid="#b"/>'
    drawing = drawn(score([bar], controls=[hairpin]))
    [ring] = [shape for shape in drawing.shapes if shape.kind == "ellipse"]
    outer, inner = ring.outline.contours()
    assert np.ptp(outer[:, 0]) - np.ptp(inner[:, 0]) == pytest.approx(2 * 1.8, abs=0.05)
    assert sum(shape.group.name == "hairpin" for shape in drawing.shapes) == 3


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ('<fermata startid="#a" place="above"/>', {"fermataAbove": 1}),
        ('<fermata startid="#a" place="below"/>', {"fermataBelow": 1}),
        ('<dynam startid="#a">mf</dynam>', {"dynamicM": 1, "dynamicF": 1}),
        ('<dynam startid="#a">p cresc.</dynam>', {"dynamicP": 1, "text": 1}),
        ('<tempo tstamp="1">Allegro</tempo>', {"text": 1}),
        ('<fing startid="#a">3</fing>', {"fingering3": 1}),
        ('<fing startid="#a">9</fing>', {"text": 1}),
        ('<slur startid="#a" endid="#b"/>', {"slur": 1}),
        ('<slur lform="dashed" startid="#a" endid="#b"/>', {"slur": 1}),
        ('<slur lform="dotted" startid="#a" endid="#b"/>', {"slur": 1}),
        ('<phrase startid="#a" endid="#b"/>', {"slur": 1}),
        ('<phrase lform="dashed" startid="#a" endid="#b"/>', {"slur": 1}),
        ('<tie startid="#a" endid="#b"/>', {"tie": 1}),
        ('<tie lform="dotted" startid="#a" endid="#b"/>', {"tie": 1}),
        ('<trill startid="#a"/>', {"ornamentTrill": 1}),
        ('<trill startid="#a" accidupper="f"/>', {"ornamentTrill": 1, "accidentalFlatSmall": 1}),
        (
            '<mordent startid="#a" accidupper="s"/>',
            {"ornamentMordent": 1, "accidentalSharpSmall": 1},
        ),
        (
            '<turn startid="#a" accidupper="n" accidlower="ff"/>',
            {"ornamentTurn": 1, "accidentalNaturalSmall": 1, "accidentalDoubleFlat": 1},
        ),
        ('<octave dis="8" dis.place="above" startid="#a" endid="#b"/>', {"ottavaBracket": 1}),
        ('<pedal dir="down" startid="#a" form="pedstar"/>', {"keyboardPedalPed": 1}),
        ('<repeatMark func="coda" tstamp="1"/>', {"coda": 1}),
        (f'<dir tstamp="1">{smufl_text(0xE047)}</dir>', {"segno": 1}),
        (f'<dir tstamp="1">Dal {smufl_text(0xE047)} al {smufl_text(0xE048)}</dir>', SEGNO_AL_CODA),
        (f'<dir tstamp="1">sempre {smufl_text(0xE520)}</dir>', {"text": 1, "dynamicP": 1}),
        ('<caesura startid="#a"/>', {"caesura": 1}),
        ('<breath startid="#a"/>', {"breathMark": 1}),
        ('<reh tstamp="1"><rend rend="box">A</rend></reh>', {"text": 1}),
    ],
)
def test_marks_on_notes(control: str, expected: dict[str, int]) -> None:
    bar = note(xml_id="a") + note(xml_id="b")
    result = labelled(score([bar.replace("xml.id", "xml:id")], controls=[control]))
    assert counted(result, without=f"{ALWAYS} noteheadBlackInSpace") == expected


@pytest.mark.parametrize("place", ["above", "below"])
@pytest.mark.parametrize(("bow", "category"), [("upbow", "Up"), ("dnbow", "Down")])
def test_bow_marks_above_and_below_notes(bow: str, category: str, place: str) -> None:
    result = labelled(score([note(inside=f'<artic artic="{bow}" place="{place}"/>')]))
    assert counted(result)[f"strings{category}Bow"] == 1


def test_bracket_of_a_non_arpeggio_is_not_an_arpeggio() -> None:
    chord = '<chord xml:id="a" dur="2">' + note("c", 4) + note("c", 5) + "</chord>"
    result = labelled(score([chord], controls=['<arpeg order="nonarp" startid="#a"/>']))
    [bracket] = [s for s in result if s.category == "otherSymbol"]
    assert len(bracket.shapes) == 3
    assert "arpeggiato" not in counted(result)


def test_arpeggio_is_one_symbol() -> None:
    chord = '<chord xml:id="a" dur="2">' + note("c", 4) + note("c", 5) + "</chord>"
    result = labelled(score([chord], controls=['<arpeg startid="#a"/>']))
    [wave] = [s for s in result if s.category == "arpeggiato"]
    assert len(wave.shapes) > 2


def test_syllables_and_hyphens_are_lyrics() -> None:
    first = note(inside='<verse n="1"><syl con="d" wordpos="i">Al</syl></verse>')
    second = note(inside='<verse n="1"><syl wordpos="t">le</syl></verse>')
    result = [s for s in labelled(score([first + second])) if s.category == "lyrics"]
    assert [s.shapes[0].text for s in result if s.shapes[0].text] == ["Al", "le"]
    assert len(result) == 3


def test_unison_of_two_voices_is_one_notehead_with_both_ids() -> None:
    voice = note(xml_id="{}", stem_dir="{}").replace("xml.id", "xml:id")
    bar = voice.format("a", "up") + '</layer><layer n="2">' + voice.format("b", "down")
    result = labelled(score([bar]))
    [head] = [s for s in result if s.category.startswith("notehead")]
    assert head.ids == ("a", "b")
    assert counted(result)["stem"] == 2


def test_positions_count_half_spaces_from_the_lowest_line() -> None:
    bar = note("e", 4) + note("f", 4) + note("c", 4) + note("a", 5)
    heads = [s for s in labelled(score([bar])) if s.category.startswith("notehead")]
    assert [s.position for s in heads] == [0, 1, -2, 10]


@pytest.mark.parametrize("distance", range(8, 15))
def test_positions_of_cross_staff_notes_refer_to_their_staff(distance: int) -> None:
    moved = note("c", 3, staff="2") + note("a", 3, staff="2")
    chord = f'<chord dur="4" staff="2">{note("c", 3)}{note("e", 4)}</chord>'
    across = f'<chord dur="4">{note("a", 2, staff="2")}{note("g", 4)}</chord>'
    mei = score([moved + chord + across], lower=[note("c", 5, "1", staff="1")])
    heads = [
        symbol
        for symbol in labelled(mei, spacingStaff=distance)
        if symbol.category.startswith("notehead")
    ]
    assert sorted((s.staff or 0, s.position or 0) for s in heads) == [
        (0, 2),
        (0, 5),
        (1, 1),
        (1, 3),
        (1, 3),
        (1, 8),
        (1, 12),
    ]


@pytest.mark.parametrize("names", ["1234", "5678", "4321"])
def test_staves_of_cross_staff_notes_are_found_by_number(names: str) -> None:
    bar = "".join(note("c", 4, staff=other) for other in names[1:])
    mei = score([bar], lower=["<mRest/>"])
    define = '<staffDef n="{}" lines="5"><clef shape="F" line="{}"/></staffDef>'
    mei = mei.replace("</staffGrp>", define.format("3", 3) + define.format("4", 5) + "</staffGrp>")
    empty = '<staff n="{}"><layer n="1"><mRest/></layer></staff>'
    mei = mei.replace("</measure>", empty.format("3") + empty.format("4") + "</measure>")
    for i, name in enumerate(names):
        for tag in ("staff ", "staffDef "):
            mei = mei.replace(f'<{tag}n="{i + 1}"', f'<{tag}n="_{name}"')
    options = ["note@staff", "chord@staff", "staff@n"]
    result = labelled(mei.replace("_", ""), svgAdditionalAttribute=options, spacingStaff=9)
    heads = [s for s in result if s.category.startswith("notehead")]
    assert [(s.staff, s.position) for s in heads] == [(1, 10), (2, 8), (3, 12)]


def test_staves_of_a_system_are_numbered_from_the_top() -> None:
    mei = score(["<mRest/>"] * 30, lower=[note("d", 3, "1")] * 30)
    result = labelled(mei, pageHeight=3000)
    staves = [s for s in result if s.category == "staff"]
    tops = [s.outline.box_xyxy()[1] for s in staves]
    assert len(staves) >= 4
    assert tops == sorted(tops)
    for symbol in result:
        if symbol.category.startswith(("rest", "notehead")) and symbol.staff is not None:
            assert symbol.staff % 2 == symbol.category.startswith("notehead")


def test_staff_is_one_symbol_across_bars() -> None:
    [staff] = [s for s in labelled(score([note()] * 3)) if s.category == "staff"]
    box = staff.outline.box_xyxy()
    assert box[3] - box[1] == pytest.approx(4 * SPACE_PX + 1.35, abs=0.1)
    assert len(staff.shapes) == 15


def test_editorial_placeholders_are_skipped() -> None:
    mei = score(["<mRest/>", "<mRest/>"]).replace(
        '<measure n="2"', '<scoreDef meter.count="4" meter.unit="4"/><measure n="2"'
    )
    kinds = {shape.kind for shape in drawn(mei).shapes}
    assert "ellipse" not in kinds


def test_the_line_through_a_repeat_of_two_bars_is_a_barline() -> None:
    bars = [note(), note(), "<mRpt2/>", "<mSpace/>"]
    counts = counted(labelled(score(bars)))
    assert counts["barlineSingle"] == len(bars) + 1
    assert counts["otherSymbol"] == 2  # the repeat and its number


EXOTIC = {
    "x and slash noteheads": '<note loc="4" dur="4" head.shape="x"/>'
    '<note loc="4" dur="2" head.shape="slash"/>',
    "a diamond notehead": '<note loc="4" dur="4" head.shape="diamond"/>',
    "a cluster": '<chord dur="4" cluster="white"><note pname="c" oct="4"/>'
    '<note pname="g" oct="4"/></chord>',
    "repeated bars": "<mRpt/>",
    "repeated beats": f"{note()}<beatRpt/>",
    "quarter tones": note(inside='<accid accid="1qs"/>'),
    "an editor's accidental": note(inside='<accid accid="s" func="edit"/>'),
    "a stemless note": note(stem_visible="false"),
    "multi-bar rests without a block": '<multiRest num="3" block="false"/>',
    "a breve and a longa": note(dur="breve") + note(dur="long"),
}
CONTROLS = (
    *(
        f'<{name} {more} startid="#first" endid="#last"/>'
        for name in ("slur", "tie", "phrase", "lv", "gliss", "bracketSpan", 'hairpin form="dim"')
        for more in ('lform="solid"', 'lform="dashed"', 'lform="dotted"', 'lform="wavy"')
    ),
    '<hairpin form="cres" niente="true" startid="#first" endid="#last"/>',
    '<trill extender="true" startid="#first" endid="#last"/>',
    '<octave dis="15" dis.place="below" lform="dotted" startid="#first" endid="#last"/>',
    '<pedal dir="down" form="line" startid="#first"/><pedal dir="up" startid="#last"/>',
    '<harm startid="#first"><fb><f>6</f><f>4</f></fb></harm>',
    '<mNum startid="#first">7</mNum>',
)


@pytest.mark.parametrize(
    ("bar", "control"),
    [
        *(pytest.param(bar, "", id=name) for name, bar in EXOTIC.items()),
        *(pytest.param("", control, id=control[1:60]) for control in CONTROLS),
    ],
)
@pytest.mark.parametrize(
    ("lines", "right"),
    [(5, "single"), (5, "dbldotted"), (4, "dblsegno"), (1, "dotted"), (1, "dashed"), (0, "single")],
)
def test_every_shape_belongs_to_a_symbol(bar: str, control: str, lines: int, right: str) -> None:
    ends = (note(xml_id="first") + note(xml_id="last")).replace("xml.id", "xml:id")
    mei = score([ends + bar], controls=[control], attributes=[f'right="{right}"'])
    drawing = drawn(mei.replace('lines="5"', f'lines="{lines}"'))
    covered = {id(shape) for symbol in symbols(drawing) for shape in symbol.shapes}
    assert covered == {id(shape) for shape in drawing.shapes}
    assert len(covered) > 4


@pytest.mark.parametrize("control", CONTROLS)
def test_strokes_agree_with_resvg(control: str) -> None:
    ends = (note(xml_id="first") + note(xml_id="last")).replace("xml.id", "xml:id")
    result = labelled(score([ends], controls=[control], attributes=['right="dotted"']))
    for symbol in result:
        if symbol.category != "text":
            box = symbol.outline.box_xyxy()
            assert ink_box(symbol, box) == pytest.approx(box, abs=0.3), symbol.category
