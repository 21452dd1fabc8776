"""Sections and traces."""

from __future__ import annotations

import numpy as np
import pytest

from quicklook.core.errors import BadConfig
from quicklook.sim.geometry import ARMS, SCALES, Scale, layout_of, parse_camera
from quicklook.sim.lines import lamp_lines, vacuum
from quicklook.sim.traces import Flexure, nominal_traces


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("scale", SCALES)
def test_sections_tile_the_image(arm: str, scale: Scale) -> None:
    layout = layout_of(arm, scale)
    raw, ccd = np.zeros(layout.raw_shape, int), np.zeros((layout.ny, layout.nx), int)
    area = np.zeros(layout.raw_shape, int)
    for amp in layout.amps:
        assert amp.data.shape == amp.ccd.shape
        assert amp.overscan.shape[0] == amp.prescan.shape[0] == amp.data.shape[0]
        for section in (amp.prescan, amp.data, amp.overscan, amp.row_overscan):
            raw[section.slices] += 1
            x_in = amp.area.x0 <= section.x0 <= section.x1 <= amp.area.x1
            assert x_in
            assert amp.area.y0 <= section.y0 <= section.y1 <= amp.area.y1
        ccd[amp.ccd.slices] += 1
        area[amp.area.slices] += 1
    assert raw.max() == 1
    assert (ccd == 1).all()
    assert (area == 1).all()


def test_full_sections_are_those_of_desi() -> None:
    layout = layout_of("r", "full")
    a = layout.amps[0]
    assert layout.raw_shape == (4194, 4256)
    assert (layout.ny, layout.nx) == (4128, 4114)
    assert (a.data.card, a.overscan.card) == ("[8:2064,2:2065]", "[2065:2128,2:2065]")
    assert (a.row_overscan.card, a.ccd.card) == ("[8:2064,2066:2097]", "[1:2057,1:2064]")
    blue = layout_of("b", "full")
    assert (blue.ny, blue.nx) == (4096, 4096)


def test_small_has_the_size_of_the_validation_kit() -> None:
    assert layout_of("r", "small").raw_shape == (2130, 1170)
    assert (layout_of("r", "small").ny, layout_of("r", "small").nx) == (2064, 1028)


@pytest.mark.parametrize("name", ["x0", "r", "r10", "R0", "", "r0\n"])
def test_bad_camera(name: str) -> None:
    with pytest.raises(BadConfig, match="such as r0"):
        parse_camera(name)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("scale", SCALES)
def test_traces_fit_on_the_detector_and_invert(arm: str, scale: Scale) -> None:
    layout = layout_of(arm, scale)
    traces = nominal_traces(layout)
    rows = np.linspace(0.0, layout.ny - 1.0, 60)
    wave = traces.wave_of_rows(rows)
    # Newton's method stops below 1e-7 pixel; 1e-6 leaves room for round-off at 4000 pixels
    np.testing.assert_allclose(traces.at(traces.y, wave), np.broadcast_to(rows, wave.shape), atol=1e-6)
    x = traces.at(traces.x, wave)
    assert x.min() > 5.0
    assert x.max() < layout.nx - 6.0
    assert np.diff(x, axis=0).min() > 6.5  # neighbours keep their distance of 7.27 pixel but for distortion
    assert wave.min() > traces.wave_min
    assert wave.max() < traces.wave_max


def test_flexure_moves_the_traces() -> None:
    traces = nominal_traces(layout_of("r", "tiny"))
    wave = np.array([0.5 * (traces.wave_min + traces.wave_max)])  # the middle: P1 is zero there
    moved = traces.shifted(Flexure(dx=(0.3, 0.0, 5.0), dy=(-0.2, 0.1, 0.0)))
    u = np.linspace(-0.9, 0.9, 10)[:, np.newaxis]
    np.testing.assert_allclose(moved.at(moved.x, wave) - traces.at(traces.x, wave), 0.3 + 0 * u, atol=1e-9)
    np.testing.assert_allclose(moved.at(moved.y, wave) - traces.at(traces.y, wave), -0.2 + 0.1 * u, atol=1e-9)


def test_vacuum_wavelengths() -> None:
    # NIST gives both: Hg 5460.750 / 5462.268, Ne 6402.248 / 6404.018, Ar 8115.311 / 8117.542
    air, known = np.array([5460.750, 6402.248, 8115.311]), np.array([5462.268, 6404.018, 8117.542])
    np.testing.assert_allclose(vacuum(air), known, atol=0.003)
    wave, rate = lamp_lines(6270.0, 6410.0)
    assert len(wave) == len(rate) == 4
    assert (np.diff(wave) > 0).all()
