"""QAs of master bias and master dark: what they measure is what was put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_frames as f

from qa.bias_structure import BiasStructure
from qa.dark_current import DarkCurrent, DarkCurrentParams
from quicklook.ccd.arrays import Float32
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark
from quicklook.ccd.image import Image, RawImage
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import NotApplicable
from quicklook.core.group import Streamed
from quicklook.core.metrics import Measures

AMPS = tuple(f.amplifier(i) for i in range(4))
RAW = RawImage(camera="r0", pixels=f.pixels(), amplifiers=AMPS)
SHAPE = RAW.image_shape


def bias(values: np.ndarray, sigma: float = 0.5) -> Bias:
    return Bias(pixels=values.astype(np.float32), variance=np.full(values.shape, sigma**2, np.float32))


def noise(sigma: float = 0.5) -> np.ndarray:
    return np.random.default_rng(1).normal(0.0, sigma, RAW.shape)


def measured(one: Bias) -> dict[str, np.ndarray]:
    return {m.name: m.values for m in BiasStructure().measure(one, Streamed([lambda: RAW])).metrics}


def test_noise_alone_has_no_structure() -> None:
    found = measured(bias(noise()))
    assert found["bias_row_structure"].max() < 0.02  # electron; a row mean scatters by 0.055
    assert found["bias_column_structure"].max() < 0.02
    np.testing.assert_allclose(found["bias_noise_ratio"], 1.0, rtol=0.02)  # 32768 pixels: 0.6 % of a MAD
    assert not found["bias_missing_fraction"].any()


def test_rows_and_columns_are_told_apart() -> None:
    rows, columns = (np.random.default_rng(s).normal(0.0, 1.0, n) for s, n in ((2, RAW.shape[0]), (3, RAW.shape[1])))
    by_row, by_column = measured(bias(noise() + 2.0 * rows[:, None])), measured(bias(noise() + 3.0 * columns[None, :]))
    for i, amp in enumerate(AMPS):
        assert by_row["bias_row_structure"][i] == pytest.approx(2.0 * amp.gain * np.std(rows[amp.data.slices[0]]), rel=0.03)
        assert by_column["bias_column_structure"][i] == pytest.approx(3.0 * amp.gain * np.std(columns[amp.data.slices[1]]), rel=0.03)
    assert by_row["bias_column_structure"].max() < 0.05
    np.testing.assert_allclose(by_row["bias_noise_ratio"], 1.0, rtol=0.03)


def test_light_in_all_zeros_is_an_offset() -> None:
    """No structure tells it: it is the same in every pixel."""
    values = noise()
    values[AMPS[2].data.slices] += 200.0
    found = measured(bias(values))
    np.testing.assert_allclose(found["bias_offset"], [0.0, 0.0, 200.0 * AMPS[2].gain, 0.0], atol=0.02)  # 32768 pixels: 0.005
    assert found["bias_row_structure"].max() < 0.05


def test_structure_from_pixel_to_pixel_shows_in_the_ratio() -> None:
    np.testing.assert_allclose(measured(bias(noise(1.5)))["bias_noise_ratio"], 3.0, rtol=0.03)


def test_missing_pixels_are_counted_and_spoil_nothing() -> None:
    values = noise()
    values[AMPS[0].data.slices][:, :32] = np.nan
    values[AMPS[1].data.slices] = np.nan
    found = BiasStructure().measure(bias(values), [RAW])
    np.testing.assert_allclose(found["bias_missing_fraction"].values, [0.25, 1, 0, 0])
    assert np.isnan(found["bias_noise_ratio"].values[1])
    assert found["bias_noise_ratio"].remarks["B",] == "no pixel has a value"
    assert found["bias_row_structure"].values[0] < 0.05


def test_single_hot_pixels_are_no_structure() -> None:
    values = noise()
    values[5, 10] = 60000.0
    assert measured(bias(values))["bias_row_structure"].max() < 0.05


def test_a_bias_of_the_trimmed_shape_is_left_alone() -> None:
    with pytest.raises(NotApplicable, match="shape"):
        BiasStructure().measure(Bias(pixels=np.zeros(SHAPE, np.float32)), [RAW])


def image() -> Image:
    zeros = np.zeros(SHAPE, np.float32)
    return Image(camera="r0", pixels=zeros, ivar=zeros.copy(), mask=np.zeros(SHAPE, np.uint16), amplifiers=AMPS, read_noise={})


def test_dark_current_in_electrons_an_hour() -> None:
    pixels: Float32 = np.full(SHAPE, 0.001, np.float32)
    mask = np.zeros(SHAPE, np.uint16)
    pixels[AMPS[2].ccd.slices] = 0.004
    pixels[AMPS[3].ccd.slices][:, :64] = np.nan
    mask[AMPS[1].ccd.slices][0, :10] = PixelMask.HOT
    mask[AMPS[1].ccd.slices][1, :10] = PixelMask.DEAD
    dark = Dark(pixels=pixels, variance=np.full(SHAPE, 1e-6, np.float32), temperature_c=-110.0)
    exposures = [f.exposure("dark", 600.0), f.exposure("dark", 1200.0)]
    found = DarkCurrent().measure(dark, BadPixelMask(pixels=mask), Streamed([image]), exposures)
    np.testing.assert_allclose(found["dark_current"].values, [3.6, 3.6, 14.4, 3.6], rtol=1e-5)
    np.testing.assert_allclose(found["dark_error"].values, 3.6, rtol=1e-5)
    np.testing.assert_allclose(found["hot_fraction"].values, [0, 10 / AMPS[1].ccd.shape[0] / AMPS[1].ccd.shape[1], 0, 0])
    np.testing.assert_allclose(found["dark_missing_fraction"].values, [0, 0, 0, 0.5])
    assert found["dark_seconds"].values == 1800.0
    assert found.facts["temperature_c"] == -110.0


def warm(found: Measures) -> dict[str, object]:
    return {n: found[n].not_applicable or found[n].values.round(6).tolist() for n in ("warm_fraction", "warm_fraction_scaled")}


def test_warm_pixels_as_taken_and_at_the_reference_temperature() -> None:
    pixels = np.full(SHAPE, 5.0 / 3600.0, np.float32)
    pixels[AMPS[0].ccd.slices][0, :64] = 30.0 / 3600.0  # 25 electron/h above the others
    pixels[AMPS[0].ccd.slices][1, :32] = 60.0 / 3600.0
    dark = Dark(pixels=pixels, variance=np.full(SHAPE, (1.0 / 3600.0) ** 2, np.float32), temperature_c=-138.0)
    mask, exposures, n = BadPixelMask(pixels=np.zeros(SHAPE, np.uint16)), [f.exposure("dark", 900.0)], AMPS[0].ccd.shape[0] * AMPS[0].ccd.shape[1]
    # two degrees warmer: exp(-0.6 eV / k (1 / 135.15 K - 1 / 133.15 K)) = 2.17 times the current, so that 20 electron/h there are 43 here
    scaled = DarkCurrent(DarkCurrentParams(reference_c=-140.0)).measure(dark, mask, [image()], exposures)
    assert warm(scaled) == {"warm_fraction": [round(96 / n, 6), 0, 0, 0], "warm_fraction_scaled": [round(32 / n, 6), 0, 0, 0]}
    assert "43.4 electron/h" in scaled["warm_fraction_scaled"].remarks["A",]
    plain = warm(DarkCurrent().measure(dark, mask, [image()], exposures))
    assert "no reference temperature" in str(plain["warm_fraction_scaled"])
    unknown = DarkCurrent(DarkCurrentParams(reference_c=-140.0)).measure(replace(dark, temperature_c=None), mask, [image()], exposures)
    assert "not known" in str(warm(unknown)["warm_fraction_scaled"])
    far = DarkCurrent(DarkCurrentParams(reference_c=-110.0)).measure(dark, mask, [image()], exposures)
    assert "too far" in str(warm(far)["warm_fraction_scaled"])
    colder = DarkCurrent(DarkCurrentParams(reference_c=-134.0)).measure(dark, mask, [image()], exposures)
    assert "times the error of a pixel" in str(warm(colder)["warm_fraction_scaled"])


def test_a_dark_that_states_no_error_is_not_measured_for_it() -> None:
    dark = Dark(pixels=np.full(SHAPE, np.nan, np.float32))
    found = DarkCurrent().measure(dark, BadPixelMask(pixels=np.zeros(SHAPE, np.uint16)), [image()], [f.exposure("dark", 600.0)])
    assert np.isnan(found["dark_error"].values).all()
    assert np.isnan(found["dark_current"].values).all()
    assert found["dark_current"].remarks["A",] == "no pixel has a value"


def test_the_offset_of_a_bias_is_judged_only_against_an_overscan() -> None:
    bare = RawImage(camera="r0", pixels=f.pixels(), amplifiers=tuple(replace(a, overscan=None, prescan=None) for a in AMPS))
    level = bias(noise() + 1000.0)
    by_name = {m.name: m for m in BiasStructure().measure(level, Streamed([lambda: bare])).metrics}
    assert by_name["bias_offset"].not_applicable == "no amplifier has an overscan"
    assert measured(level)["bias_offset"].min() > 900.0
