"""Pixel flats and bad-pixel masks: responses, hot, noisy and dead pixels that were put in are found, by those of the detector alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import preproc_frames as f
import pytest

from algorithms.bad_pixel_mask import BadPixelMaskParams, MakeBadPixelMask, bad_columns
from algorithms.kernels import pixelresponse as kernel
from algorithms.pixel_flat import MakePixelFlat, PixelFlatParams
from quicklook.ccd.calibs import BadPixelMask, Dark, PixelFlat
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.ccd.pixeltraces import PixelTraces
from quicklook.core.errors import BadData

NY, NX = f.SHAPE
CENTRES = np.arange(6.0, NX - 5, 8.0)
SLOPE, SIGMA, SCATTER = 0.02, 1.1, 0.006
DUST = np.s_[100:106, 44:50]


def places() -> np.ndarray:
    """Traces that move by 5 pixels over the detector, [ntrace, ny]."""
    return np.asarray(CENTRES[:, None] + SLOPE * (np.arange(NY) - NY / 2))


def light(peak: float = 12_000.0, shift: float = 0.0) -> np.ndarray:
    """Gaussian fibres whose light rises along them."""
    rows = peak * (1 + 0.3 * np.arange(NY) / NY)
    x = np.arange(NX)
    return np.asarray(sum(rows[:, None] * np.exp(-0.5 * ((x - c[:, None] - shift) / SIGMA) ** 2) for c in places()))


def response() -> np.ndarray:
    out = 1 + SCATTER * np.random.default_rng(3).normal(size=f.SHAPE)
    out[DUST] *= 0.8
    return out


def traces(slit: bool = False) -> PixelTraces:
    t = np.linspace(-1, 1, NY)
    series = np.polynomial.legendre.legfit(t, places().T, 1).T
    if slit:
        series, width = np.array([[(NX - 1) / 2, 0.0]]), NX
    return PixelTraces(
        x=np.ascontiguousarray(series),
        xsig=np.full((len(series), 1), width / np.sqrt(12.0) if slit else SIGMA),
        npix_x=NX,
        npix_y=NY,
        fiber=np.arange(len(series), dtype=np.int32),
        lit=np.ones(len(series), np.bool_),
        slit=slit,
    )


def images(n: int = 8, **more: Any) -> list[Image]:
    return [f.run(f.frame(light(12_000.0 + 500 * i, 0.05 * i) * response(), seed=i), **more) for i in range(n)]


def test_responses_of_pixels_under_fibres() -> None:
    flat = MakePixelFlat().run(images(), traces())
    assert flat.ivar is not None
    known, truth = flat.ivar > 0, response()
    assert 0.4 < known.mean() < 0.8  # five or so of eight pixels of the pitch
    quiet = known.copy()
    quiet[95:111, 39:55] = False
    error = (flat.pixels - truth)[quiet]
    assert np.std(error) < 0.85 * SCATTER  # photon noise of eight flats is 0.35 % at the peak, 1 % in the wings: shrunk, the error is below either
    pull = error * np.sqrt(flat.ivar[quiet])
    assert np.std(pull) == pytest.approx(1.0, abs=0.1)
    np.testing.assert_array_equal(flat.pixels[~known], 1.0)
    dusty = np.zeros(f.SHAPE, np.bool_)
    dusty[DUST] = True
    assert np.mean(flat.pixels[dusty & known]) == pytest.approx(np.mean(truth[dusty & known]), abs=0.02)  # of the dust some goes into the smooth light


def test_noise_alone_makes_no_pixel_flat() -> None:
    same = [f.run(f.frame(light(), seed=i)) for i in range(6)]
    flat = MakePixelFlat().run(same, traces())
    assert flat.ivar is not None
    assert np.std(flat.pixels[flat.ivar > 0]) < 0.002
    raw = MakePixelFlat(PixelFlatParams(shrink=False)).run(same, traces())
    assert np.std(raw.pixels[flat.ivar > 0]) > 0.004


def test_a_long_slit() -> None:
    lamp = 10_000.0 * (1 + 0.5 * (np.arange(NY) / NY)[:, None] ** 2) * (1 + 0.2 * np.sin(np.arange(NX) / 5.0))
    several = [f.run(f.frame(lamp * response(), seed=i)) for i in range(6)]
    flat = MakePixelFlat().run(several, traces(slit=True))
    assert flat.ivar is not None
    known = flat.ivar > 0
    assert known[:, 3:-3].all()
    known[80:125, 40:54] = False
    assert np.std((flat.pixels - response())[known]) < 0.75 * SCATTER  # 0.4 % of noise, 0.6 % of response


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(BadData, match="known to 2 %"):
        MakePixelFlat().run([f.run(f.frame(light(50.0), seed=1))], traces())
    divided = f.run(f.frame(light(), seed=1), PixelFlat(pixels=np.ones(f.SHAPE, np.float32)))
    with pytest.raises(BadData, match="divided by a pixel flat"):
        MakePixelFlat().run([divided], traces())
    with pytest.raises(BadData, match="traces of 10 x"):
        MakePixelFlat().run(images(1), replace(traces(), npix_x=10))


def test_the_smooth_light_is_a_least_squares_fit() -> None:
    """One stretch of one trace against numpy's splines."""
    from scipy.interpolate import BSpline

    rng = np.random.default_rng(5)
    ny, nx, reach = 64, 12, 4.0
    centre = 5.5 + 0.02 * np.arange(ny)
    pixels = rng.normal(100.0, 10.0, (ny, nx)).astype(np.float32)
    ivar = rng.uniform(0.5, 1.5, (ny, nx)).astype(np.float32) * (rng.random((ny, nx)) > 0.1)
    ivar = ivar.astype(np.float32)
    low, high = np.ceil(centre - reach).astype(np.int64), np.ceil(centre + reach).astype(np.int64)
    got, weight = np.zeros((ny, nx), np.float32), np.zeros((ny, nx), np.float32)
    kernel._one(pixels, ivar, centre, low, high, 0, ny, reach, 1, True, 0.0, 1e9, 1, got, weight)
    y, x = np.nonzero((np.arange(nx) >= low[:, None]) & (np.arange(nx) < high[:, None]))
    nspline = int(2 * reach / kernel.KNOT) + 5
    knots = np.arange(-3, nspline + 1, dtype=float)
    u, t = (x - centre[y] + reach) / kernel.KNOT, (y - (ny - 1) / 2) / (ny / 2)
    basis = np.stack([np.nan_to_num(BSpline.basis_element(knots[i : i + 5], extrapolate=False)(u)) for i in range(nspline)], axis=1)
    terms = np.concatenate([basis, basis * t[:, None]], axis=1)
    root = np.sqrt(ivar[y, x].astype(float))
    best = np.linalg.lstsq(terms * root[:, None], pixels[y, x] * root, rcond=1e-8)[0]
    # a ridge of a millionth holds functions at the ends of which few pixels tell; noise is 10
    np.testing.assert_allclose(got[y, x] / weight[y, x], terms @ best, atol=0.5)
    np.testing.assert_allclose(np.median(np.abs(got[y, x] / weight[y, x] - terms @ best)), 0.0, atol=0.01)


