"""Flexure: known shifts come back, and what cannot be measured is said to be unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trace_frames as tf

from algorithms.flexure import Flexure, FlexureParams
from quicklook.ccd.linelist import ArcLines, SkyLines
from quicklook.ccd.spectra import TraceSet
from quicklook.ccd.traceshift import TraceShift
from quicklook.core.errors import BadData

DX, DY = (0.22, 0.04, 0.03), (-0.16, 0.05, 0.04)


def measure(true: TraceSet, light: tf.Light | None = None, flavor: str = "science", **lines: object) -> tuple[TraceSet, TraceShift]:
    given = {"skylines": tf.line_list(SkyLines), "arclines": tf.line_list(ArcLines), **lines}
    return Flexure().run(tf.image(true, light), tf.traces(), tf.exposure(flavor), **given)  # type: ignore[arg-type]


def test_a_smooth_shift_comes_back() -> None:
    true = tf.shifted(tf.traces(), DX, DY)
    got, shift = measure(true)
    dx, dy = tf.errors(got, true)
    assert dx < 0.012  # 30 fibres x 128 samples of 60 electrons: 0.003 pixel in the mean, 0.005 with the slopes
    assert dy < 0.010  # 30 fibres x 9 lines of 3000 electrons: 0.0015 pixel; the lines are known to 0.005 pixel
    assert shift.x.mean == pytest.approx(0.22, abs=0.01)
    assert shift.y.mean == pytest.approx(-0.16, abs=0.01)
    assert not shift.x.remark + shift.y.remark


@pytest.mark.parametrize(("dx", "dy"), [(2.9, -2.9), (-2.9, 2.9), (1.5, 1.0)])
def test_a_large_shift_is_found(dx: float, dy: float) -> None:
    true = tf.shifted(tf.traces(), (dx, 0.0, 0.0), (dy, 0.0, 0.0))
    got, shift = measure(true)
    assert max(tf.errors(got, true)) < 0.012
    assert (shift.x.mean, shift.y.mean) == pytest.approx((dx - 0.0114 * dy, dy), abs=0.01)  # the tilt of the traces


def test_tilted_traces_that_move_along_are_not_taken_to_move_across() -> None:
    """The traces are tilted by 0.011: 2.5 pixel along them look like -0.028 pixel across."""
    true = tf.shifted(tf.traces(), (0.0, 0.0, 0.0), (2.5, 0.0, 0.0))
    got, shift = measure(true)
    assert shift.x.mean == pytest.approx(-0.028, abs=0.008)
    assert tf.errors(got, true)[0] < 0.008


def test_a_global_shift_of_016_is_seen_within_002() -> None:
    shift = measure(tf.shifted(tf.traces(), (0.16, 0, 0), (0.16, 0, 0)), tf.Light(line=400.0, continuum=15.0))[1]
    assert (shift.x.mean, shift.y.mean) == pytest.approx((0.16, 0.16), abs=0.02)


def test_a_bright_star_and_wings_do_not_pull_the_traces() -> None:
    true = tf.shifted(tf.traces(), DX, DY)
    got, _ = measure(true, tf.Light(wings=0.03, fibres={7: 60.0, 8: 0.0, 20: 200.0}))
    assert tf.errors(got, true)[0] < 0.012  # wings of the stars lean over to their neighbours
    assert tf.errors(got, true)[1] < 0.012


def test_cosmic_rays_and_lost_pixels_do_not_matter() -> None:
    true = tf.shifted(tf.traces(), DX, DY)
    clean = tf.image(true)
    rng = np.random.default_rng(3)
    pixels, ivar = clean.pixels.copy(), clean.ivar.copy()
    hit = rng.random(pixels.shape) < 0.004
    pixels[hit] += 2000.0
    lost = rng.random(pixels.shape) < 0.01
    pixels[lost], ivar[lost] = np.nan, 0.0
    pixels[:, 60], ivar[:, 60] = 1e7, 0.0
    got, _ = Flexure().run(tf.as_image(pixels, ivar), tf.traces(), tf.exposure(), tf.line_list(SkyLines), None)  # type: ignore[arg-type]
    assert max(tf.errors(got, true)) < 0.012


def test_wrong_lines_of_the_list_are_left_out() -> None:
    """Two of nine wavelengths are off by a pixel, two lines are not there: the others decide."""
    wave = np.sort(np.concatenate([tf.LINES + np.where(np.arange(9) % 5 == 2, 0.6, 0.0), [6085.0, 6230.0]]))
    true = tf.shifted(tf.traces(), DX, DY)
    got, _ = measure(true, skylines=tf.line_list(SkyLines, wave))
    assert tf.errors(got, true)[1] < 0.012


@pytest.mark.parametrize("brighter", [0.0, 1.0, 2.5])
def test_neighbours_do_not_move_lines_whatever_their_light(brighter: float) -> None:
    """A line of another name 1.2 Angstrom (2 pixel) beside each of the list, a third as bright or not: centroids would move by up to 0.8 pixel."""
    beside = tf.LINES + 1.2
    true = tf.shifted(tf.traces(), DX, DY)
    light, neighbours = tf.Light(), tf.Light(line=1000.0 * brighter, continuum=0.0, noise=0.1, seed=2, waves=beside)
    clean, more = tf.image(true, light), tf.image(true, neighbours)
    both = tf.as_image(clean.pixels + more.pixels, (1.0 / (1.0 / clean.ivar + np.maximum(more.pixels, 0))).astype(np.float32))
    wave = np.concatenate([tf.LINES, beside])
    order = np.argsort(wave)
    known = tf.line_list(SkyLines, tf.LINES)
    full = replace(
        known, wave=wave[order], sigma=np.where(order < 9, 0.003, 0.3), window=np.full(18, 2.9), strength=np.where(order < 9, 100.0, 33.0),
        name=tuple("OH" if i < 9 else "O2" for i in order),
    )  # fmt: skip
    got, shift = Flexure().run(both, tf.traces(), tf.exposure(), full, None)
    assert shift.y.measured
    assert tf.errors(got, true)[1] < 0.012
    assert shift.y.mean == pytest.approx(-0.16, abs=0.01)


@pytest.mark.parametrize("dy", [-40.0, -14.0, 9.0, 25.0])
def test_lines_that_are_far_off_are_not_taken_for_others(dy: float) -> None:
    got, shift = measure(tf.shifted(tf.traces(), (0, 0, 0), (dy, 0, 0)))
    assert not shift.y.measured
    assert "pixel" in shift.y.remark
    np.testing.assert_array_equal(got.y, tf.traces().y)


def test_a_list_of_which_nothing_bright_is_seen_gives_no_shift() -> None:
    """Of ten lines that the list calls equally bright one is there: whatever it is, it is no zero point."""
    wave = np.sort(np.append(tf.LINES[4] + np.arange(-5, 5) * 33.0 + 11.0, tf.LINES[4]))
    _, shift = measure(tf.traces(), tf.Light(waves=tf.LINES[4:5]), skylines=tf.line_list(SkyLines, wave))
    assert not shift.y.measured
    assert "9 % alone of what is bright" in shift.y.remark


def test_bundles_that_are_off_by_a_fibre_are_told() -> None:
    """Two bundles of 15 with a gap: one pitch aside every trace but two lies on the light of a neighbour."""
    start = tf.traces()
    x = start.x.copy()
    x[:, 0] += np.where(np.arange(30) < 15, -5.2, 5.2)
    light = tf.image(replace(start, x=x), tf.Light(line=0.0, continuum=3000.0))
    assert Flexure().run(light, replace(start, x=x), tf.exposure("flat"), None, None)[1].x.measured
    for step in (-tf.PITCH, tf.PITCH):
        off = replace(start, x=x + np.array([step, 0, 0, 0]))
        got, shift = Flexure().run(light, off, tf.exposure("flat"), None, None)
        assert not shift.x.measured
        assert "off by a fibre" in shift.x.remark
        np.testing.assert_array_equal(got.x, off.x)


def test_one_line_alone_fixes_the_zero_point_and_nothing_else() -> None:
    true = tf.shifted(tf.traces(), (0.0, 0.0, 0.0), (0.3, 0.0, 0.0))
    got, shift = measure(true, tf.Light(waves=tf.LINES[4:5]), skylines=tf.line_list(SkyLines, tf.LINES[4:5]))
    assert shift.y.mean == pytest.approx(0.3, abs=0.02)
    assert tf.errors(got, true)[1] < 0.02


def test_a_flat_gives_x_alone() -> None:
    true = tf.shifted(tf.traces(), DX, DY)
    got, shift = measure(true, tf.Light(line=0.0, continuum=5000.0), "flat")
    assert tf.errors(got, true)[0] < 0.004  # 0.002 because the traces are tilted and y is not known
    assert not shift.y_expected
    assert not shift.y.measured
    np.testing.assert_array_equal(got.y, tf.traces().y)


def test_an_arc_is_measured_on_its_lines() -> None:
    true = tf.shifted(tf.traces(), DX, DY)
    got, shift = measure(true, tf.Light(line=8000.0, continuum=0.0), "arc")
    assert max(tf.errors(got, true)) < 0.008
    assert shift.y_expected


@pytest.mark.parametrize("flavor", ["science", "arc", "flat", "zero"])
def test_without_light_nothing_moves_and_it_is_said(flavor: str) -> None:
    dark = tf.Light(line=0.0, continuum=0.0)
    got, shift = measure(tf.traces(), dark, flavor)
    np.testing.assert_array_equal(got.x, tf.traces().x)
    np.testing.assert_array_equal(got.y, tf.traces().y)
    assert not shift.x.measured
    assert not shift.y.measured
    assert shift.x.remark
    assert shift.y.remark


def test_an_image_of_nan_is_survived() -> None:
    shape = (tf.NY, tf.NX)
    dead = tf.as_image(np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32), float("nan"))
    _, shift = Flexure().run(dead, tf.traces(), tf.exposure(), None, None)
    assert not shift.x.measured
    assert not shift.y.measured


def test_traces_of_another_detector_are_refused() -> None:
    with pytest.raises(BadData, match="certify other traces"):
        Flexure().run(tf.image(tf.traces()), replace(tf.traces(), npix_x=4114), tf.exposure(), None, None)


def test_the_shift_in_y_can_be_switched_off() -> None:
    true = tf.shifted(tf.traces(), DX, DY)
    step = Flexure(FlexureParams(use_y=False))
    got, shift = step.run(tf.image(true), tf.traces(), tf.exposure(), tf.line_list(SkyLines), None)  # type: ignore[arg-type]
    np.testing.assert_array_equal(got.y, tf.traces().y)
    assert not shift.y_expected
