"""What exposures come to together: against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qa.coadd_snr import CoaddSnr
from quicklook.ccd.coadd import Coadd
from quicklook.ccd.exposure import FiberMap
from quicklook.core.metrics import Measures

N, NWAVE, NEXP = 12, 320, 4


def coadd(gain: float = 1.0, chi2: float = 1.0, classes: bool = True) -> Coadd:
    snr = np.linspace(1.0, 8.0, N)
    single = np.tile(snr, (NEXP, 1)).astype(np.float32)
    growth = np.sqrt(np.arange(1.0, NEXP + 1))[:, None]
    flux = np.tile((gain * 2.0 * snr)[:, None], (1, NWAVE)).astype(np.float32)
    columns = {"DESI_TARGET": np.full(N, 2, np.int64), "FLUX_R": snr / 4.0} if classes else {}
    fibermap = FiberMap(fiber=np.arange(N, dtype=np.int32), objtype=("TGT" if classes else "SKY",) * N, columns=columns, source="made")
    return Coadd(
        camera="r0", flux=flux, ivar=np.ones_like(flux), mask=np.zeros(flux.shape, np.uint32), wave=np.tile(np.linspace(6000, 7000, NWAVE), (N, 1)),
        fibermap=fibermap, unit="1e-17 erg/(s cm2 Angstrom)", night=np.full(NEXP, 20220101), expid=np.arange(100, 100 + NEXP),
        exptime=np.full(NEXP, 900.0), hours=np.arange(NEXP) * 0.3, used=np.full(N, NEXP, np.int32), chi2=np.full(N, chi2, np.float32),
        snr_single=single, snr_after=(gain * single * growth).astype(np.float32), sky_wave=np.array([6200.0, 6800.0]),
        sky=np.array([[1.0, 2.0], [1.1, 2.0], [1.2, 2.0], [1.3, 3.0]]), rejected=0.004,
    )  # fmt: skip


def measure(given: Coadd) -> Measures:
    return CoaddSnr().measure(given)


@pytest.mark.parametrize("gain", [1.0, 0.8])
def test_what_the_sum_is_beside_what_its_exposures_promise(gain: float) -> None:
    got = measure(coadd(gain))
    assert float(got["coadd_gain"].values) == pytest.approx(gain, rel=1e-5)
    # flux_R of 1.585 nanomaggies is magnitude 22: S/N is 8 f in the sum of these
    assert got["coadd_snr"].values.tolist() == [pytest.approx(gain * 8 * 10 ** (-0.4 * (22 - 22.5)), rel=0.02)]
    assert got["coadd_snr"].coords["target"] == ("ELG",)


def test_agreement_rejection_number_and_sky() -> None:
    got = measure(coadd(chi2=1.7))
    assert float(got["coadd_chi2"].values) == pytest.approx(1.7)
    assert float(got["coadd_rejected"].values) == pytest.approx(0.004)
    assert float(got["coadd_exposures"].values) == NEXP
    assert float(got["sky_night_range"].values) == pytest.approx(0.5 * (0.3 / 1.15 + 0.5))


def test_without_targets_there_is_no_magnitude_and_all_else_is_measured() -> None:
    got = measure(coadd(classes=False))
    assert got["coadd_snr"].not_applicable
    assert float(got["coadd_gain"].values) == pytest.approx(1.0, rel=1e-5)


def test_a_sum_without_signal_or_sky_says_so() -> None:
    dark = coadd()
    none = replace(dark, snr_after=np.zeros_like(dark.snr_after), sky=np.full((NEXP, 2), np.nan))
    got = measure(none)
    assert np.isnan(got["coadd_gain"].values)
    assert "no fibre has a signal" in got["coadd_gain"].remarks[()]
    assert got["sky_night_range"].not_applicable


def test_its_plot_shows_growth_agreement_and_sky() -> None:
    (plot,) = measure(coadd()).plots
    assert [p.title for p in plot.panels] == ["S/N of 12 fibres", "Exposures about their mean", "S/N against magnitude", "Sky over the night"]
    line, points = plot.panels[0].layers
    np.testing.assert_allclose(line.y, points.y, rtol=1e-5)  # type: ignore[union-attr]
    np.testing.assert_allclose(line.y / line.y[0], np.sqrt([1, 2, 3, 4]), rtol=1e-5)  # type: ignore[union-attr]
