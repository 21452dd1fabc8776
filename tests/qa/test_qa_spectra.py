"""QAs of spectra: fibres, sky residuals, S/N."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as made

from qa.good_fibers import GoodFibers
from qa.sky_residual import SkyResidual
from qa.snr import Snr, SnrParams, classes_of
from quicklook.ccd.spectra import SpecMask
from quicklook.core.errors import NotApplicable

# ---- good_fibers


def counts(frame: object) -> dict[str, float]:
    measures = GoodFibers().measure(frame)  # type: ignore[arg-type]
    return {m.name: float(m.values) for m in measures.metrics}


def test_all_fibres_are_good() -> None:
    assert counts(made.extracted()) == {"good_fibers": 60, "lost_fibers": 0, "dead_fibers": 0, "low_fibers": 0, "known_bad_fibers": 0}


def test_dead_low_and_empty_fibres_are_seen_and_named() -> None:
    frame = made.extracted()
    flux, ivar = frame.flux.copy(), frame.ivar.copy()
    flux[7] -= made.sky_spectrum().astype(np.float32)
    flux[9] *= 0.2
    ivar[11] = 0
    measures = GoodFibers().measure(replace(frame, flux=flux, ivar=ivar))
    assert {m.name: float(m.values) for m in measures.metrics} == {
        "good_fibers": 57,
        "lost_fibers": 3,
        "dead_fibers": 2,
        "low_fibers": 1,
        "known_bad_fibers": 0,
    }
    assert measures["dead_fibers"].remarks[()] == "fibre 507, 511"
    assert measures["low_fibers"].remarks[()] == "fibre 509"


@pytest.mark.parametrize("how", ["status", "mask"])
def test_known_bad_fibres_count_apart(how: str) -> None:
    frame = made.extracted()
    flux, mask, status = frame.flux.copy(), frame.mask.copy(), np.zeros(made.NFIBRE, np.int32)
    flux[7] = 0
    if how == "status":
        status[7] = 1 << 2
    else:
        mask[7] = SpecMask.BADFIBER
    got = counts(replace(frame, flux=flux, mask=mask, fibermap=made.fibermap(FIBERSTATUS=status)))
    assert (got["good_fibers"], got["lost_fibers"], got["known_bad_fibers"]) == (59, 0, 1)


def test_an_informative_status_is_not_bad() -> None:
    status = np.full(made.NFIBRE, 1 << 1, np.int32)
    assert counts(replace(made.extracted(), fibermap=made.fibermap(FIBERSTATUS=status)))["good_fibers"] == 60


def test_without_light_nothing_is_said() -> None:
    dark = made.frame(np.random.default_rng(1).normal(0, made.SIGMA, (made.NFIBRE, made.NWAVE)))
    measures = GoodFibers().measure(dark)
    assert np.isnan(measures["good_fibers"].values)
    assert "no light" in measures["good_fibers"].remarks[()]
    empty = made.frame(np.zeros((made.NFIBRE, made.NWAVE)), np.zeros((made.NFIBRE, made.NWAVE)))
    assert np.isnan(GoodFibers().measure(empty)["lost_fibers"].values)


def test_arc_lines_are_light() -> None:
    lines = np.zeros(made.NWAVE)
    lines[::40] = 5000
    flux = np.tile(lines, (made.NFIBRE, 1)) + np.random.default_rng(1).normal(0, made.SIGMA, (made.NFIBRE, made.NWAVE))
    flux[3] -= lines
    got = counts(made.frame(flux))
    assert (got["good_fibers"], got["dead_fibers"]) == (59, 1)


# ---- sky_residual


def test_right_errors_have_pulls_of_one() -> None:
    measures = SkyResidual().measure(*made.subtracted())
    n = len(made.SKY) * made.NWAVE
    assert measures["sky_chi2"].values == pytest.approx(1.0, abs=4 * np.sqrt(2 / n))
    assert measures["sky_chi2_on_lines"].values == pytest.approx(1.0, abs=0.4)  # 120 samples
    assert measures["sky_chi2_off_lines"].values == pytest.approx(1.0, abs=4 * np.sqrt(2 / n))
    assert measures["sky_pull_width"].values == pytest.approx(1.0, abs=0.05)
    assert abs(measures["sky_residual"].values) < 0.006
    assert measures["sky_fibers_used"].values == 20
    assert measures["sky_fibers_rejected"].values == 0


def test_wrong_errors_and_wrong_lines_are_told_apart() -> None:
    wide = SkyResidual().measure(*made.subtracted(scale=1.5))
    assert wide["sky_chi2_off_lines"].values == pytest.approx(2.25, rel=0.1)
    lines = SkyResidual().measure(*made.subtracted(line=0.1))
    assert lines["sky_chi2_on_lines"].values > 3
    assert lines["sky_chi2_off_lines"].values == pytest.approx(1.0, abs=0.1)


def test_a_sky_that_is_left_over_shows_as_residual() -> None:
    frame, sky = made.subtracted()
    measures = SkyResidual().measure(replace(frame, flux=frame.flux + np.float32(0.05 * made.LEVEL)), sky)
    assert measures["sky_residual"].values == pytest.approx(0.05, abs=0.006)


def test_rejected_fibres_are_a_fraction_and_named() -> None:
    frame, sky = made.subtracted()
    measures = SkyResidual().measure(frame, replace(sky, fibers=sky.fibers[:10], rejected=sky.fibers[10:]))
    assert measures["sky_fibers_rejected"].values == 0.5
    assert "530" in measures["sky_fibers_rejected"].remarks[()]


def test_a_sky_from_a_file_has_no_residual() -> None:
    frame, sky = made.subtracted()
    with pytest.raises(NotApplicable, match="rests on no fibre of this exposure"):
        SkyResidual().measure(frame, replace(sky, fibers=()))


def test_nothing_usable_is_unknown_and_says_so() -> None:
    frame, sky = made.subtracted()
    measures = SkyResidual().measure(replace(frame, ivar=np.zeros_like(frame.ivar)), sky)
    for name in ("sky_chi2", "sky_chi2_on_lines", "sky_residual", "sky_pull_width", "sky_level_scatter"):
        assert np.isnan(measures[name].values)
        assert measures[name].remarks[()]


# ---- snr


def calibrated(factor: float = 1.0, seed: int = 4, brightest: float = 20.0) -> object:
    """Targets of known magnitude on a noise of 0.35; half ELG, the rest stars."""
    rng = np.random.default_rng(seed)
    mag = rng.uniform(brightest, 23.3, made.NFIBRE)
    kind = np.where(np.arange(made.NFIBRE) % 2, 1 << 1, 1 << 33).astype(np.int64)
    mag[kind == 1 << 33] = rng.uniform(16.5, 18.5, np.count_nonzero(kind == 1 << 33))
    truth = factor * 3.631e-20 * 10 ** (-0.4 * mag)[:, None] * 2.998e18 / made.WAVE**2 * 1e17
    variance = 0.35**2 + 0.05 * truth
    flux = truth + np.sqrt(variance) * rng.normal(size=variance.shape)
    fibermap = made.fibermap(DESI_TARGET=kind, FLUX_R=10 ** (-0.4 * (mag - 22.5)))
    unit = "1e-17 erg/(s cm2 Angstrom)"
    return made.frame(flux, 1 / variance, fibermap=replace(fibermap, objtype=("TGT",) * made.NFIBRE), unit=unit, stage="cframe")


def test_snr_at_the_fiducial_magnitude() -> None:
    measures = Snr().measure(calibrated())  # type: ignore[arg-type]
    assert measures["fiducial_snr"].coords == {"target": ("ELG", "STD")}
    flux = 3.631e-20 * 10**-8.8 * 2.998e18 / made.WAVE.mean() ** 2 * 1e17
    expected = flux / np.sqrt(0.35**2 + 0.05 * flux)
    # each S/N is a median of 400 samples, 6 %; 30 of them
    np.testing.assert_allclose(measures["fiducial_snr"].values, expected, rtol=0.06)
    assert "from targets of all classes" in measures["fiducial_snr"].remarks[("STD",)]
    np.testing.assert_allclose(measures["flux_delta_mag"].values, 0.0, atol=0.05)


def test_low_throughput_shows_in_the_magnitudes() -> None:
    measures = Snr().measure(calibrated(0.4))  # type: ignore[arg-type]
    assert measures["flux_delta_mag"].values[1] == pytest.approx(0.995, abs=0.03)


def test_what_is_not_calibrated_has_no_magnitude() -> None:
    frame = replace(calibrated(), unit="electron/Angstrom")  # type: ignore[type-var]
    measures = Snr().measure(frame)  # type: ignore[arg-type]
    assert measures["flux_delta_mag"].not_applicable == "the spectra are not flux-calibrated"
    assert np.isfinite(measures["fiducial_snr"].values).all()


def test_no_signal_is_unknown() -> None:
    frame = calibrated()
    dark = replace(frame, flux=np.full_like(frame.flux, -0.1))  # type: ignore[attr-defined, type-var]
    measures = Snr().measure(dark)
    assert np.isnan(measures["fiducial_snr"].values).all()
    assert set(measures["fiducial_snr"].remarks) == {("ELG",), ("STD",)}


def test_without_targets_it_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match="no column FLUX_R"):
        Snr().measure(made.extracted())
    with pytest.raises(NotApplicable, match="fewer than 99 targets"):
        Snr(SnrParams(min_targets=99)).measure(calibrated())  # type: ignore[arg-type]


def test_classes_by_their_bits() -> None:
    bits = np.zeros(made.NFIBRE, np.int64)
    bits[:6] = [1, 2, 4, 1 << 33, 1 << 60, (1 << 34) | 4]
    got = classes_of(replace(made.fibermap(DESI_TARGET=bits), objtype=("TGT",) * made.NFIBRE))
    assert list(got[:7]) == ["LRG", "ELG", "QSO", "STD", "BGS", "STD", ""]
