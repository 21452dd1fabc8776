"""How much light each fibre gives, for the QAs that compare fibres."""

from __future__ import annotations

import math

import numpy as np

from qa.targets import band_of
from quicklook.ccd.arrays import Float32, Float64, Raw
from quicklook.ccd.fiberstatus import known_bad
from quicklook.ccd.spectra import FiberFlat, Frame, SpecMask

_ENOUGH = 0.02
_SAMPLES = 256
_SOME = 64
_NEIGHBOURS = 5
_FEWEST, _STANDS_OUT = 8, 5.0
_SKY_LEVEL, _LEAST_SCATTER = 0.02, 0.03
"""Relative errors of the level of the sky in a fibre, and of the light of targets by the catalogue, that are allowed for at least."""
_LARGEST = np.float32(1e30)


def usable(flux: Float32, ivar: Float32, mask: Raw) -> Raw:
    """Which samples can be computed with: not masked, with a variance, and neither NaN nor so large that sums overflow."""
    return np.asarray((mask == 0) & (ivar > 1 / _LARGEST) & (ivar < _LARGEST) & (np.abs(flux) < _LARGEST))


def light_sums(frame: Frame, step: int) -> tuple[Float64, Float64, Float64]:
    """Per fibre: number of usable samples, sum of their flux, sum of their variance, from every `step`-th sample; the number is 0 of too few."""
    ivar, flux = frame.ivar[:, ::step], frame.flux[:, ::step]
    good = usable(flux, ivar, frame.mask[:, ::step])
    variance = np.divide(np.float32(1), ivar, out=np.zeros_like(ivar), where=good)
    count = good.sum(axis=1).astype(np.float64)
    count[count < _ENOUGH * ivar.shape[1]] = 0
    return count, np.where(good, flux, 0).sum(axis=1, dtype=np.float64), variance.sum(axis=1, dtype=np.float64)


def flat_levels(flat: FiberFlat) -> Float64:
    """Mean throughput of every fibre of a fibre flat, [nfibre]; NaN where less than a tenth of it is known."""
    step = max(1, flat.flat.shape[1] // _SAMPLES)
    some = flat.flat[:, ::step]
    known = (flat.mask[:, ::step] == 0) & (flat.ivar[:, ::step] > 0) & np.isfinite(some)
    count = known.sum(axis=1)
    total = np.where(known, some, 0).sum(axis=1, dtype=np.float64)
    return np.asarray(np.where(count >= 0.1 * some.shape[1], total / np.maximum(count, 1), np.nan))


def matched(wanted: Raw, number: Raw, values: Float64) -> Float64:
    """Values of the fibres `wanted`, from those of the fibres `number`; NaN for one that is not among them."""
    order = np.argsort(number)
    at = order[np.clip(np.searchsorted(number, wanted, sorter=order), 0, len(order) - 1)]
    return np.asarray(np.where(number[at] == wanted, values[at], np.nan))


def bad_fibers(frame: Frame) -> Raw:
    """Whether a fibre is known to be bad, bool [nfibre]: by the fibre map, or by the calibrations (mask of all of its samples)."""
    some = frame.mask[:, :: max(1, frame.mask.shape[1] // _SOME)]
    return np.asarray((some & np.uint32(SpecMask.BADFIBER)).all(axis=1) | known_bad(frame.fibermap))


def _of(frame: Frame, row: int) -> Raw:
    return usable(frame.flux[row], frame.ivar[row], frame.mask[row])


def light_of_few(frame: Frame, rows: Raw, light: Float64, sound: Raw) -> Float64:
    """Light of the fibres `rows`, on the scale of `light` [nfibre], where samples that they lack are missing in what they are compared with too.

    The median over the five nearest `sound` fibres of: sum of the flux over that of the other at the same wavelengths, where both have samples, times
    the light of the other. A mask over a bright line of an arc makes a fibre no fainter here. NaN where there is no other.
    """
    out = np.full(len(rows), np.nan)
    others = np.flatnonzero(sound & (light > 0))
    for n, row in enumerate(rows):
        found = []
        for other in others[np.argsort(np.abs(others - row), kind="stable")[:_NEIGHBOURS]]:
            share = np.interp(frame.wave[row], frame.wave[other], _of(frame, other), left=0.0, right=0.0)
            both = _of(frame, row) & (share == 1.0)
            expected = float(np.interp(frame.wave[row][both], frame.wave[other], frame.flux[other]).sum())
            if expected > 0:
                found.append(light[other] * float(frame.flux[row][both].sum(dtype=np.float64)) / expected)
        if found:
            out[n] = float(np.median(found))
    return out


def catalogue_light(frame: Frame) -> Float64:
    """Flux of the target of each fibre by the fibre map, [nfibre], nanomaggies in the band of the arm; NaN where there is no target or no flux.

    A column that is not one number a fibre is as absent.
    Of FIBERFLUX, which is what a fibre catches of an extended target, where the fibre map has it for any target, else of FLUX.
    """
    columns, band = frame.fibermap.columns, band_of(frame.camera)
    target = np.array(frame.fibermap.objtype) == "TGT"
    for name in (f"FIBERFLUX_{band}", f"FLUX_{band}"):
        given = np.asarray(columns.get(name, np.nan))
        if given.shape != target.shape or given.dtype.kind not in "iuf":
            continue
        flux = given.astype(np.float64)
        some = target & np.isfinite(flux) & (flux > 0)
        if some.any():
            return np.where(some, flux, np.nan)
    return np.full(target.shape, np.nan)


def of_expected(light: Float64, sky: Float64, noise: Float64, catalogue: Float64) -> tuple[Float64, Float64]:
    """Light of fibres over what sky and targets should give, and its error: [nfibre], from mean flux, mean sky, error of the flux, and `catalogue`.

    Formula: light / (sky + c catalogue), where c = median of (light - sky) / catalogue over the targets whose light stands out by five errors, which
    the catalogue tells, not what is measured; error^2 = (noise^2 + (0.02 sky)^2 + (s c catalogue)^2) / (sky + c catalogue)^2, where s is the robust
    relative scatter of those targets about c beyond that of their errors, at least 0.03. NaN where there is no catalogue, and where fewer than
    eight targets tell.
    """
    nothing = np.full(light.shape, np.nan)
    error = np.hypot(noise, _SKY_LEVEL * sky)
    known = np.isfinite(light) & np.isfinite(error) & (sky > 0) & np.isfinite(catalogue)
    if known.sum() < _FEWEST:
        return nothing, nothing.copy()
    ratio = np.divide(light - sky, catalogue, out=nothing.copy(), where=known)
    bright = known & (catalogue >= np.median(catalogue[known]))
    tells = known & (catalogue * float(np.median(ratio[bright])) > _STANDS_OUT * error)
    scale = float(np.median(ratio[tells])) if tells.sum() >= _FEWEST else 0.0
    if not scale > 0:
        return nothing, nothing.copy()
    seen = 1.4826 * float(np.median(np.abs(ratio[tells] / scale - 1.0)))
    by_noise = float(np.median(error[tells] / (scale * catalogue[tells])))
    scatter = max(math.sqrt(max(seen**2 - by_noise**2, 0.0)), _LEAST_SCATTER)
    expected = np.where(known, sky + scale * catalogue, np.nan)
    return light / expected, np.hypot(error, scatter * scale * catalogue) / expected
