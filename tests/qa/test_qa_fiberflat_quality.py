"""How good a fibre flat is: fibres that are known, errors, scatter of the throughput."""

from __future__ import annotations

import numpy as np
import pytest

from qa.fiberflat_quality import FiberflatQuality
from quicklook.ccd.calibs import KnownFibers
from quicklook.ccd.spectra import FiberFlat

NFIBRE, NWAVE = 50, 2000


def flat(throughput: np.ndarray, error: float = 0.002, lost: tuple[int, ...] = ()) -> FiberFlat:
    values = throughput[:, None] * np.ones(NWAVE) + np.random.default_rng(1).normal(0.0, error, (NFIBRE, NWAVE))
    ivar, mask = np.full(values.shape, 1 / error**2), np.zeros(values.shape, np.uint32)
    ivar[list(lost)], mask[list(lost)] = 0.0, 16
    return FiberFlat(
        flat=values.astype(np.float32), ivar=ivar.astype(np.float32), mask=mask, wave=np.linspace(5700.0, 7700.0, NWAVE),
        meanspec=np.ones(NWAVE, np.float32), fiber=np.arange(500, 500 + NFIBRE, dtype=np.int32),
    )  # fmt: skip


def test_what_was_put_in_is_measured() -> None:
    throughput = 1 + 0.05 * np.random.default_rng(2).normal(size=NFIBRE)
    throughput[7] = 0.4
    got = FiberflatQuality().measure(flat(throughput, lost=(3, 4)))
    assert got["fiberflat_usable"].values == pytest.approx(0.96)
    assert got["fiberflat_error"].values == pytest.approx(0.002, rel=0.02)
    kept = np.delete(throughput, [3, 4])
    # 1.4826 times the median distance from 1; the median of a fibre is known to 0.002 / sqrt(500)
    assert got["fiberflat_scatter"].values == pytest.approx(1.4826 * np.median(np.abs(kept - 1)), abs=5e-4)
    assert got["fiberflat_lowest"].values == pytest.approx(0.4, abs=5e-4)
    assert got["fiberflat_lowest"].remarks[()] == "fibre 507"


def test_nothing_known_is_unknown() -> None:
    got = FiberflatQuality().measure(flat(np.ones(NFIBRE), lost=tuple(range(NFIBRE))))
    assert got["fiberflat_usable"].values == 0
    for name in ("fiberflat_error", "fiberflat_scatter", "fiberflat_lowest"):
        assert np.isnan(got[name].values)


def test_fibres_that_are_known_to_be_bad_are_not_lost() -> None:
    made = flat(np.ones(NFIBRE), lost=(3, 4))
    listed = KnownFibers(broken=(int(made.fiber[3]),), low=(int(made.fiber[4]),))
    assert FiberflatQuality().measure(made)["fiberflat_usable"].values == pytest.approx(1.0 - 2 / NFIBRE)
    assert FiberflatQuality().measure(made, fibers=listed)["fiberflat_usable"].values == 1.0
