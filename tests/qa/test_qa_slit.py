"""QAs of slits, fibre flats and flux calibrations say what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qa.fiberflat_quality import FiberflatQuality
from qa.slit_objects import SlitObjectsQa
from qa.zero_point import ZeroPoint
from quicklook.ccd.slit import SlitObject, SlitObjects
from quicklook.ccd.spectra import FiberFlat, FluxCalib
from quicklook.ccd.stars import CLIPPED, FITTED, HELD_OUT, FluxCalFit
from quicklook.core.errors import BadData

N = 20


def found(*objects: SlitObject, remark: str = "") -> SlitObjects:
    one = np.ones(N)
    return SlitObjects(camera="blue", objects=objects, profile=one, sky=one.copy(), error=one.copy(), remark=remark)


def test_objects_are_reported_brightest_first() -> None:
    objects = [SlitObject(first=k, last=k + 2, brightest=k + 1, place=k + 1.1, fwhm=1.5, snr=100.0 / k, fraction=2.0) for k in (3, 10)]
    measures = SlitObjectsQa().measure(found(*objects))
    assert float(measures["objects_found"].values) == 2
    np.testing.assert_allclose(measures["object_place"].values, [4.1, 11.1])
    assert measures["object_snr"].coords["object"] == (1, 2)


def test_nothing_found_is_a_zero_with_its_remark() -> None:
    measures = SlitObjectsQa().measure(found(remark="nothing stands out"))
    assert float(measures["objects_found"].values) == 0
    assert measures["objects_found"].remarks[()] == "nothing stands out"
    assert measures["object_snr"].not_applicable


def test_an_object_whose_brightest_aperture_is_not_its_own_is_refused() -> None:
    with pytest.raises(BadData, match="none of its apertures"):
        found(SlitObject(first=3, last=5, brightest=6, place=4.0, fwhm=1.0, snr=9.0, fraction=1.0))


def flat(**changes: object) -> FiberFlat:
    shape = (N, 100)
    values = {
        "flat": np.full(shape, 1.0, np.float32), "ivar": np.full(shape, 1e4, np.float32), "mask": np.zeros(shape, np.uint32),
        "wave": np.arange(100.0), "meanspec": np.ones(100, np.float32), "fiber": np.arange(N, dtype=np.int32),
    }  # fmt: skip
    return FiberFlat(**{**values, **changes})  # type: ignore[arg-type]


def test_a_fibre_flat_with_dead_fibres() -> None:
    mask, level = np.zeros((N, 100), np.uint32), np.full((N, 100), 1.0, np.float32)
    mask[4], level[7] = 1, 0.5
    measures = FiberflatQuality().measure(flat(mask=mask, flat=level))
    assert float(measures["fiberflat_usable"].values) == pytest.approx(0.95)
    assert float(measures["fiberflat_error"].values) == pytest.approx(0.01)
    assert float(measures["fiberflat_lowest"].values) == 0.5
    assert measures["fiberflat_lowest"].remarks[()] == "fibre 7"


def test_a_fibre_flat_that_is_known_nowhere_is_not_measured() -> None:
    measures = FiberflatQuality().measure(flat(ivar=np.zeros((N, 100), np.float32)))
    assert float(measures["fiberflat_usable"].values) == 0
    assert np.isnan(measures["fiberflat_error"].values)


def fit(**changes: object) -> FluxCalFit:
    wave = np.arange(4000.0, 5000.0, 10.0)
    use = np.full(wave.size, FITTED, np.uint8)
    model = np.full(wave.size, 0.05)
    ratio = model * np.where(np.arange(wave.size) % 2, 1.02, 0.98)
    return FluxCalFit(
        **{"wave": wave, "ratio": ratio, "error": 0.01 * ratio, "model": model, "use": use, "stars": ("a",), "levels": (1.0,), **changes}  # type: ignore[arg-type]
    )


def calibration() -> FluxCalib:
    wave = np.arange(4000.0, 5000.0, 1.0)
    return FluxCalib(calib=np.full(wave.size, 0.05, np.float32), wave=wave)


def test_the_scatter_of_the_star() -> None:
    good = fit()
    use = good.use.copy()
    use[:10], use[10:20] = HELD_OUT, CLIPPED
    measures = ZeroPoint().measure(calibration(), replace(good, use=use))
    assert float(measures["fluxcal_rms"].values) == pytest.approx(0.02)
    assert float(measures["fluxcal_held_out"].values) == pytest.approx(0.02)
    assert float(measures["fluxcal_used"].values) == pytest.approx(80 / 90)
    assert measures["zero_point"].values.shape == (5,)
    # 0.05 electron per 1e-17 erg/cm2: a source of 2e-16 erg/(s cm2 Angstrom) gives one electron a second; AB at 4500 Angstrom
    middle = float(measures["zero_point"].values[2])
    assert middle == pytest.approx(-2.5 * np.log10(2e-16 * 4500.0**2 / 2.99792458e18) - 48.6, abs=0.01)


def test_nothing_held_out_does_not_apply_and_nothing_fitted_is_nan() -> None:
    measures = ZeroPoint().measure(calibration(), fit())
    assert measures["fluxcal_held_out"].not_applicable
    nothing = ZeroPoint().measure(calibration(), fit(ratio=np.full(100, np.nan)))
    assert np.isnan(nothing["fluxcal_rms"].values)
