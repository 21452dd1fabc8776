"""Arcs: wavelength solution and line-spread function against known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trace_frames as tf

from algorithms.fit_arc import FitArc, FitArcParams, fibre_terms
from quicklook.ccd.linelist import ArcLines, shipped_lines
from quicklook.ccd.spectra import TraceSet
from quicklook.ccd.traceshift import ArcFit
from quicklook.core.errors import BadConfig, BadData

LAMP = tf.Light(line=20000.0, continuum=0.0)


def run(true: TraceSet, start: TraceSet, light: tf.Light = LAMP, wave: np.ndarray = tf.LINES, **params: object) -> tuple[TraceSet, ArcFit]:
    return FitArc(FitArcParams(**params)).run(tf.image(true, light), start, tf.exposure("arc"), tf.line_list(ArcLines, wave))  # type: ignore[arg-type]


def lsf_error(got: TraceSet, true: TraceSet) -> float:
    assert got.ysig is not None
    assert true.ysig is not None
    wave = np.linspace(tf.LINES[0], tf.LINES[-1], 20)
    return float(np.sqrt(np.mean((got.evaluate(got.ysig, wave) - true.evaluate(true.ysig, wave)) ** 2)))


def test_solution_and_width_come_back() -> None:
    true = tf.shifted(tf.traces(), (0.1, 0.0, 0.0), (-0.4, 0.05, 0.08))
    start = replace(tf.traces(), ysig=None)
    got, fit = run(true, start)
    assert max(tf.errors(got, true)) < 0.006  # lines of 20000 electrons in 30 fibres: 0.0015 pixel for each line
    assert lsf_error(got, true) < 0.006  # each line gives 0.006 in a fibre, and the model is smooth
    assert fit.used.sum() == 9
    assert np.abs(fit.residual).max() < 0.01


def test_fibres_that_have_moved_by_themselves_are_followed() -> None:
    true = tf.shifted(tf.traces(), (0, 0, 0), (0.2, 0, 0))
    rng = np.random.default_rng(3)
    y = true.y.copy()
    y[:, 0] += 0.05 * rng.normal(size=len(y))
    true = replace(true, y=y)
    free, _ = run(true, tf.traces())
    stiff, _ = run(true, tf.traces(), per_fibre=False)
    assert tf.errors(free, true)[1] < 0.008  # 9 lines of 0.009 pixel
    assert tf.errors(stiff, true)[1] > 0.03


def test_noise_is_not_taken_for_the_fibres_own() -> None:
    rng = np.random.default_rng(1)
    t = np.linspace(-0.9, 0.9, 9)
    error = np.full((9, 400), 0.02)
    got = fibre_terms(0.02 * rng.normal(size=error.shape), error, t, np.ones(9))
    assert np.std(got[:, 0]) < 0.003  # 0.007 without shrinking
    real = fibre_terms(0.05 * rng.normal(size=400) + 0.02 * rng.normal(size=error.shape), error, t, np.ones(9))
    assert np.std(real[:, 0]) == pytest.approx(0.05, rel=0.12)


def test_blends_are_left_out() -> None:
    """A second line 2.5 pixel beside one of the list, listed too: both are not used."""
    true = tf.shifted(tf.traces(), (0, 0, 0), (0.1, 0, 0))
    wave = np.sort(np.append(tf.LINES, tf.LINES[3] + 1.5))
    got, fit = run(true, tf.traces(), replace(LAMP, waves=wave), wave)
    assert tf.errors(got, true)[1] < 0.008
    assert {round(w, 1) for w, u in zip(fit.wave, fit.used, strict=True) if not u} <= {6150.2, 6151.7}
    assert fit.used.sum() == 8


def test_a_wrong_wavelength_does_not_bend_the_solution() -> None:
    true = tf.shifted(tf.traces(), (0, 0, 0), (0.1, 0, 0))
    wave = tf.LINES.copy()
    wave[5] += 0.2
    got, fit = run(true, tf.traces(), wave=wave)
    assert tf.errors(got, true)[1] < 0.01
    assert fit.used.sum() == 8


def test_without_lamps_it_says_so() -> None:
    with pytest.raises(BadData, match="check the lamps"):
        run(tf.traces(), tf.traces(), tf.Light(line=0.0, continuum=0.0))
    with pytest.raises(BadData, match="1 arc lines stand alone .* 2 are needed at least"):
        run(tf.traces(), tf.traces(), replace(LAMP, waves=tf.LINES[:1]), tf.LINES[:1])


@pytest.mark.parametrize("lines", [(1, 7), (1, 4, 7)])
def test_few_lines_shift_and_tilt_the_given_solution_and_say_so(lines: tuple[int, ...]) -> None:
    true = tf.shifted(tf.traces(), (0.1, 0.0, 0.0), (-0.4, 0.03, 0.03))
    wave = tf.LINES[list(lines)]
    got, fit = run(true, tf.traces(), replace(LAMP, waves=wave), wave)
    assert tf.errors(got, true)[1] < 0.01  # lines of 20000 electrons in 30 fibres
    assert fit.used.sum() == len(lines)
    assert f"{len(lines)} lines alone" in fit.remark
    assert not run(true, tf.traces())[1].remark


def test_elements_choose_lines() -> None:
    with pytest.raises(BadConfig, match="no line of Th"):
        run(tf.traces(), tf.traces(), elements="Th")
    lines = shipped_lines(ArcLines)
    assert {n.split("_")[0] for n in lines.name} == {"Ar", "Cd", "He", "Hg", "Kr", "Ne", "Xe", "Zn"}
