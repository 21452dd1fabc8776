"""QAs of spectra: fibres, sky residuals, S/N."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as made

from qa.good_fibers import GoodFibers
from qa.sky_residual import SkyResidual
from qa.snr import Snr, SnrParams, classes_of
from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import Frame, SpecMask
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.keys import Unit
from quicklook.core.metrics import Measures

# ---- good_fibers


def counts(frame: Frame) -> dict[str, float]:
    measures = GoodFibers().measure(frame)
    return {m.name: float(m.values) for m in measures.metrics}


def test_all_fibres_are_good() -> None:
    assert counts(made.extracted()) == {
        "good_fibers": 60,
        "lost_fibers": 0,
        "lost_fiber_fraction": 0,
        "dead_fibers": 0,
        "low_fibers": 0,
        "known_bad_fibers": 0,
    }


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
        "lost_fiber_fraction": 0.05,
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


def test_lines_of_a_long_arc_between_every_eighth_sample_are_seen() -> None:
    flux = np.random.default_rng(1).normal(0, made.SIGMA, (20, 4096)).astype(np.float32)
    flux[:10, 4:4096:512] += 5000  # in half of the fibres the lines lie on no eighth sample
    flux[10:, 8:4096:512] += 5000
    columns = {"FIBERSTATUS": np.zeros(20, np.int32)}
    frame = Frame(
        camera="b0", flux=flux, ivar=np.full(flux.shape, 1 / made.SIGMA**2, np.float32), mask=np.zeros(flux.shape, np.uint32),
        wave=np.tile(4000 + 0.5 * np.arange(4096.0), (20, 1)), sigma=np.full(flux.shape, 0.6, np.float32),
        fibermap=FiberMap(fiber=np.arange(20, dtype=np.int32), objtype=("TGT",) * 20, columns=columns, source="made"),
    )  # fmt: skip
    arc = Exposure(unit=Unit(20220101, 1), instrument="desi", flavor="arc", exptime=5.0)
    assert GoodFibers().measure(frame, arc)["good_fibers"].values == 20
    assert GoodFibers().measure(frame, replace(arc, flavor="science"))["dead_fibers"].values == 10


def test_a_status_that_is_no_number_is_known_bad() -> None:
    status = np.zeros(made.NFIBRE)
    status[[3, 5]] = np.nan, np.inf
    got = counts(replace(made.extracted(), fibermap=made.fibermap(FIBERSTATUS=status)))
    assert (got["good_fibers"], got["known_bad_fibers"]) == (58, 2)


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


def few_lines(scale: float) -> Measures:
    """Sky lines in two fibres alone: 12 samples."""
    frame, sky = made.subtracted(scale=scale)
    flux = np.where(np.isin(np.arange(made.NFIBRE), [0, 3])[:, None], sky.flux, np.float32(made.LEVEL))
    return SkyResidual().measure(frame, replace(sky, flux=flux.astype(np.float32)))


def test_a_few_samples_on_lines_tell_only_what_stands_out() -> None:
    on = few_lines(1.0)["sky_chi2_on_lines"]
    assert on.not_applicable is not None
    assert "samples of sky lines tell it to" in on.not_applicable
    assert few_lines(4.0)["sky_chi2_on_lines"].values > 6


@pytest.mark.parametrize(("error", "noise", "told"), [(0.05, 0.01, True), (0.0, 0.01, True), (0.08, 0.065, False), (0.0, np.inf, False), (0.3, 0.065, True)])
def test_the_scatter_of_wavelengths_is_told_where_lines_tell_it(error: float, noise: float, told: bool) -> None:
    frame, sky = made.subtracted()
    got = SkyResidual().measure(frame, replace(sky, wave_error=error, wave_noise=noise))["sky_wave_error"]
    assert (got.not_applicable is None) is told
    if told:
        assert got.values == error


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


def calibrated(factor: float = 1.0, seed: int = 4, brightest: float = 20.0) -> Frame:
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
    measures = Snr().measure(calibrated())
    assert measures["fiducial_snr"].coords == {"target": ("ELG", "STD")}
    flux = 3.631e-20 * 10**-8.8 * 2.998e18 / made.WAVE.mean() ** 2 * 1e17
    expected = flux / np.sqrt(0.35**2 + 0.05 * flux)
    # each S/N is a median of 400 samples, 6 %; 30 of them
    np.testing.assert_allclose(measures["fiducial_snr"].values, expected, rtol=0.06)
    assert "from targets of all classes" in measures["fiducial_snr"].remarks[("STD",)]
    np.testing.assert_allclose(measures["flux_delta_mag"].values, 0.0, atol=0.05)


def test_low_throughput_shows_in_the_magnitudes() -> None:
    measures = Snr().measure(calibrated(0.4))
    assert measures["flux_delta_mag"].values[1] == pytest.approx(0.995, abs=0.03)


def test_what_is_not_calibrated_has_no_magnitude() -> None:
    frame = replace(calibrated(), unit="electron/Angstrom")
    measures = Snr().measure(frame)
    assert measures["flux_delta_mag"].not_applicable == "the spectra are not flux-calibrated"
    assert np.isfinite(measures["fiducial_snr"].values).all()


def test_no_signal_is_unknown() -> None:
    frame = calibrated()
    dark = replace(frame, flux=np.full_like(frame.flux, -0.1))
    measures = Snr().measure(dark)
    assert np.isnan(measures["fiducial_snr"].values).all()
    assert set(measures["fiducial_snr"].remarks) == {("ELG",), ("STD",)}


def test_without_targets_it_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match="no targets"):
        Snr().measure(replace(made.extracted(), fibermap=replace(made.fibermap(), objtype=("SKY",) * made.NFIBRE)))
    with pytest.raises(NotApplicable, match="fewer than 99 targets"):
        Snr(SnrParams(min_targets=99)).measure(calibrated())


@pytest.mark.parametrize("absent", ["DESI_TARGET", "FLUX_R"])
def test_targets_of_which_the_fibre_map_says_nothing_are_no_missing_targets(absent: str) -> None:
    frame = calibrated()
    columns = {k: v for k, v in frame.fibermap.columns.items() if k != absent}
    with pytest.raises(BadData, match=f"60 targets and no column {absent}"):
        Snr().measure(replace(frame, fibermap=replace(frame.fibermap, columns=columns)))


def test_targets_without_any_class_are_told() -> None:
    frame = calibrated()
    columns = {**frame.fibermap.columns, "DESI_TARGET": np.zeros(made.NFIBRE, np.int64)}
    with pytest.raises(BadData, match="no class at all"):
        Snr().measure(replace(frame, fibermap=replace(frame.fibermap, columns=columns)))
    columns["DESI_TARGET"] = np.full(made.NFIBRE, 1 << 62)  # secondary targets: a class, but none of ours
    with pytest.raises(NotApplicable, match="fewer than 3 targets of any class"):
        Snr().measure(replace(frame, fibermap=replace(frame.fibermap, columns=columns)))


@pytest.mark.parametrize("flux", [np.nan, 0.0, -1.0])
def test_targets_without_magnitudes_are_unknown(flux: float) -> None:
    frame = calibrated()
    columns = {**frame.fibermap.columns, "FLUX_R": np.full(made.NFIBRE, flux)}
    measures = Snr().measure(replace(frame, fibermap=replace(frame.fibermap, columns=columns)))
    for name in ("fiducial_snr", "flux_delta_mag"):
        assert measures[name].coords == {"target": ("ELG", "STD")}
        assert np.isnan(measures[name].values).all()
        assert "0 of 30 STD have a magnitude (FLUX_R)" in measures[name].remarks[("STD",)]


def test_a_class_without_usable_spectra_is_unknown_and_the_others_are_measured() -> None:
    frame = calibrated()
    stars = (np.asarray(frame.fibermap.columns["DESI_TARGET"]) & (1 << 33)) != 0
    ivar = np.where(stars[:, None], np.float32(0), frame.ivar)
    measures = Snr().measure(replace(frame, ivar=ivar))
    assert measures["fiducial_snr"].coords == {"target": ("ELG", "STD")}
    assert np.isfinite(measures["fiducial_snr"].values[0])
    assert np.isnan(measures["fiducial_snr"].values[1])
    assert measures["flux_delta_mag"].remarks[("STD",)] == "0 of 30 STD have a usable spectrum"


def test_classes_by_their_bits() -> None:
    bits = np.zeros(made.NFIBRE, np.int64)
    bits[:6] = [1, 2, 4, 1 << 33, 1 << 60, (1 << 34) | 4]
    got = classes_of(replace(made.fibermap(DESI_TARGET=bits), objtype=("TGT",) * made.NFIBRE))
    assert list(got[:7]) == ["LRG", "ELG", "QSO", "STD", "BGS", "STD", ""]
