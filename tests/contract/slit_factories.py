"""Slits, standard stars and flux-calibration fits for the contract suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import spectra_factories

from quicklook.ccd.slit import SlitObject, SlitObjects, SlitShift
from quicklook.ccd.stars import CLIPPED, FITTED, HELD_OUT, MASKED, Extinction, FluxCalFit, StdStars
from quicklook.core.product import Product


def _wave() -> np.ndarray:
    traces = spectra_factories.INSTRUMENT.hardware.traces
    return np.arange(traces.wave_min - 100.0, traces.wave_max + 100.0, 2.0)


def stdstars(case: Any, number: int) -> StdStars:
    wave = _wave()
    return StdStars(wave=wave, flux=np.geomspace(3e3, 1e3, wave.size)[None], names=("a star",))


def extinction(case: Any, number: int) -> Extinction:
    wave = _wave()
    return Extinction(wave=wave, magnitude=0.1 * (wave / 6000.0) ** -4)


def slitobjects(case: Any, number: int) -> SlitObjects:
    """One object; none in a bad case. The aperture at the end has no light."""
    n, bright = 12, not case.faults
    sky = np.full(n, 10.0)
    profile = sky + (np.exp(-0.5 * ((np.arange(n) - 5.2) / 0.8) ** 2) * 100.0 if bright else 0.0)
    profile[-1] = np.nan
    found = (SlitObject(first=3, last=7, brightest=5, place=5.2, fwhm=1.9, snr=80.0, fraction=4.0),) if bright else ()
    return SlitObjects(camera="r0", objects=found, profile=profile, sky=sky, error=np.full(n, 0.5), remark="" if found else "nothing stands out")


def fluxcalfit(case: Any, number: int) -> FluxCalFit:
    """With bins of every sort."""
    wave = np.arange(5800.0, 7600.0, 10.0)
    use = np.full(wave.size, FITTED, np.uint8)
    use[::7], use[1::7], use[2::7] = MASKED, HELD_OUT, CLIPPED
    model = np.full(wave.size, 0.07)
    ratio = model * (1 + 0.01 * np.sin(wave))
    ratio[::7] = np.nan
    return FluxCalFit(wave=wave, ratio=ratio, error=np.full(wave.size, 1e-3), model=model, use=use, stars=("a star",), levels=(1.0,))


def slitshift(case: Any, number: int) -> SlitShift:
    """Measured; not measured in a bad case."""
    line, off = np.array([5600.0, 6300.3, 7000.0]), np.array([0.2, 0.25, np.nan])
    if case.faults:
        off[:] = np.nan
    known = bool(np.isfinite(off).any())
    shift, error = (0.22, 0.02) if known else (np.nan, np.nan)
    return SlitShift(camera="r0", shift=shift, error=error, line=line, off=off, used=np.isfinite(off), remark="" if known else "too few lines")


FACTORIES: dict[type[Product], Callable[[Any, int], Product]] = {
    StdStars: stdstars,
    Extinction: extinction,
    SlitObjects: slitobjects,
    SlitShift: slitshift,
    FluxCalFit: fluxcalfit,
}
