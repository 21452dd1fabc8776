"""QAs of spectra: fibres, sky residuals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as made

from qa.good_fibers import GoodFibers
from qa.sky_residual import SkyResidual
from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import Frame, SpecMask
from quicklook.core.errors import NotApplicable
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


@pytest.mark.parametrize(
    ("error", "noise", "told"),
    [
        (0.05, 0.01, 0.05),
        (0.0, 0.01, 0.0),
        (0.08, 0.065, None),
        (0.0, np.inf, None),
        (0.1089, 0.06, None),  # 3.3 sigma of noise, of a healthy frame
        (0.3, 0.065, (0.3**2 - 5 * (0.065**2 - 0.02**2)) ** 0.5),
    ],
)
def test_the_scatter_of_wavelengths_is_told_where_lines_tell_it(error: float, noise: float, told: float | None) -> None:
    frame, sky = made.subtracted()
    got = SkyResidual().measure(frame, replace(sky, wave_error=error, wave_noise=noise))["sky_wave_error"]
    assert (got.not_applicable is None) is (told is not None)
    if told is not None:
        assert got.values == pytest.approx(told)


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
