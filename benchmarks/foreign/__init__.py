"""Test pages of other engravers, LilyPond and MuseScore, with exact boxes and classes.

    apt-get install --no-install-recommends lilypond musescore3 fonts-urw-base35
    python -m benchmarks.foreign OUT --engraver lilypond --pages 20
    omr convert OUT data --classes harmony

The music is composed by omr and passed on as MusicXML. Boxes and classes come from the SVG of the
engraver, and the picture is drawn from the same SVG by resvg, at 300 dpi on A4. Text is shown but
not labelled, nor is the 8 below LilyPond's octave clefs. The number of noteheads, rests and
fermatas must be as in the MusicXML; the manifest lists differences in accidentals, which engravers
add by rules of their own, and in dots, which two voices can share.
``python -m benchmarks.foreign.sizes`` compares the sizes of symbols.
"""
