"""What instruments say of their spectra."""

from __future__ import annotations

import pytest

from quicklook.core.errors import BadConfig
from quicklook.io.instrument import load_instrument, make_instrument
from quicklook.io.spectrograph import spectrograph_of

BARE = {
    "name": "bench", "files": {"patterns": ["b{expid:d}.fits"]},
    "layouts": [{"amplifiers": {"A": {"data": "[1:100,1:100]", "gain": 1.0, "corner": "ll"}}}],
}  # fmt: skip


def test_desi_has_fibres_in_bundles_and_a_dispersion_by_arm() -> None:
    desi = load_instrument("desi")
    b = spectrograph_of(desi, "b3", {"arm": "b", "first_fibre": "1500"})
    r = spectrograph_of(desi, "r0", {"arm": "r"})
    assert (b.fibres, b.bundle, b.slit, b.first_fibre, b.dispersion) == (500, 25, False, 1500, 0.59)
    assert r.dispersion == 0.53
    assert r.centre == pytest.approx(6710)
    assert "Ne" in r.lamps


def test_a_slit_has_its_apertures() -> None:
    blue = spectrograph_of(load_instrument("kast_blue"), "blue", {"arm": "blue"})
    assert blue.slit
    assert blue.fibres >= 20
    assert blue.lamps == ("Hg", "Cd", "He")
    assert blue.dispersion is not None
    assert abs(blue.dispersion / 1.02 - 1) < 0.05


def test_everything_may_be_unknown() -> None:
    bench = spectrograph_of(make_instrument(BARE), "A", {})
    assert (bench.fibres, bench.dispersion, bench.centre, bench.lamps) == (0, None, None, ())
    by_camera = make_instrument(BARE | {"spectra": {"dispersion": {"red": 0.8}, "lamps": {"red": ["Ne"]}}})
    assert spectrograph_of(by_camera, "red", {}).dispersion == 0.8
    assert spectrograph_of(by_camera, "red", {}).lamps == ("Ne",)
    assert spectrograph_of(by_camera, "green", {}).dispersion is None


def test_nonsense_is_refused() -> None:
    with pytest.raises(BadConfig, match="dispersion_error"):
        make_instrument(BARE | {"spectra": {"dispersion": 1.0, "dispersion_error": 3.0}})
