"""What is left of the spectra after each stage, and what a flux calibration was carried over from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as made

from qa.flux_calibration import FluxCalibration
from qa.usable_spectra import UsableSpectra
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FluxCalib, Frame, SpecMask
from quicklook.core.keys import Unit
from quicklook.core.metrics import Measures
from quicklook.core.plots import Line

TGT = np.array([i for i in range(made.NFIBRE) if i not in made.SKY])


def calibrated(mask: np.ndarray | None = None, **columns: np.ndarray) -> Frame:
    frame = replace(made.extracted(), stage="cframe", fibermap=made.fibermap(**columns))
    return frame if mask is None else replace(frame, mask=mask, ivar=np.where(mask == 0, frame.ivar, np.float32(0)))


def masked(bit: SpecMask, rows: np.ndarray | slice, columns: slice = slice(None)) -> np.ndarray:
    mask = np.zeros((made.NFIBRE, made.NWAVE), np.uint32)
    mask[np.arange(made.NFIBRE)[rows], columns] = int(bit)
    return mask


def by_stage(measures: Measures) -> dict[str, float]:
    got = measures["usable_samples"]
    return {str(stage): float(value) for stage, value in zip(got.coords["stage"], got.values, strict=True)}


def test_whole_spectra_are_usable() -> None:
    measures = UsableSpectra().measure(calibrated())
    assert by_stage(measures) == {"extraction": 1.0, "fiberflat": 1.0, "sky": 1.0, "fluxcal": 1.0}
    assert measures["usable_fibers"].coords == {"objtype": ("TGT", "SKY")}
    assert measures["usable_fibers"].values.tolist() == [1.0, 1.0]
    assert measures["known_bad_fraction"].values == 0


def test_the_bits_tell_the_stage_at_which_samples_were_lost() -> None:
    mask = masked(SpecMask.ALLBADPIX, slice(None), slice(0, 40))
    mask |= masked(SpecMask.BADFIBERFLAT, slice(None), slice(0, 80)) | masked(SpecMask.BADFLUXCALIB, slice(None), slice(200, 400))
    assert by_stage(UsableSpectra().measure(calibrated(mask))) == pytest.approx({"extraction": 0.9, "fiberflat": 0.8, "sky": 0.8, "fluxcal": 0.3})
    extracted = replace(calibrated(masked(SpecMask.COSMIC, slice(None), slice(0, 40))), stage="frame")
    assert by_stage(UsableSpectra().measure(extracted)) == pytest.approx({"extraction": 0.9})


def test_a_calibration_that_reaches_nothing_leaves_nothing() -> None:
    measures = UsableSpectra().measure(calibrated(masked(SpecMask.BADFLUXCALIB, slice(None))))
    assert (by_stage(measures)["sky"], by_stage(measures)["fluxcal"]) == (1.0, 0.0)
    assert measures["usable_fibers"].values.tolist() == [0.0, 0.0]


def test_what_has_no_weight_and_no_mask_is_not_usable() -> None:
    frame = calibrated()
    assert by_stage(UsableSpectra().measure(replace(frame, ivar=np.zeros_like(frame.ivar))))["fluxcal"] == 0.0


def test_lost_fibres_are_told_by_what_they_look_at() -> None:
    measures = UsableSpectra().measure(calibrated(masked(SpecMask.BADFIBERFLAT, TGT[:10])))
    np.testing.assert_allclose(measures["usable_fibers"].values, [0.75, 1.0])
    assert "fibre 501, 502, 504" in measures["usable_fibers"].remarks[("TGT",)]


def test_known_bad_fibres_count_apart_and_all_of_a_kind_is_unknown() -> None:
    status = np.zeros(made.NFIBRE, np.int32)
    status[TGT] = 1 << 2
    measures = UsableSpectra().measure(calibrated(masked(SpecMask.BADFIBER, TGT), FIBERSTATUS=status))
    assert measures["known_bad_fraction"].values == pytest.approx(2 / 3)
    assert np.isnan(measures["usable_fibers"].values[0])
    assert measures["usable_fibers"].remarks[("TGT",)] == "all 40 fibres of this kind are known to be bad"
    assert by_stage(measures)["fluxcal"] == 1.0


# ---- flux_calibration


def flux_calib(aterm: float = 0.12, sterm: float = 0.15) -> FluxCalib:
    wave = np.linspace(5000.0, 7000.0, 50)
    a, s = np.full(50, aterm, np.float32), np.full(50, sterm, np.float32)
    return FluxCalib(calib=np.ones(50, np.float32), wave=wave, pairmass=1.0, pseeing=1.1, aterm=a, sterm=s)


def exposure(airmass: float | None, seeing: float | None) -> Exposure:
    return Exposure(unit=Unit(20220101, 1), instrument="desi", flavor="science", exptime=900.0, airmass=airmass, seeing=seeing)


def test_what_was_assumed_is_said() -> None:
    frame = replace(calibrated(), assumed=("airmass 1, that of the calibration", "no fibre map"))
    measures = FluxCalibration().measure(frame, flux_calib(), exposure(None, None))
    assert measures["assumptions"].values == 1
    assert measures["assumptions"].remarks[()] == "assumed airmass 1, that of the calibration; no fibre map"
    assert measures["fluxcal_change"].not_applicable
    assert FluxCalibration().measure(calibrated(), flux_calib(), exposure(1.0, 1.1))["assumptions"].values == 0


def test_the_change_is_that_of_the_terms() -> None:
    change = FluxCalibration().measure(calibrated(), flux_calib(), exposure(1.5, 2.1))["fluxcal_change"]
    assert change.values == pytest.approx(0.12 * 0.5 + 0.15 * 1.0, rel=1e-6)  # float32 terms
    measures = FluxCalibration().measure(calibrated(), flux_calib(), exposure(1.5, 2.1))
    _, shown = (panel.layers[0] for panel in measures.plots[0].panels)
    assert isinstance(shown, Line)
    np.testing.assert_allclose(shown.y, 0.12 * 0.5 + 0.15 * 1.0, rtol=1e-6)  # float32 terms
    assert len(FluxCalibration().measure(calibrated(), flux_calib(), exposure(None, None)).plots[0].panels) == 1, "no change is told"
    assert np.isnan(FluxCalibration().measure(calibrated(), flux_calib(aterm=np.nan), exposure(1.5, 2.1))["fluxcal_change"].values)
