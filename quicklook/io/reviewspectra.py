"""A look at what is given over wavelength: fibre flats, flux calibrations, skies, extinction, standard stars."""

from __future__ import annotations

import numpy as np

from quicklook.ccd.arrays import Float64
from quicklook.ccd.spectra import FiberFlat, FluxCalib, SkyModel
from quicklook.ccd.stars import Extinction, StdStars
from quicklook.io.reviewfacts import MAX_NEGATIVE, MAX_NONFINITE, MAX_WILD, WILD_FLAT, Review, median, neighbour_scatter, relative, rising, statistics

FIBERFLAT_RANGE = (0.7, 1.4)
"""Median of a fibre flat, which is relative to the mean of its fibres: half of them have more, half less."""
FIBERFLAT_NOISE = 0.2
"""Most scatter between neighbouring samples, sigma: one of less than 25 photo-electrons."""
WILD_FLUXCAL = 1000.0
"""Times the median of a flux calibration: no response has such a peak."""
MAX_TERM = 10.0
"""ATERM and STERM, magnitude or relative for one unit of airmass or arcsec: extinction is below 3."""
FLUXCAL_RANGE = (1e-8, 1e6)
"""Median, electron (per second) from 1e-17 erg/cm2: 1e-3 for 10 cm of aperture, 30 for 40 m; with losses of 1e-4, and exposures of 3e4 s."""
MAX_EXTINCTION = 3.0
"""Median, magnitude per airmass: 0.1 to 0.5 in the visible, 1.5 at 3200 Angstrom."""


def look_fiberflat(flat: FiberFlat, out: Review) -> None:
    """Level, sign, scatter, wavelengths and fibre numbers of a fibre flat."""
    good = (flat.ivar > 0) & (flat.mask == 0)
    share = float(np.count_nonzero(good)) / good.size
    out.facts |= {"fibres": len(flat.fiber), "good_fraction": share}
    out.demand(share > 0.5, f"{100 * (1 - share):.3g} % of its samples are masked or have no ivar (at most 50 % may be)")
    if good.any():
        sample = statistics(out, flat.flat[good])
        relative(sample, out, "its good samples", FIBERFLAT_RANGE)
        beyond = float(np.count_nonzero(np.abs(sample) > WILD_FLAT)) / sample.size
        out.demand(beyond <= MAX_WILD, f"{100 * beyond:.3g} % of its good samples are beyond {WILD_FLAT:g}")
        scatter = neighbour_scatter(np.where(good, flat.flat, np.nan))
        out.facts["scatter"] = scatter
        said = f"neighbouring samples scatter by {scatter:.3g}, at most {FIBERFLAT_NOISE:g} is possible: it holds no flat"
        out.demand(not scatter > FIBERFLAT_NOISE, said)
    rising(out, flat.wave)
    lost = 1.0 - float(np.isfinite(flat.meanspec).mean())
    out.demand(lost <= MAX_NONFINITE, f"{100 * lost:.3g} % of its mean spectrum are no numbers (at most {100 * MAX_NONFINITE:g} % may be)")
    out.demand(len(np.unique(flat.fiber)) == len(flat.fiber), "a fibre number stands twice in it")


def look_fluxcal(flux: FluxCalib, out: Review) -> None:
    """Response, wavelengths and terms of a flux calibration."""
    response(statistics(out, flux.calib), out)
    rising(out, flux.wave)
    for name, term in (("ATERM", flux.aterm), ("STERM", flux.sterm)):
        out.demand(term is None or np.isfinite(term).all(), f"{name} holds values that are no numbers")
        large = 0.0 if term is None else float(np.abs(term).max(initial=0.0))
        out.demand(not np.isfinite(large) or large <= MAX_TERM, f"{name} is up to {large:.3g}, at most {MAX_TERM:g} is possible")


def response(sample: Float64, out: Review) -> None:
    """Asks of the sorted values of a response, electron for 1e-17 erg/cm2, that a telescope can have it."""
    positive = 1.0 - float(np.searchsorted(sample, 0.0, side="right")) / max(1, sample.size)
    negative = float(np.searchsorted(sample, 0.0, side="left")) / max(1, sample.size)
    out.demand(positive > 0.5, f"only {100 * positive:.3g} % of its samples are positive")
    out.demand(negative <= MAX_NEGATIVE, f"{100 * negative:.3g} % of its samples are negative")
    (low, high), lit = FLUXCAL_RANGE, sample[sample > 0]
    if lit.size:
        beyond = float((lit > WILD_FLUXCAL * np.median(lit)).mean())
        out.demand(beyond <= MAX_WILD, f"{100 * beyond:.3g} % of its samples are more than {WILD_FLUXCAL:g} times its median")
        said = f"its median is {np.median(lit):.3g} electron for 1e-17 erg/cm2"
        out.demand(low <= float(np.median(lit)) <= high, f"{said}, no telescope gives that ({low:g} to {high:g})")


def look_sky(sky: SkyModel, out: Review) -> None:
    """Flux, ivar and wavelengths of a sky model."""
    statistics(out, sky.flux)
    share = float(np.count_nonzero(sky.ivar > 0)) / sky.ivar.size
    out.facts |= {"fibres": len(sky.flux), "known_fraction": share}
    out.demand(share > 0.5, f"{100 * (1 - share):.3g} % of its samples have no ivar")
    rising(out, sky.wave)


def look_extinction(air: Extinction, out: Review) -> None:
    """Level and wavelengths of an extinction curve."""
    middle = median(statistics(out, air.magnitude))
    out.demand(0.0 < middle <= MAX_EXTINCTION, f"its median is {middle:.3g} magnitude per airmass, it must lie in 0 to {MAX_EXTINCTION:g}")
    rising(out, air.wave)


def look_stdstar(stars: StdStars, out: Review) -> None:
    """Flux of standard stars."""
    sample = statistics(out, stars.flux)
    negative = float(np.searchsorted(sample, 0.0, side="left")) / max(1, sample.size)
    out.facts["stars"] = len(stars.flux)
    out.demand(negative <= MAX_NEGATIVE, f"{100 * negative:.3g} % of its flux is negative")
