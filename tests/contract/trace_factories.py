"""Traces, wavelength solutions and what is known of a spectrograph, for the contract suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import spectra_factories

from quicklook.ccd.lineid import LineIdentification
from quicklook.ccd.linelist import LampLines, shipped_lines
from quicklook.ccd.pixeltraces import PixelTraces, Spectrograph, TraceFit
from quicklook.core.product import Product

_N = spectra_factories.INSTRUMENT.layout.nfibre


def spectrograph(case: Any, number: int) -> Spectrograph:
    return Spectrograph(camera="r0", fibres=_N, bundle=25, dispersion=0.6, centre=6700.0, lamps=("Ne", "Ar", "Hg"))


def pixel_traces(case: Any, number: int) -> PixelTraces:
    """Straight traces; the first fibre is dark."""
    hardware = spectra_factories.INSTRUMENT.hardware
    ny, nx = hardware.pixflat.shape
    x = np.zeros((_N, 3))
    x[:, 0] = np.linspace(10.0, nx - 11.0, _N)
    fiber = np.arange(_N, dtype=np.int32)
    return PixelTraces(x=x, xsig=np.full((_N, 1), 1.05), npix_x=nx, npix_y=ny, fiber=fiber, lit=fiber > 0)


def trace_fit(case: Any, number: int) -> TraceFit:
    rng = np.random.default_rng(number)
    fiber, dark = np.arange(_N, dtype=np.int32), np.arange(_N) == 0
    lost = dark | bool(case.faults)
    columns = {name: np.where(lost, np.nan, rng.uniform(0.5, 1.0, _N)) for name in ("rms", "sigma", "flux", "coverage", "centre")}
    named = tuple(int(f) for f in fiber[lost])
    return TraceFit(camera="r0", fiber=fiber, expected=_N, pitch=7.3, dark=named, slit=False, **columns)


def line_identification(case: Any, number: int) -> LineIdentification:
    lines, lost = 9, bool(case.faults)
    wave = np.where(np.arange(lines) == 4, np.nan, np.linspace(6200.0, 7200.0, lines))
    known = np.isfinite(wave)
    return LineIdentification(
        camera="r0", fiber=np.arange(_N, dtype=np.int32), nlines=np.full(_N, 0.0 if lost else 8.0), rms=np.full(_N, np.nan if lost else 0.01),
        row=np.linspace(50.0, 900.0, lines), height=np.geomspace(100.0, 1e4, lines), wave=wave, residual=np.where(known, 0.002, np.nan),
        scatter=np.where(known, 0.004, np.nan), sigma=np.where(known, 1.1, np.nan), name=tuple("Ne_I" if k else "" for k in known),
        by_lamp={} if lost else {"Ar": 0, "Ne": 8}, bright_matched=0.9, chance=-12.0, rival=1.0, degree=3, dispersion=0.6,
    )  # fmt: skip


FACTORIES: dict[type[Product], Callable[[Any, int], Product]] = {
    Spectrograph: spectrograph,
    PixelTraces: pixel_traces,
    TraceFit: trace_fit,
    LineIdentification: line_identification,
    LampLines: lambda case, n: shipped_lines(LampLines),
}
