"""Compute and apply a fibre flat: known throughputs come back, cosmic rays, dead fibres and other wavelengths do not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sky_frames as made

from algorithms.apply_fiberflat import ApplyFiberFlat
from algorithms.compute_fiberflat import ComputeFiberFlat
from quicklook.ccd.spectra import FiberFlat, Frame, SpecMask
from quicklook.core.errors import BadData, MissingCalibration

RMS = 0.003


def lamp(seed: int = 4) -> tuple[Frame, FiberFlat, np.ndarray]:
    """A flat exposure of 2e4 electron/Angstrom, the fibre flat behind it, and this at the wavelengths of the fibres."""
    frame, _ = made.frame()
    truth = made.fiberflat()
    at = np.stack([np.interp(frame.wave[i], truth.wave, truth.flat[i]) for i in range(made.NFIBRE)])
    width = np.diff(made.edges(frame.wave), axis=1)
    light = 2e4 * (1 + 0.3 * np.sin((frame.wave - 6000) / 80)) * at
    variance = light * width + made.NOISE2
    rng = np.random.default_rng(seed)
    flux = light + np.sqrt(variance) * rng.normal(size=light.shape) / width
    return replace(frame, flux=flux.astype(np.float32), ivar=(width**2 / variance).astype(np.float32)), truth, at


def relative(got: FiberFlat, truth: FiberFlat) -> np.ndarray:
    """got / truth, without what all fibres have in common."""
    at = np.stack([np.interp(got.wave, truth.wave, truth.flat[i]) for i in range(made.NFIBRE)])
    ratio = np.where(got.ivar > 0, got.flat / at, np.nan)
    inside = np.isfinite(ratio).sum(axis=0) > 5
    return np.asarray((ratio / np.nanmedian(ratio[:, inside], axis=0).mean())[:, inside])


def test_throughputs_come_back() -> None:
    frame, truth, _ = lamp()
    got = ComputeFiberFlat().run(frame)
    error = relative(got, truth)
    assert np.nanstd(error) < RMS  # one sample has 1 %; 100 of them make a knot
    inside = (got.wave > 6020) & (got.wave < 6290)
    np.testing.assert_allclose(got.flat[:, inside].mean(axis=0), 1.0, atol=1e-5)
    assert (got.mask[:, inside] == 0).all()
    np.testing.assert_array_equal(got.fiber, frame.fibermap.fiber)
    at = np.stack([np.interp(got.wave, truth.wave, truth.flat[i]) for i in range(made.NFIBRE)])
    pull = ((got.flat - at / at.mean(axis=0)) * np.sqrt(got.ivar))[:, inside]
    assert np.mean(pull**2) == pytest.approx(1.0, abs=0.4)  # 40 x 6 independent values: three sigma is 0.27


def test_cosmic_rays_do_not_matter() -> None:
    frame, truth, _ = lamp()
    flux, mask = frame.flux.copy(), frame.mask.copy()
    rng = np.random.default_rng(5)
    for row in range(made.NFIBRE):
        flux[row, rng.choice(made.NWAVE, 8, replace=False)] += 10 ** rng.uniform(3, 6, 8)
    mask[3, 100:150] = SpecMask.COSMIC
    flux[3, 100:150] = np.nan
    error = relative(ComputeFiberFlat().run(replace(frame, flux=flux, mask=mask)), truth)
    assert np.nanstd(error) < RMS


def test_a_dead_and_an_empty_fibre_are_masked_and_spoil_nothing() -> None:
    frame, truth, _ = lamp()
    flux, ivar = frame.flux.copy(), frame.ivar.copy()
    flux[7] = np.random.default_rng(6).normal(0, 10, made.NWAVE)
    ivar[9] = 0
    got = ComputeFiberFlat().run(replace(frame, flux=flux, ivar=ivar))
    for row in (7, 9):
        assert (got.ivar[row] == 0).all()
        assert (got.mask[row] == SpecMask.BADFIBERFLAT).all()
        assert (got.flat[row] == 1).all()
    others = [i for i in range(made.NFIBRE) if i not in (7, 9)]
    assert np.nanstd(relative(got, truth)[others]) < RMS
    assert (got.ivar[others].max(axis=1) > 0).all()


def test_a_long_stretch_without_samples_is_not_known() -> None:
    """Saturated: a spline runs through it and off at the end; a short one (50 samples) is bridged."""
    frame, truth, _ = lamp()
    n = made.NWAVE
    flux, mask = frame.flux.copy(), frame.mask.copy()
    mask[:20, n // 2 :], flux[:20, n // 2 :] = SpecMask.ALLBADPIX, 1e5
    mask[30, 100:150] = SpecMask.COSMIC
    got = ComputeFiberFlat().run(replace(frame, flux=flux, mask=mask))
    last = frame.wave[:20, n // 2 - 1]
    step = np.median(np.diff(frame.wave))
    lost = got.wave > (last + 52 * step)[:, None]
    assert (got.ivar[:20][lost] == 0).all()
    assert (got.mask[:20][lost] == SpecMask.BADFIBERFLAT).all()
    assert (got.flat[:20][lost] == 1).all()
    seen = (got.wave > 6020) & (got.wave < frame.wave[:20, n // 2 - 1].min())
    assert (got.mask[:20, seen] == 0).all()
    assert (got.mask[30, (got.wave > 6020) & (got.wave < 6290)] == 0).all()
    assert np.nanstd(relative(got, truth)[20:]) < 2 * RMS


def test_a_dark_exposure_is_no_flat() -> None:
    frame, _, _ = lamp()
    dark = replace(frame, flux=np.random.default_rng(7).normal(0, 10, frame.flux.shape).astype(np.float32))
    with pytest.raises(BadData, match="a flat needs 5; check the lamp"):
        ComputeFiberFlat().run(dark)
    with pytest.raises(BadData, match="a flat needs 5"):
        ComputeFiberFlat().run(replace(frame, ivar=np.zeros_like(frame.ivar)))


def test_computed_and_applied_it_makes_a_lamp_flat() -> None:
    frame, _, _ = lamp()
    got = ApplyFiberFlat().run(frame, ComputeFiberFlat().run(frame))
    wave = np.arange(6030.0, 6280.0)
    known = np.where(got.ivar > 0, got.flux, np.nan)
    even = np.stack([np.interp(wave, frame.wave[i], known[i]) for i in range(made.NFIBRE)])
    level = np.median(even, axis=1)
    assert np.std(level / level.mean()) < 0.002
    assert got.stage == "fframe"


# ---- apply_fiberflat


def test_it_is_matched_by_fibre_number_and_resampled() -> None:
    flat = made.fiberflat()
    frame, truth = made.frame(noise=False)
    at = np.stack([np.interp(frame.wave[i], flat.wave, flat.flat[i]) for i in range(made.NFIBRE)])
    lit = replace(frame, flux=(truth.sky * at).astype(np.float32))
    turned = replace(flat, **{k: getattr(flat, k)[::-1].copy() for k in ("flat", "ivar", "mask", "fiber")})
    for given in (flat, turned):
        got = ApplyFiberFlat().run(lit, given)
        np.testing.assert_allclose(got.flux, truth.sky, rtol=1e-5)
        np.testing.assert_allclose(got.ivar, frame.ivar * at**2, rtol=0.02)  # S/N 1000 of the flat adds 2 % where the sky is brightest
        assert (got.mask == 0).all()


def test_what_the_flat_does_not_know_has_no_weight() -> None:
    flat = made.fiberflat()
    values, ivar, mask = flat.flat.copy(), flat.ivar.copy(), flat.mask.copy()
    values[2], ivar[3], mask[4, 100:110], values[5, 50] = 0.05, 0.0, 16, np.nan
    frame, _ = made.frame()
    partial = replace(flat, flat=values[:-1].copy(), ivar=ivar[:-1].copy(), mask=mask[:-1].copy(), fiber=flat.fiber[:-1].copy())
    got = ApplyFiberFlat().run(frame, partial)
    assert (got.mask[2] == SpecMask.LOWFLAT).all()
    assert (got.mask[[3, -1]] == SpecMask.BADFIBERFLAT).all()
    assert (got.ivar[[2, 3, -1]] == 0).all()
    assert 10 < (got.mask[4] > 0).sum() < 25
    assert (got.mask[5] > 0).sum() in (1, 2, 3, 4)
    assert np.isfinite(got.flux).all()
    assert np.isfinite(got.ivar).all()
    np.testing.assert_array_equal(got.ivar[got.mask > 0], 0)


def test_the_error_of_the_flat_is_added() -> None:
    flat = made.fiberflat()
    poor = replace(flat, ivar=np.full_like(flat.ivar, 100.0))  # 10 %
    frame, _ = made.frame()
    got = ApplyFiberFlat().run(frame, poor)
    at = np.stack([np.interp(frame.wave[i], flat.wave, flat.flat[i]) for i in range(made.NFIBRE)])
    variance = 1 / frame.ivar / at**2 + 0.01 * got.flux.astype(float) ** 2 / at**2
    np.testing.assert_allclose(1 / got.ivar, variance, rtol=1e-3)


def test_a_flat_of_other_fibres_is_refused() -> None:
    flat = made.fiberflat()
    with pytest.raises(MissingCalibration, match="holds fibres 0-39, the frame 1000-1039"):
        ApplyFiberFlat().run(made.frame()[0], replace(flat, fiber=np.arange(made.NFIBRE, dtype=np.int32)))
