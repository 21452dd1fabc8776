"""Header cards, against astropy and against the standard."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from quicklook.core.errors import BadData
from quicklook.io.cards import CARD, format_card, header_block, parse_header, parse_value

TEXT = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=300).map(str.rstrip)


@pytest.mark.parametrize("name", ["virus_raw/20180522T023753.4_053RL_zro.fits.gz", "kast_blue/b1.fits.gz"])
def test_real_headers_read_as_astropy_reads_them(shared_data: Path, name: str) -> None:
    with fits.open(shared_data / name) as f:
        theirs = f[0].header
        text = theirs.tostring(endcard=True, padding=True)
        ours = parse_header(text)
        keys = {k for k in theirs if k not in ("COMMENT", "HISTORY", "")}
        assert set(ours) == keys
        assert [k for k in keys if ours[k] != theirs[k]] == []


def test_the_first_of_two_cards_counts() -> None:
    assert parse_header(format_card("OBSTYPE", "DARK") + format_card("OBSTYPE", 1))["obstype"] == "DARK"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("                   T / yes", True),
        (" -12", -12),
        (" 1.5D3 / old exponent", 1500.0),
        (" .5E-2", 0.005),
        (" 'it''s' / quote", "it's"),
        (" 'a / b'", "a / b"),
        (" '  lead  '", "  lead"),
        ("", None),
        (" / nothing", None),
        (" 2018-05-22", "2018-05-22"),
        (" (1.0, 2.0)", "(1.0, 2.0)"),
    ],
)
def test_values(text: str, value: object) -> None:
    assert parse_value(text) == value


def test_nan_is_a_number_that_is_none() -> None:
    found = parse_value(" NaN")
    assert isinstance(found, float)
    assert math.isnan(found)


@given(TEXT)
def test_any_text_comes_back_here_and_in_astropy(text: str) -> None:
    cards = format_card("KEY", text, "a comment")
    assert len(cards) % CARD == 0
    assert parse_header(cards)["KEY"] == text
    if "'" not in text:  # astropy stumbles over a quote before a slash
        assert fits.Header.fromstring(cards)["KEY"].rstrip() == text


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15), 10**15) | st.booleans())
def test_any_number_comes_back_here_and_in_astropy(value: float) -> None:
    card = format_card("KEY", value)
    assert parse_header(card)["KEY"] == value
    assert fits.Header.fromstring(card)["KEY"] == value


@given(st.text(max_size=400))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Each value is a plain one, and what was written before the damage is read as ever."""
    assert all(isinstance(v, str | int | float | bool | None) for v in parse_header(text).values())
    header = parse_header(format_card("FIRST", 7) + text)
    assert header["FIRST"] == 7


def test_what_fits_cannot_hold() -> None:
    assert parse_header(format_card("GAIN", math.nan))["GAIN"] == "nan"
    assert format_card("NAME", "fibré").strip() == "NAME    = 'fibr?   '"
    for bad in ("TOOLONGKEY", "a b", ""):
        with pytest.raises(BadData, match="keyword"):
            format_card(bad, 1)


def test_blocks_are_whole() -> None:
    block = header_block([format_card("SIMPLE", True)] * 40)
    assert len(block) == 2 * 2880
    assert block.rstrip().endswith(b"END")
