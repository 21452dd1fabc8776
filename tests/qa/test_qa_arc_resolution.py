"""QAs of the lines of an arc: resolving power by fibre, lines by lamp."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qa.arc_lines import ArcLinesUsed
from qa.arc_resolution import ArcResolution
from quicklook.ccd.arcareas import ArcAreas
from quicklook.ccd.calibs import ReferenceArc
from quicklook.ccd.linelist import ArcLines
from quicklook.ccd.spectra import TraceSet
from quicklook.ccd.tags import TAGS
from quicklook.ccd.traceshift import ArcFit
from quicklook.core.judge import Judge
from quicklook.core.limits import load_limits
from quicklook.core.status import Status
from quicklook.io.configfiles import find_config
from quicklook.service.site import declared_metrics

N = 40
WAVE = np.array([6000.0, 6100.0, 6200.0, 6300.0, 6400.0])
SIGMA = WAVE / (2.354820045 * 4000.0)
FIBER = np.arange(500, 500 + N, dtype=np.int32)


def arc(factor: np.ndarray | float = 1.0) -> ArcAreas:
    """Resolving power 4000 over the factor, which may be one for each fibre."""
    sigma = np.broadcast_to(np.asarray(factor, np.float64).reshape(-1, 1), (N, 1)) * SIGMA
    return ArcAreas(camera="r0", wave=WAVE.copy(), name=("Ne_I",) * 5, fiber=FIBER.copy(), area=np.full(sigma.shape, 100.0), sigma=sigma)


def reference() -> ReferenceArc:
    return ReferenceArc(wave=WAVE.copy(), fiber=FIBER.copy(), area=np.full((N, 5), 100.0), sigma=np.tile(SIGMA, (N, 1)))


def test_resolving_power() -> None:
    got = ArcResolution().measure(arc(), reference())
    assert got["resolution"].values == pytest.approx(4000)
    np.testing.assert_allclose(got["fiber_resolution"].values, 4000)
    np.testing.assert_allclose(got["fiber_resolution_ratio"].values, 1.0)
    assert got["blurred_fibers"].values == 0


@pytest.mark.parametrize(("power", "status"), [(4800, Status.NORMAL), (2900, Status.WARNING), (2000, Status.ALARM), (9000, Status.ALARM)])
def test_the_resolving_power_of_desi_is_judged_without_a_reference_arc_too(power: float, status: Status) -> None:
    limits = load_limits([find_config("limits", n) for n in ("default", "desi")], declared_metrics(), TAGS)
    got = Judge(limits).measures(ArcResolution.metrics, ArcResolution().measure(arc(4000 / power), None), {"flavor": "arc", "arm": "r"})
    assert {m.name: m.status for m in got if m.status is not None} == {"resolution": status}


def test_a_fibre_that_is_blurred_is_named_and_one_that_is_lost_is_not_measured() -> None:
    factor = np.ones(N)
    factor[7] = 1.3
    seen = arc(factor)
    sigma = seen.sigma.copy()
    sigma[3, :3] = np.nan
    got = ArcResolution().measure(replace(seen, sigma=sigma), reference())
    assert got["fiber_resolution"].values[7] == pytest.approx(4000 / 1.3)
    assert got["fiber_resolution_ratio"].values[7] == pytest.approx(1 / 1.3)
    assert got["blurred_fibers"].values == pytest.approx(1 / (N - 1))
    assert got["blurred_fibers"].remarks[()] == "fibre 507"
    assert np.isnan(got["fiber_resolution"].values[3])
    assert got["fiber_resolution"].remarks[(503,)]


def test_focus_of_all_fibres_is_not_of_one() -> None:
    got = ArcResolution().measure(arc(1.3), reference())
    assert got["resolution"].values == pytest.approx(4000 / 1.3)
    assert got["blurred_fibers"].values == 0, "a change that all share is `arc_width_ratio`"


def test_without_a_reference_or_lines() -> None:
    got = ArcResolution().measure(arc(), None)
    assert "no reference arc" in str(got["blurred_fibers"].not_applicable)
    assert got["resolution"].values == pytest.approx(4000)
    other = replace(reference(), fiber=FIBER + 1000)
    assert "other fibres" in str(ArcResolution().measure(arc(), other)["fiber_resolution_ratio"].not_applicable)
    nothing = replace(arc(), sigma=np.full((N, 5), np.nan))
    assert np.isnan(ArcResolution().measure(nothing, reference())["resolution"].values)


def test_lines_by_lamp() -> None:
    """Of a list of three elements: of Ne two of three were seen, of Hg none, and Xe has no line on the detector."""
    wave = np.array([6000.0, 6050.0, 6100.0, 6150.0, 7500.0])
    same = np.ones(5)
    lines = ArcLines(wave=wave, sigma=0.01 * same, window=2 * same, strength=100 * same, name=("Ne_I", "Ne_I", "Hg_I", "Ne_I", "Xe_I"))
    y = np.tile([500.0, 500.0], (3, 1))
    traces = TraceSet(x=y - 400, y=y, wavemin=5950.0, wavemax=6200.0, npix_x=200, npix_y=1001, fiber=np.arange(3, dtype=np.int32))
    two, zero = np.array([6000.0, 6150.0]), np.zeros(2)
    fit = ArcFit(camera="r0", wave=two, residual=zero, scatter=zero, sigma=zero + 1.1, flux=zero + 9, nfibre=zero + 3, used=np.ones(2))
    got = ArcLinesUsed().measure(fit, traces, lines)["arc_lamp_lines"]
    assert dict(zip(got.coords["lamp"], got.values, strict=True)) == {"Hg": 0.0, "Ne": 2.0}
    assert got.remarks[("Ne",)] == "2 of 3 of the list"
