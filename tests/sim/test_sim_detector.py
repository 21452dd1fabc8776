"""Noise statistics of the raw image, and independence of its random streams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from quicklook.core.errors import BadConfig
from quicklook.sim import SimInstrument, SimulatedCamera, plan_exposure, sim_instruments, simulate_exposure
from quicklook.sim.detector import cosmic_rays, detect
from quicklook.sim.streams import Purpose, stream

Slices = Callable[[str], tuple[slice, slice]]


def electrons_of(camera: SimulatedCamera, card_slices: Slices) -> np.ndarray:
    """The image in electrons by the cards of the header: bias structure and pedestal taken off, gain applied."""
    hardware, layout, header = camera.instrument.hardware, camera.instrument.layout, camera.header
    flat = camera.raw - hardware.bias
    out = np.zeros((layout.ny, layout.nx))
    for index, amp in enumerate("ABCD"):
        data = flat[card_slices(str(header["DATASEC" + amp]))] - hardware.pedestal[index]
        out[card_slices(str(header["CCDSEC" + amp]))] = data * float(header["GAIN" + amp])
    return out


def test_read_noise_in_the_overscan(small: SimInstrument, card_slices: Slices) -> None:
    zero = simulate_exposure(small, plan_exposure("zero", 1))
    flat = zero.raw - small.hardware.bias
    for index, amp in enumerate("ABCD"):
        gain = float(zero.header["GAIN" + amp])
        for section in ("BIASSEC", "ORSEC"):
            values = flat[card_slices(str(zero.header[section + amp]))]
            # rounding to ADU adds 1/12; 16000 or more pixels give 0.56 % of statistical error, three of them here
            expected = np.hypot(small.hardware.rdnoise[index], gain * np.sqrt(1.0 / 12.0))
            assert values.std() * gain == pytest.approx(expected, rel=0.017)
            assert values.mean() == pytest.approx(small.hardware.pedestal[index], abs=4 * values.std() / np.sqrt(values.size))
        assert zero.truth.rdnoise[amp] == pytest.approx(small.hardware.rdnoise[index])


def test_photon_noise(small: SimInstrument, card_slices: Slices) -> None:
    flat = simulate_exposure(small, plan_exposure("flat", 1))
    image, truth = electrons_of(flat, card_slices), flat.truth
    noise = np.zeros_like(image)
    for amp, section in zip("ABCD", small.layout.amps, strict=True):
        noise[section.ccd.slices] = truth.rdnoise[amp] ** 2 + float(flat.header["GAIN" + amp]) ** 2 / 12.0
    ok = truth.cosmic_e == 0
    pull = (image - truth.image_e)[ok] / np.sqrt(noise + truth.image_e)[ok]
    # 2.1 million pixels: errors of mean and variance are 0.0007 and 0.001
    assert pull.mean() == pytest.approx(0.0, abs=0.004)
    assert pull.var() == pytest.approx(1.0, abs=0.005)
    bright = truth.image_e[ok] > 1000.0
    assert bright.sum() > 1e5
    assert pull[bright].var() == pytest.approx(1.0, abs=0.02)


def test_poisson_variance_equals_mean(tiny: SimInstrument) -> None:
    level = np.full((tiny.layout.ny, tiny.layout.nx), 50.0, np.float32)
    electrons = detect(tiny, 3, level, np.zeros(level.shape, np.int32))
    assert electrons.mean() == pytest.approx(50.0, abs=4 * np.sqrt(50.0 / level.size))
    assert electrons.var() == pytest.approx(50.0, rel=4 * np.sqrt(2.0 / level.size))


def test_dark_grows_with_time(tiny: SimInstrument) -> None:
    short, long = (simulate_exposure(tiny, plan_exposure("dark", 1, exptime=t)).truth for t in (100.0, 300.0))
    np.testing.assert_allclose(long.image_e, 3.0 * short.image_e, rtol=1e-5)
    np.testing.assert_allclose(short.image_e, 100.0 * tiny.hardware.dark, rtol=1e-5)


def test_cosmic_rays_are_in_the_image(small: SimInstrument, card_slices: Slices) -> None:
    dark = simulate_exposure(small, plan_exposure("dark", 4))
    truth = dark.truth
    assert truth.n_cosmics > 30
    hit = truth.cosmic_e > 100
    residual = (electrons_of(dark, card_slices) - truth.image_e - truth.cosmic_e)[hit & (truth.cosmic_e < 50_000)]
    assert residual.std() < 8.0  # read noise and dark current; without the rays it would be hundreds
    assert cosmic_rays(small, 4, 300.0)[1] == truth.n_cosmics
    assert cosmic_rays(small, 4, 0.0)[1] < truth.n_cosmics


def test_saturation_is_clipped_at_16_bits(tiny: SimInstrument) -> None:
    level = np.full((tiny.layout.ny, tiny.layout.nx), 5.0e5, np.float32)
    assert detect(tiny, 3, level, np.zeros(level.shape, np.int32)).max() == 2.0e5


def test_same_seed_same_pixels_whatever_else_is_made() -> None:
    first = simulate_exposure(SimInstrument(camera="z3", scale="tiny", seed=11), plan_exposure("science", 50))
    simulate_exposure(SimInstrument(camera="z3", scale="tiny", seed=11), plan_exposure("science", 51))
    SimInstrument(camera="z3", scale="tiny", seed=12).hardware  # noqa: B018 - fills the memory of the hardware
    again = simulate_exposure(SimInstrument(camera="z3", scale="tiny", seed=11), plan_exposure("science", 50))
    np.testing.assert_array_equal(first.raw, again.raw)
    np.testing.assert_array_equal(first.truth.image_e, again.truth.image_e)
    assert first.cards == again.cards


def noise_of(camera: str, seed: int, expid: int, card_slices: Slices) -> np.ndarray:
    instrument = SimInstrument(camera=camera, scale="tiny", seed=seed)
    zero = simulate_exposure(instrument, plan_exposure("zero", expid))
    section = card_slices(str(zero.header["BIASSECA"]))
    values = (zero.raw - instrument.hardware.bias)[section][:120, :60].ravel()
    return (values - values.mean()) / values.std()


def test_noise_is_independent(card_slices: Slices) -> None:
    base = noise_of("r0", 1, 0, card_slices)
    for other in (
        noise_of("r1", 1, 0, card_slices),
        noise_of("r0", 2, 0, card_slices),
        noise_of("r0", 1, 1, card_slices),
        noise_of("z0", 1, 0, card_slices),
    ):
        assert abs(float((base * other).mean())) < 5.0 / np.sqrt(base.size)


def test_streams_differ_although_keys_end_in_zeros() -> None:
    draws = {float(stream(*key).uniform()) for key in ((0, Purpose.HARDWARE), (0, Purpose.HARDWARE, 0), (0, Purpose.HARDWARE, 0, 0))}
    assert len(draws) == 3


def test_hardware_belongs_to_the_camera(pair: tuple[SimInstrument, ...]) -> None:
    blue, red = pair
    assert blue.hardware.gain != red.hardware.gain
    assert red.hardware is SimInstrument(camera="r0", scale="tiny", seed=7, wings=0.01).hardware
    assert not red.hardware.bias.flags.writeable
    live = np.delete(red.hardware.throughput, red.layout.dead_fibre, axis=0)
    np.testing.assert_allclose(live.mean(axis=0), (1.0, 0.0, 0.0), atol=1e-12)


def test_bias_drift_changes_level_along_the_rows(card_slices: Slices) -> None:
    plain, drifting = (SimInstrument(camera="r0", scale="tiny", seed=5, bias_drift=d) for d in (0.0, 30.0))
    zeros = [simulate_exposure(i, plan_exposure("zero", 1)) for i in (plain, drifting)]
    difference = zeros[1].raw - zeros[0].raw
    section = card_slices(str(zeros[0].header["BIASSECC"]))
    rows = difference[section].mean(axis=1)
    assert np.ptp(rows) == pytest.approx(30.0, rel=0.2)  # the overscan misses the rows at the edges
    assert np.ptp(difference[section], axis=1).max() <= 1  # the same along a row, but for rounding


@pytest.mark.parametrize(
    "wrong", [{"camera": "q0"}, {"camera": "r0", "scale": "huge"}, {"camera": "r0", "seed": -1}, {"camera": "r0", "amp_names": "AABC"},
              {"camera": "r0", "wings": 1.0}, {"camera": "r0", "bias_drift": -1.0}],
)  # fmt: skip
def test_bad_instrument(wrong: dict) -> None:
    with pytest.raises(BadConfig):
        SimInstrument(**wrong)


def test_cameras_must_differ() -> None:
    with pytest.raises(BadConfig, match="different"):
        sim_instruments(("r0", "r0"))