def exposures(seconds: list[float]) -> list[Any]:
    return [f.exposure(t) for t in seconds]


def masked(**more: Any) -> BadPixelMask:
    """Six zeros and six darks with two hot pixels, a noisy one, cosmic rays, a column that glows, one dead pixel."""
    rng = np.random.default_rng(9)
    hot = np.full(f.SHAPE, 0.002)
    hot[10, 20], hot[150, 90] = 0.5, 3.0
    hot[:, 120] += 0.2
    frames, seconds = [], []
    for i in range(12):
        t = 0.0 if i < 6 else 600.0
        rays = np.zeros(f.SHAPE)
        rays[rng.integers(0, NY, 40), rng.integers(0, NX, 40)] = 3000.0 if t else 0.0
        raw = f.frame(hot * t + rays, seed=i)
        pixels = raw.pixels.copy()
        pixels[30, 40] += (-1) ** i * 60
        frames.append(f.run(replace(raw, pixels=pixels), exptime=t, find_dead=False))
        seconds.append(t)
    flat = np.ones(f.SHAPE, np.float32)
    flat[200, 60] = 0.1
    inputs = {"dark": None, "flat": PixelFlat(pixels=flat, ivar=np.ones_like(flat)), "known": None, **more}
    return MakeBadPixelMask(BadPixelMaskParams()).run(frames, exposures(seconds), **inputs)


def where(mask: BadPixelMask, bit: PixelMask) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in np.argwhere(mask.pixels & np.uint16(bit))}


def test_bad_pixels_by_kind() -> None:
    mask = masked()
    hot = where(mask, PixelMask.HOT)
    assert {(10, 20), (150, 90)} <= hot
    assert {x for _, x in hot - {(10, 20), (150, 90)}} == {120}  # the column, and no cosmic ray
    assert len(where(mask, PixelMask.HIGHVAR)) == 1
    assert where(mask, PixelMask.DEAD) == {(200, 60)}
    assert {x for _, x in where(mask, PixelMask.BAD)} == {120}


def test_what_is_known_is_kept_and_what_is_looked_for_is_found_anew() -> None:
    known = np.zeros(f.SHAPE, np.uint16)
    known[5, 5] = int(PixelMask.BAD)
    known[6, 6] = int(PixelMask.HOT)
    mask = masked(known=BadPixelMask(pixels=known))
    assert mask.pixels[5, 5] == int(PixelMask.BAD)
    assert mask.pixels[6, 6] == 0


def test_zeros_and_a_master_dark_do_as_well() -> None:
    rate = np.full(f.SHAPE, 0.001, np.float32)
    rate[7, 8] = 1.0
    zeros = [f.run(f.frame(0.0, seed=i), exptime=0.0) for i in range(5)]
    mask = MakeBadPixelMask().run(zeros, exposures([0.0] * 5), Dark(pixels=rate), None, None)
    assert where(mask, PixelMask.HOT) == {(7, 8)}
    with pytest.raises(BadData, match="tell of no bad pixels"):
        MakeBadPixelMask().run(zeros[:3], exposures([0.0] * 3), None, None, None)


def test_a_column_that_is_bad_in_part() -> None:
    values = np.random.default_rng(1).normal(size=(512, 40)).astype(np.float32)
    values[200:, 17] += 5.0
    values[10, 3] = 1e5
    assert bad_columns(values, 8.0, 1.0) == [(17, 192, 512)]
    assert bad_columns(values, 8.0, 10.0) == []
