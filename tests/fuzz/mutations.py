"""Damaged variants of files, drawn by hypothesis, which also finds the smallest one that fails."""

from collections.abc import Sequence

from hypothesis import strategies as st

TOKENS = (
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\x1b[31m", b"../", b"\\", b"/", b"%2e"),
    *(b"{", b"}", b"[", b"]", b'"', b"'", b",", b":", b"<", b">", b"&", b"*a", b"&a ", b"!!", b"? "),
    *(b"nan", b"inf", b"-1", b"0", b"1e999", b"-0.0", b"9" * 20, b"9" * 5000, b"1_0", b"true", b"null"),
    *(b"[" * 3000, b'{"a":' * 3000, b"x" * 3000, b"\\ud800", b"\\u0000", b"2026-99-99", b"1:2:3"),
    *(b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"!!python/object:os.system x", b"\xf0\x9d\x84\x9e"),
)  # fmt: skip
"""Texts with which readers had problems: nesting, huge numbers, other encodings, paths, tags."""


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """Draw a seed, and change it in up to four places.

    Args:
        draw: Function with which hypothesis draws values.
        seeds: Contents of valid files, at least one.
    """
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from((0, 0, 1, 2, 8, 64, 1000))))
        other = draw(st.sampled_from(seeds))
        at = draw(st.integers(0, len(other)))
        piece = draw(
            st.one_of(
                st.sampled_from(TOKENS),
                st.binary(max_size=4),
                st.just(b""),
                st.just(data[start:end] * 2),
                st.just(other[at : at + 40]),
            )
        )
        data = data[:start] + piece + data[end:]
    return data
