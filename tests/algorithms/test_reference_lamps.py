"""Arc lines measured in every fibre, and references made of several arcs and flats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trace_frames as tf

from algorithms.measure_arc import MeasureArc, MeasureArcParams
from algorithms.reference_arc import MakeReferenceArc
from algorithms.reference_flat import MakeReferenceFlat
from quicklook.ccd.arcareas import ArcAreas
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.linelist import ArcLines
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadData

SECONDS = 5.0
ARC = replace(tf.exposure("arc"), exptime=SECONDS)


def arc(light: tf.Light, **params: float) -> ArcAreas:
    true = tf.traces()
    return MeasureArc(MeasureArcParams(**params)).run(tf.image(true, light), true, ARC, tf.line_list(ArcLines))


def test_areas_and_widths_are_those_of_the_lines() -> None:
    light = tf.Light(line=20_000.0, continuum=50.0, fibres={7: 0.0, 11: 0.5})
    got = arc(light)
    true = tf.traces()
    strength = light.line * (0.4 + 1.2 * np.random.default_rng(5).random(len(tf.LINES)))
    wanted = np.tile(strength / SECONDS, (true.nfibre, 1))
    wanted[11] *= 0.5
    lit = np.arange(true.nfibre) != 7
    assert np.isnan(got.area[7]).all()
    # 1 % of photons and noise, and up to 1 % that neighbours put into the window of a fibre half as bright
    np.testing.assert_allclose(got.area[lit], wanted[lit], rtol=0.06)
    assert np.median(got.area[lit] / wanted[lit]) == pytest.approx(1.0, abs=0.005)
    assert true.ysig is not None
    per_pixel = 2 * tf.DISPERSION  # roughly: half the range of the traces over half of the rows
    assert np.nanmedian(got.sigma) == pytest.approx(1.12 * 0.5 * per_pixel, rel=0.03)
    assert got.name == ("Ne_I",) * 9


def test_lines_that_are_too_faint_or_off_the_traces_are_not_measured() -> None:
    assert np.isnan(arc(tf.Light(line=30.0, continuum=0.0)).area).mean() > 0.9
    with pytest.raises(BadData, match="areas per second"):
        MeasureArc().run(tf.image(tf.traces()), tf.traces(), replace(ARC, exptime=0.0), tf.line_list(ArcLines))
    with pytest.raises(BadData, match="no line of the arc list"):
        MeasureArc().run(tf.image(tf.traces()), tf.traces(), ARC, tf.line_list(ArcLines, np.array([9000.0])))


def made(area: np.ndarray, first: int = 0) -> ArcAreas:
    n, m = area.shape
    fiber, wave = np.arange(first, first + n, dtype=np.int32), np.linspace(6000.0, 6000.0 + 10.0 * (m - 1), m)
    return ArcAreas(camera="r0", wave=wave, name=("Ne_I",) * m, fiber=fiber, area=area, sigma=np.full(area.shape, 0.6))


def test_the_reference_arc_is_a_median_and_drops_lines_that_few_fibres_show() -> None:
    areas = [np.full((6, 4), v) for v in (90.0, 100.0, 500.0)]
    areas[0][2, 1] = np.nan
    for a in areas:
        a[:4, 3] = np.nan
    got = MakeReferenceArc().run([made(a) for a in areas])
    assert list(got.wave) == [6000.0, 6010.0, 6020.0]
    assert got.area[0, 0] == 100.0
    assert got.area[2, 1] == 300.0  # of the two that have it
    with pytest.raises(BadData, match="different fibres"):
        MakeReferenceArc().run([made(areas[0]), made(areas[0], 500)])
    with pytest.raises(BadData, match="there is no arc"):
        MakeReferenceArc().run([])
    with pytest.raises(BadData, match="no line"):
        MakeReferenceArc().run([made(np.full((4, 2), np.nan))])


def flat(level: float, first: int = 0) -> Frame:
    shape = (5, 200)
    flux = np.full(shape, level, np.float32) * np.linspace(0.8, 1.2, 5, dtype=np.float32)[:, None]
    ivar = np.ones(shape, np.float32)
    ivar[3] = 0.0
    return Frame(
        camera="r0",
        flux=flux,
        ivar=ivar,
        mask=np.zeros(shape, np.uint32),
        wave=np.tile(6000.0 + np.arange(200.0), (5, 1)),
        sigma=np.ones(shape, np.float32),
        fibermap=FiberMap(fiber=np.arange(first, first + 5, dtype=np.int32), objtype=("TGT",) * 5, source="made"),
    )


def test_the_reference_flat_is_a_median_of_levels_per_second() -> None:
    exposures = [replace(ARC, exptime=t) for t in (10.0, 20.0, 10.0)]
    got = MakeReferenceFlat().run([flat(1000.0), flat(2000.0), flat(5000.0)], exposures)
    np.testing.assert_allclose(got.level[[0, 1, 2, 4]], 100.0 * np.linspace(0.8, 1.2, 5)[[0, 1, 2, 4]], rtol=1e-6)
    assert np.isnan(got.level[3])
    with pytest.raises(BadData, match="different fibres"):
        MakeReferenceFlat().run([flat(1000.0), flat(1000.0, 500)], exposures[:2])
    with pytest.raises(BadData, match="a level per second"):
        MakeReferenceFlat().run([flat(1000.0)], [replace(ARC, exptime=0.0)])
    with pytest.raises(BadData, match="there is no flat"):
        MakeReferenceFlat().run([], [])
