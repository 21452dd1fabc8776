"""Header cards of FITS, read and written (FITS standard 4.0, section 4).

Reading is our own because it must be fast (a watcher looks at the headers of thirty cameras in a file that has just arrived), must
load nothing heavy, and must take headers as they are: lower-case keywords, missing blanks, values that are no values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from quicklook.ccd.image import Header, HeaderValue
from quicklook.core.errors import BadData

CARD = 80
BLOCK = 2880

_QUOTED = re.compile(r"\s*'((?:[^']|'')*)'")
_INT = re.compile(r"[+-]?\d{1,18}\Z")
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][+-]?\d+)?\Z")
_WORDS = {"nan": math.nan, "+nan": math.nan, "-nan": math.nan, "inf": math.inf, "+inf": math.inf, "-inf": -math.inf}
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}\Z")
_COMMENTARY = ("COMMENT", "HISTORY", "")


def parse_header(text: str) -> Header:
    """Header of the cards in `text` (80 characters each, up to END). Of a keyword that is written twice the first value counts.

    A value that cannot be read as FITS wants it is kept as its text; nothing is raised.
    """
    cards: dict[str, HeaderValue] = {}
    for key, value in _values(text):
        cards.setdefault(key, value)
    return Header(cards)


def _values(text: str) -> Iterator[tuple[str, HeaderValue]]:
    """Keyword and value of each card; a long string (CONTINUE) is put together."""
    pending: tuple[str, str] | None = None
    for start in range(0, len(text), CARD):
        card = text[start : start + CARD]
        key = card[:8].strip().upper()
        if pending and key == "CONTINUE":
            more = parse_value(card[8:])
            pending = (pending[0], pending[1][:-1] + (more if isinstance(more, str) else ""))
            if pending[1].endswith("&"):
                continue
        if pending:
            yield pending
            pending = None
            if key == "CONTINUE":
                continue
        if key == "END":
            break
        rest = card[8:]
        if key == "HIERARCH" and "=" in rest:
            name, _, rest = rest.partition("=")
            key = name.strip().upper()
        elif key in _COMMENTARY or not rest.startswith("="):
            continue
        else:
            rest = rest[1:]
        value = parse_value(rest)
        if isinstance(value, str) and value.endswith("&"):
            pending = (key, value)
            continue
        yield key, value
    if pending:
        yield pending


def parse_value(text: str) -> HeaderValue:
    """Value of the part of a card after the equals sign; None where there is none."""
    if quoted := _QUOTED.match(text):
        return quoted[1].replace("''", "'").rstrip()
    text = text.partition("/")[0].strip()
    if text in ("T", "F"):
        return text == "T"
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text.replace("D", "E").replace("d", "e"))
    return _WORDS.get(text.lower(), text or None)


def format_card(key: str, value: HeaderValue, comment: str = "") -> str:
    """One card (or several, with CONTINUE, for a long string) of 80 characters. A number that is not finite is written as its name, in quotes.

    Raises BadData for a keyword or a text that FITS cannot hold.
    """
    key = key.upper()
    if not _KEYWORD.match(key):
        raise BadData(f"{key!r} is no FITS keyword: at most 8 of A-Z 0-9 _ -")
    if isinstance(value, str):
        return _string_cards(key, value, comment)
    if value is None:
        text = ""
    elif isinstance(value, bool):
        text = "T" if value else "F"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return _string_cards(key, str(value), comment)
        text = _float(value)
    else:
        text = str(value)
    return _with_comment(f"{key:8s}= {text:>20s}", comment)


def _float(value: float) -> str:
    text = repr(float(value)).upper()
    return text if "." in text or "E" not in text else text.replace("E", ".0E")


def _with_comment(card: str, comment: str) -> str:
    if comment and len(card) < CARD - 3:
        card += f" / {_ascii(comment)}"
    return card[:CARD].ljust(CARD)


def _ascii(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def _string_cards(key: str, value: str, comment: str) -> str:
    """The string convention: quotes doubled, at least 8 characters, continued with & where it is longer than a card."""
    pieces, rest = [], _ascii(value).replace("'", "''")
    while len(rest) > 68:
        cut = 67 if rest[:67].count("'") % 2 == 0 else 66  # never between the two of a doubled quote
        pieces.append(rest[:cut] + "&")
        rest = rest[cut:]
    pieces.append(rest)
    cards = [f"{key:8s}= '{pieces[0]:8s}'", *(f"CONTINUE  '{p}'" for p in pieces[1:])]
    return "".join(c.ljust(CARD) for c in cards[:-1]) + _with_comment(cards[-1], comment)


def header_block(cards: Iterable[str]) -> bytes:
    """Cards with END, padded with blanks to whole blocks of 2880 bytes."""
    text = "".join(cards) + "END".ljust(CARD)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")
