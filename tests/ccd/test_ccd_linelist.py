"""Line lists: parsing, checks, the ones that are shipped."""

from __future__ import annotations

import numpy as np
import pytest

from quicklook.ccd.linelist import ArcLines, SkyLines, parse_lines, shipped_lines
from quicklook.core.errors import BadData


def test_a_list_is_read_and_sorted() -> None:
    got = parse_lines("# head\n6302.046 0.003 1.8 3000 [O_I]  # bright\n\n5578.887 0.002 1.8 2800 [O_I] auroral\n", SkyLines)
    np.testing.assert_array_equal(got.wave, [5578.887, 6302.046])
    assert got.name == ("[O_I] auroral", "[O_I]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("6302.0 x 1 1 O", "wavelength, sigma, window"),
        ("6302.0 0.1", "wavelength, sigma, window"),
        ("6302.0 0.0 1 1 O", "above zero"),
        ("6302.0 0.1 1 nan O", "above zero"),
        ("6302.0 0.1 1 1 O\n6302.0 0.1 1 1 O", "rising"),
    ],
)
def test_a_wrong_list_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadData, match=message):
        parse_lines(text, SkyLines)


def test_shipped_lists_cover_the_arms() -> None:
    sky, arc = shipped_lines(SkyLines), shipped_lines(ArcLines)
    for low, high in ((3600, 5800), (5760, 7620), (7520, 9824)):
        for lines, least in ((sky, 4), (arc, 15)):
            assert ((lines.wave > low) & (lines.wave < high)).sum() >= least
    nist = {5578.887: 0.011, 6302.046: 0.006, 6365.536: 0.006}  # the atlas has [O I] 5577 at 5578.897
    for wave, tolerance in nist.items():
        assert np.abs(sky.wave - wave).min() < tolerance


def test_shipped_arc_lines_agree_with_nist(shared_data: object) -> None:
    wave = np.loadtxt(f"{shared_data}/lines/bright_arc_lines_vacuum.dat")
    got = shipped_lines(ArcLines).wave
    assert max(np.abs(got - w).min() for w in wave) < 0.003
