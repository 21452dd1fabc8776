"""Texts as a page bears them: what is not printable is not printed, and what is long can be broken. Pure."""

from __future__ import annotations

import re
from typing import Any

_LONG = re.compile(r"\S{13,}")
_AFTER = re.compile(r"(?<=[_/.,;:=+\-?&])(?=[^\s_/.,;:=+\-?&])")
_RUN = re.compile(r"[^\u200b]{25,}")
_PIECE = re.compile(r"[^\u200b]{8}")
_VERBATIM = re.compile(r"\S{90}")
_MARK = r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_STACKED = re.compile(rf"(?P<kept>{_MARK}{{3}}){_MARK}+")
_FAR = re.compile(r"[\u0600-\u1cff\u2c00-\uffff\U00010000-\U0010ffff]")
"""Letters that the fonts of a page do not have, or have as those of a typewriter: Arabic, Indian, Chinese, ..."""
_AS_THEY_ARE = ("path", "block", "kind", "status")
_MOST = {"rows": 900, "title": 200, "subtitle": 300, "name": 200, "about": 200, "note": 900, "caption": 300}
_LONGEST = 4000
BREAK = "\u200b"


def printable(text: str, *, lines: bool = False) -> str:
    """Without control characters, halves of surrogate pairs, marks that turn the direction of writing, and more than three marks stacked on a letter,
    which would reach over other lines; `lines` keeps line breaks and tabs."""
    plain = text if text.isascii() else _STACKED.sub(r"\g<kept>", text)
    return "".join(c if c.isprintable() or (lines and c in "\n\t") else " " for c in plain)


def far(text: str) -> bool:
    """Whether it has letters for which fonts of the machine are needed."""
    return not text.isascii() and _FAR.search(text) is not None


def breakable(text: str) -> str:
    """With places where a long word may go on in the next line: after its signs, and in runs of more than 24 letters after every eight."""
    return _LONG.sub(lambda found: _RUN.sub(_in_pieces, _AFTER.sub(BREAK, found[0])), printable(text))


def _in_pieces(run: re.Match[str]) -> str:
    return _PIECE.sub(lambda piece: piece[0] + BREAK, run[0])


def breakable_lines(text: str) -> str:
    """Lines as they stand, with such places in words of more than 90 letters."""
    return _VERBATIM.sub(lambda found: found[0] + BREAK, printable(text, lines=True).replace("\t", "    "))


def clipped(text: str, most: int) -> str:
    """Not more than so many letters; how many are left out is said in their place. As HTML a report has all of them."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most} more letters)"


def for_page(data: Any, key: str = "") -> Any:
    """Plain data of a document with its texts made breakable and, where nobody would read them, clipped; paths of files stay as they are."""
    if isinstance(data, dict):
        verbatim = data.get("block") == "verbatim"
        return {k: breakable_lines(v) if verbatim and k == "text" else for_page(v, k) for k, v in data.items()}
    if isinstance(data, list):
        return [for_page(v, key) for v in data]
    if not isinstance(data, str) or key in _AS_THEY_ARE:
        return data
    return breakable(clipped(data, _MOST.get(key, _LONGEST)))
