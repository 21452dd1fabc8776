"""S/N against magnitude, what the fibre map must say for it, and the kernel beneath."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as made
import qa_targets as targets

from qa.snr import Snr, SnrParams, curve, fit
from qa.targets import classes_of, in_blocks
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.plots import FocalPlane


def expected_at_22(noise: float = 0.35) -> float:
    flux = float(targets.ab(22.0, made.WAVE.mean()))
    return float(flux / np.sqrt(noise**2 + 0.05 * flux))


def test_snr_at_the_fiducial_magnitude() -> None:
    measures = Snr().measure(targets.calibrated())
    assert measures["fiducial_snr"].coords == {"target": ("ELG", "STD")}
    # the S/N of each target is known to 1.25/sqrt(400) = 0.06, a tenth of it for the faint half of 30
    np.testing.assert_allclose(measures["fiducial_snr"].values, expected_at_22(), rtol=0.04)
    assert "from targets of all classes" in measures["fiducial_snr"].remarks[("STD",)]
    off = np.abs(measures["fiducial_snr"].values[0] - expected_at_22())
    assert off < 4 * measures["fiducial_snr_error"].values[0] < 0.2 * expected_at_22()


def test_the_fit_finds_signal_and_noise() -> None:
    flux = np.geomspace(0.5, 100, 60)
    truth = (0.8, 0.05)
    snr = curve(flux, truth) * (1 + 0.05 * np.random.default_rng(3).normal(size=60))
    snr[::12] *= 0.3  # outliers
    a, b = fit(flux, snr)
    assert a == pytest.approx(truth[0], rel=0.06)
    assert b == pytest.approx(truth[1], rel=0.2)


@pytest.mark.parametrize("n", [3, 30])
def test_few_targets_of_a_class_take_the_noise_of_their_own_light_from_the_others(n: int) -> None:
    """Bright stars, whose own light makes the noise: S/N = a f leaves 60 % of it in the outermost of three."""
    frame = targets.calibrated()
    kind = frame.fibermap.columns["DESI_TARGET"].copy()
    kind[np.flatnonzero(kind == targets.STAR)[n:]] = 0
    plot = Snr().measure(targets.with_columns(frame, DESI_TARGET=kind)).plots[0]
    off = next(layer.y for layer in plot.panels[1].layers if layer.label == "STD")  # type: ignore[union-attr]
    assert len(off) == n
    # 400 samples of S/N 5 to 20: each is known to a per cent
    assert np.abs(off).max() < 0.1


def test_a_fit_to_a_narrow_range_takes_the_slope_that_it_is_given() -> None:
    flux, truth = np.array([50.0, 51.0, 52.0]), (0.8, 0.05)
    assert fit(flux, curve(flux, truth), like=(9.9, truth[1])) == pytest.approx(truth)
    a, b = fit(flux, curve(flux, truth))
    assert (a < 0.5, b) == (True, 0.0)


def test_residuals_stand_on_the_focal_plane() -> None:
    frame = targets.calibrated()
    flux = frame.flux.copy()
    flux[1] *= 0.5  # an ELG half beside its fibre
    plot = Snr().measure(replace(frame, flux=flux)).plots[0]
    layer = plot.panels[2].layers[0]
    assert isinstance(layer, FocalPlane)
    worst = int(np.argmin(layer.c))
    assert layer.x[worst] == frame.fibermap.columns["FIBERASSIGN_X"][1]
    assert layer.c[worst] == pytest.approx(-0.5, abs=0.15)


def test_what_is_not_calibrated_has_a_signal_to_noise() -> None:
    assert np.isfinite(Snr().measure(replace(targets.calibrated(), unit="electron/Angstrom"))["fiducial_snr"].values).all()


def test_no_signal_is_unknown() -> None:
    frame = targets.calibrated()
    measures = Snr().measure(replace(frame, flux=np.full_like(frame.flux, -0.1)))
    assert np.isnan(measures["fiducial_snr"].values).all()
    assert set(measures["fiducial_snr"].remarks) == {("ELG",), ("STD",)}


def test_without_targets_it_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match="no targets"):
        Snr().measure(replace(made.extracted(), fibermap=replace(made.fibermap(), objtype=("SKY",) * made.NFIBRE)))
    with pytest.raises(NotApplicable, match="fewer than 99 targets"):
        Snr(SnrParams(min_targets=99)).measure(targets.calibrated())


@pytest.mark.parametrize("absent", ["DESI_TARGET", "FLUX_R"])
def test_targets_of_which_the_fibre_map_says_nothing_are_no_missing_targets(absent: str) -> None:
    with pytest.raises(BadData, match=f"60 targets and no column {absent}"):
        Snr().measure(targets.with_columns(targets.calibrated(), **{absent: None}))


def test_targets_without_any_class_are_told() -> None:
    frame = targets.calibrated()
    with pytest.raises(BadData, match="no class at all"):
        Snr().measure(targets.with_columns(frame, DESI_TARGET=np.zeros(made.NFIBRE, np.int64)))
    secondary = np.full(made.NFIBRE, 1 << 62)  # a class, but none of ours
    with pytest.raises(NotApplicable, match="fewer than 3 targets of any class"):
        Snr().measure(targets.with_columns(frame, DESI_TARGET=secondary))


@pytest.mark.parametrize("flux", [np.nan, 0.0, -1.0])
def test_targets_without_magnitudes_are_unknown(flux: float) -> None:
    measures = Snr().measure(targets.with_columns(targets.calibrated(), FLUX_R=np.full(made.NFIBRE, flux)))
    assert measures["fiducial_snr"].coords == {"target": ("ELG", "STD")}
    assert np.isnan(measures["fiducial_snr"].values).all()
    assert "0 of 30 STD have a magnitude (FLUX_R)" in measures["fiducial_snr"].remarks[("STD",)]


def test_a_class_without_usable_spectra_is_unknown_and_the_others_are_measured() -> None:
    frame = targets.calibrated()
    stars = (np.asarray(frame.fibermap.columns["DESI_TARGET"]) & targets.STAR) != 0
    measures = Snr().measure(replace(frame, ivar=np.where(stars[:, None], np.float32(0), frame.ivar)))
    assert np.isfinite(measures["fiducial_snr"].values[0])
    assert np.isnan(measures["fiducial_snr"].values[1])
    assert measures["fiducial_snr"].remarks[("STD",)] == "0 of 30 STD have a usable spectrum"


def test_classes_by_their_bits() -> None:
    bits = np.zeros(made.NFIBRE, np.int64)
    bits[:6] = [1, 2, 4, 1 << 33, 1 << 60, (1 << 34) | 4]
    got = classes_of(replace(made.fibermap(DESI_TARGET=bits), objtype=("TGT",) * made.NFIBRE))
    assert list(got[:7]) == ["LRG", "ELG", "QSO", "STD", "BGS", "STD", ""]


def test_blocks_against_sums_in_numpy() -> None:
    rng = np.random.default_rng(8)
    frame = targets.calibrated()
    ivar, mask, flux = frame.ivar.copy(), frame.mask.copy(), frame.flux.copy()
    mask[rng.uniform(size=mask.shape) < 0.1] = 4
    ivar[rng.uniform(size=mask.shape) < 0.1] = 0
    flux[2, 5], flux[3, 7], ivar[4, 9] = np.nan, np.inf, np.nan
    rows = np.array([2, 3, 4, 11, 40])
    got = in_blocks(replace(frame, flux=flux, ivar=ivar, mask=mask), rows)
    edges = np.arange(33) * made.NWAVE // 32
    for i, row in enumerate(rows):
        for b in range(32):
            at = np.arange(edges[b], edges[b + 1])
            at = at[(mask[row, at] == 0) & (ivar[row, at] > 0) & np.isfinite(flux[row, at]) & np.isfinite(ivar[row, at])]
            assert got.good[i, b] == (at.size * 2 >= edges[b + 1] - edges[b])
            if at.size:
                f, w = flux[row, at].astype(float), ivar[row, at].astype(float)
                nanomaggies = f / targets.ab(22.5, made.WAVE[at])
                # float32 sums of a dozen samples
                assert got.snr[i, b] == pytest.approx(np.mean(f * np.sqrt(w)), rel=1e-5, abs=1e-5)
                assert got.light[i, b] == pytest.approx(np.mean(nanomaggies), rel=1e-4, abs=1e-4)
                assert got.error[i, b] == pytest.approx(np.sqrt(np.sum(1 / w / targets.ab(22.5, made.WAVE[at]) ** 2)) / at.size, rel=1e-4)
