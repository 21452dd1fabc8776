"""The sky in the amplifiers of a camera: a gain that is wrong, and what is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from algorithms.compute_sky import ComputeSky
from qa.amp_sky import AmpSky, AmpSkyParams
from qa.kernels.halves import sum_halves
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.geometry import Section
from quicklook.ccd.spectra import Frame, SkyModel, TraceSet
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.metrics import Measures

NFIBRE, NY, NX = 40, 400, 300
SKY = tuple(range(0, NFIBRE, 2))
LEVEL, SIGMA = 90.0, 12.0
WAVE = 6000.0 + 0.6 * np.arange(NY)
AMPS = {name: Section(y, y + NY // 2, x, x + NX // 2) for name, y, x in (
    ("A", 0, 0), ("B", 0, NX // 2), ("C", NY // 2, 0), ("D", NY // 2, NX // 2),
)}  # fmt: skip
Scene = tuple[Frame, SkyModel, TraceSet]


def traces() -> TraceSet:
    """Straight, evenly over 300 columns; of 400 rows the amplifiers meet at row 200."""
    half = 0.5 * (NY - 1)
    return TraceSet(
        npix_x=NX, npix_y=NY, wavemin=float(WAVE[0]), wavemax=float(WAVE[-1]), fiber=np.arange(NFIBRE),
        x=np.stack([np.linspace(6.0, NX - 7.0, NFIBRE), np.zeros(NFIBRE)], axis=1), y=np.tile([half, half], (NFIBRE, 1)),
    )  # fmt: skip


def scene(gain: dict[str, float] | None = None, *, seed: int = 1, fibre: np.ndarray | float = 0.0, sigma: float = SIGMA) -> Scene:
    """Sky-subtracted spectra, the light of single amplifiers times (1 + gain), of fibres times (1 + fibre); the model is the mean over them."""
    rng = np.random.default_rng(seed)
    right, high = (np.arange(NFIBRE) >= NFIBRE // 2)[:, np.newaxis], (np.arange(NY) >= NY // 2)[np.newaxis]
    light = LEVEL + 800.0 * (np.arange(NY) % 50 == 0) + np.zeros((NFIBRE, NY))
    light = light * (1.0 + np.asarray(fibre).reshape(-1, 1))
    for name, error in (gain or {}).items():
        here = (right == (name in "BD")) & (high == (name in "CD"))
        light = np.where(here, light * (1.0 + error), light)
    model = np.tile(light[list(SKY)].mean(axis=0), (NFIBRE, 1))
    wave, mask = np.tile(WAVE, (NFIBRE, 1)), np.zeros((NFIBRE, NY), np.uint32)
    frame = Frame(
        camera="r0", flux=(light + rng.normal(0, sigma, light.shape) - model).astype(np.float32), ivar=np.full(light.shape, sigma**-2, np.float32),
        sigma=np.full(light.shape, 0.6, np.float32), stage="sframe", fibermap=FiberMap(
            fiber=np.arange(NFIBRE, dtype=np.int32), objtype=tuple("SKY" if i in SKY else "TGT" for i in range(NFIBRE)), source="made"), wave=wave, mask=mask, amplifiers=AMPS,
    )  # fmt: skip
    sky = SkyModel(flux=model.astype(np.float32), ivar=np.full(model.shape, 1e4, np.float32), fibers=SKY, wave=wave, mask=mask)
    return frame, sky, traces()


def measure(*args: object, **more: object) -> Measures:
    return AmpSky().measure(*scene(*args, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(1, 9))
def test_healthy_amplifiers_agree(seed: int) -> None:
    got = measure(seed=seed)
    assert got["amp_sky_excess"].values == 0
    # 10 fibres a side, 200 samples each a half: 12 / (90 + 16) / sqrt(200) / sqrt(10) x sqrt(4)
    assert got["amp_sky_error"].values == pytest.approx(0.0051, rel=0.35)
    assert abs(float(got["amp_sky_step"].values)) < 4 * 0.0051


@pytest.mark.parametrize(("amp", "sign", "pair"), [("A", 1, "A and B"), ("B", -1, "A and B"), ("C", -1, "C and D"), ("D", 1, "C and D")])
def test_a_gain_that_is_wrong_is_found_and_its_pair_is_named(amp: str, sign: int, pair: str) -> None:
    got = measure({amp: 0.05})
    assert got["amp_sky_step"].values == pytest.approx(sign * 0.05, abs=0.018)
    assert got["amp_sky_excess"].values > 0.01
    assert f"amplifiers {pair} differ by" in got["amp_sky_excess"].remarks[()]
    assert got["amp_sky_level"].coords == {"amp": ("A", "B", "C", "D")}


@pytest.mark.parametrize(("amp", "error"), [("A", 0.1), ("A", -0.2), ("B", -0.1), ("C", 0.2), ("D", 0.2), ("D", -0.1)])
def test_a_gain_so_wrong_that_the_model_leaves_out_a_side(amp: str, error: float) -> None:
    """By the model of the sky that `compute_sky` makes of it: the larger the error, the surer."""
    frame, given, where = scene({amp: error}, seed=3, sigma=4.0)
    before = replace(frame, flux=frame.flux + given.flux, stage="fframe")
    sky = ComputeSky().run(before)
    assert max(sum(f < NFIBRE // 2 for f in sky.fibers), sum(f >= NFIBRE // 2 for f in sky.fibers)) >= len(sky.fibers) - 2, "it rests on one side"
    got = AmpSky().measure(replace(frame, flux=before.flux - sky.flux), sky, where)
    step = float(got["amp_sky_step"].values) * (1 if amp in "AD" else -1)
    ends = sorted((error, error / (1 + error)))  # of the sky of either side; 0.006 are 4 errors of 0.0017
    assert ends[0] - 0.006 < step < ends[1] + 0.006
    assert got["amp_sky_excess"].values > 0.05
    assert f"amplifiers {'A and B' if amp in 'AB' else 'C and D'} differ by" in got["amp_sky_excess"].remarks[()]


def test_targets_in_half_of_the_sky_fibres_are_no_gain() -> None:
    """Of colours of their own: what they have on the lower amplifiers over what they have on the upper ones differs from one to the next."""
    rng, loose = np.random.default_rng(7), AmpSky(AmpSkyParams(max_error=1.0))
    for seed in range(6):
        frame, sky, where = scene(seed=seed)
        flux = frame.flux.copy()
        low, high = 60.0 * rng.lognormal(0, 1, (2, len(SKY[::2]), 1))
        flux[SKY[::2], :200] += low
        flux[SKY[::2], 200:] += high
        got = loose.measure(replace(frame, flux=flux.astype(np.float32)), replace(sky, fibers=SKY[1::2]), where)
        assert got["amp_sky_excess"].values < 0.01


def test_what_it_cannot_see() -> None:
    """Both amplifiers of a side, and both lower ones: the docs say so."""
    for pair in ("AC", "BD", "AB", "CD"):
        assert measure(dict.fromkeys(pair, 0.04))["amp_sky_excess"].values < 0.01


def test_fibres_of_other_throughput_and_a_sky_with_a_slope_are_no_gain() -> None:
    rng = np.random.default_rng(3)
    slope = np.linspace(-0.05, 0.05, NFIBRE)
    for fibre in (slope, 0.03 * rng.normal(size=NFIBRE), np.where(np.arange(NFIBRE) < 20, 0.04, 0.0)):
        assert measure(fibre=fibre)["amp_sky_excess"].values == 0


def test_one_odd_fibre_is_left_out() -> None:
    frame, sky, where = scene()
    flux = frame.flux.copy()
    flux[4, :200] += 60.0
    got = AmpSky().measure(replace(frame, flux=flux), sky, where)
    assert got["amp_sky_excess"].values == 0


def test_what_cannot_be_told_is_not_judged() -> None:
    with pytest.raises(NotApplicable, match="tell a step to 0.0"):
        measure(sigma=60.0)
    frame, sky, where = scene()
    left = replace(frame.fibermap, objtype=tuple("SKY" if i in SKY[:10] else "TGT" for i in range(NFIBRE)))
    with pytest.raises(NotApplicable, match="10 and 0 sky fibres lie on the left and on the right, 4 are needed"):
        AmpSky().measure(replace(frame, fibermap=left), sky, where)
    with pytest.raises(NotApplicable, match="two amplifiers by two"):
        AmpSky().measure(replace(frame, amplifiers={name: AMPS[name] for name in "AB"}), sky, where)
    with pytest.raises(BadData, match="does not say which amplifier"):
        AmpSky().measure(replace(frame, amplifiers={}), sky, where)
    none = replace(frame.fibermap, objtype=("TGT",) * NFIBRE)
    with pytest.raises(NotApplicable, match="has no sky fibres"):
        AmpSky().measure(replace(frame, fibermap=none), sky, where)
    cut = SkyModel(flux=sky.flux[:, 1:], ivar=sky.ivar[:, 1:], fibers=SKY, wave=sky.wave[:, 1:], mask=sky.mask[:, 1:])
    with pytest.raises(NotApplicable, match="are not on the fibres and samples"):
        AmpSky().measure(frame, cut, where)
    with pytest.raises(NotApplicable, match="0 and 0 sky fibres"):
        AmpSky().measure(replace(frame, ivar=np.zeros_like(frame.ivar)), sky, where)
    assert AmpSky(AmpSkyParams(max_error=1.0)).measure(*scene(sigma=60.0))["amp_sky_excess"].values == 0


def test_the_amplifiers_are_known_by_their_places() -> None:
    """Whatever their order: the first of them need not be at the lower left."""
    frame, sky, where = scene({"A": 0.05})
    turned = replace(frame, amplifiers=dict(reversed(AMPS.items())))
    assert AmpSky().measure(turned, sky, where)["amp_sky_step"].values == AmpSky().measure(frame, sky, where)["amp_sky_step"].values


def test_sums_of_halves() -> None:
    rng = np.random.default_rng(4)
    flux, ivar = rng.normal(0, 2, (5, 60)).astype(np.float32), rng.uniform(0.1, 0.4, (5, 60)).astype(np.float32)
    mask, model = (rng.uniform(size=flux.shape) < 0.1).astype(np.uint32), rng.uniform(0, 10, flux.shape).astype(np.float32)
    ivar[2, :5], flux[3, 7], model[4, 8], flux[0, 9], mask[0, 9] = 0, np.nan, np.inf, 90, 0
    rows, edge, out = np.array([0, 2, 3, 4]), np.array([30, 0, 60, 25]), np.zeros((4, 2, 4))
    sum_halves(flux, ivar, mask, model, rows, edge, 8.0, out)
    good = (mask == 0) & (ivar > 0) & np.isfinite(flux) & np.isfinite(model)
    good &= np.abs(np.where(good, flux, 0)) * np.sqrt(ivar) <= 8.0
    for i, row in enumerate(rows):
        for half in (0, 1):
            use = good[row] & ((np.arange(60) >= edge[i]) == half)
            expected = [flux[row][use].sum(), model[row][use].sum(), (1 / ivar[row][use]).sum(), use.sum()]
            np.testing.assert_allclose(out[i, half], expected, rtol=1e-5, atol=1e-5)
