"""What is in a calibration, in numbers, and what must not be: a look at its values before it is believed.

Bounds are those of any detector in use, wide enough for a good calibration of any of them; what lies outside is broken, in another unit, or
of another kind. Each is written beside its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, KnownFibers, PhotonTransfer, PixelFlat, ReferenceArc, ReferenceFlat
from quicklook.ccd.linelist import ArcLines, LineList, SkyLines
from quicklook.ccd.pixeltraces import PixelTraces
from quicklook.ccd.spectra import FiberFlat, FluxCalib, SkyModel, TraceSet
from quicklook.ccd.stars import Extinction, StdStars
from quicklook.core.product import Calibration

MAX_NONFINITE = 0.05
"""Fraction of the pixels that may be no number: bad columns and the like. Where more are, something failed when it was made."""
MAX_MASKED = 0.5
"""A mask of more than half of the detector has its bits the wrong way round, or is no mask."""
MAX_BIAS_ADU = 33_000.0
"""Half of what a 16 bit converter gives: above, less than half of it were left for light."""
DARK_RANGE = (-1.0, 100.0)
"""Median, electron/s: a cooled CCD has less than 1, a warm one some tens; more are the electrons of a whole exposure."""
FLAT_RANGE = (0.5, 2.0)
"""Median of what is relative to its own mean."""
FIBERFLAT_RANGE = (0.7, 1.4)
"""Median of a fibre flat, which is relative to the mean of its fibres: half of them have more, half less."""
FLUXCAL_RANGE = (1e-8, 1e6)
"""Median, electron (per second) from 1e-17 erg/cm2: 1e-3 for 10 cm of aperture, 30 for 40 m; with losses of 1e-4, and exposures of 3e4 s."""
WAVE_RANGE = (900.0, 60_000.0)
"""Vacuum Angstrom: the ultraviolet above the atmosphere to the thermal infrared."""
MAX_EXTINCTION = 3.0
"""Median, magnitude per airmass: 0.1 to 0.5 in the visible, 1.5 at 3200 Angstrom."""
MAX_NEGATIVE = 0.05
"""Fraction of a flat that may not be positive: dead pixels."""
MARGIN_PIXEL = 20.0
"""So far outside of the detector a trace may run: the first and last fibre of a spectrograph may lie half on it."""
MIN_SEPARATION = 0.5
"""Pixel between neighbouring traces: nearer ones cannot be told apart, or cross."""
SAMPLE = 1 << 19
"""So many values of an image, an odd number apart, give its statistics."""


@dataclass(slots=True)
class Review:
    """Statistics of a calibration by name, and in sentences what is wrong with it."""

    facts: dict[str, float | int | str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def demand(self, holds: bool | np.bool_, otherwise: str) -> None:
        """Note what is wrong where it does not hold."""
        if not holds:
            self.wrong.append(otherwise)


def review(calibration: Calibration) -> Review:
    """Look at a calibration. Of a kind that is not known here nothing is said. 0.1 s for an image of 17 million pixels."""
    out = Review()
    look = next((_LOOKS[t] for t in type(calibration).__mro__ if t in _LOOKS), None)
    if look is not None:
        look(calibration, out)
    return out


def register_review(kind: type[Calibration], look: Callable[[Any, Review], None]) -> None:
    """Say how calibrations of a type are looked at."""
    _LOOKS[kind] = look


def _statistics(out: Review, values: Raw, name: str = "") -> Float64:
    """Notes size, finite fraction and quantiles, of a sample where there are many; returns the finite values of the sample, sorted."""
    flat = values.reshape(-1)
    known = float(np.count_nonzero(np.isfinite(flat))) / flat.size
    sample = flat[:: flat.size // SAMPLE | 1].astype(np.float64)
    sample = np.sort(sample[np.isfinite(sample)])
    prefix = f"{name}_" if name else ""
    out.facts |= {f"{prefix}shape": " x ".join(str(n) for n in values.shape[::-1]), f"{prefix}finite_fraction": known}
    if sample.size:
        marks = {"min": 0.0, "p01": 0.01, "median": 0.5, "p99": 0.99, "max": 1.0}
        out.facts |= {f"{prefix}{k}": float(sample[round(q * (sample.size - 1))]) for k, q in marks.items()}
    share = 100.0 * (1.0 - known)
    what = f"{name} " if name else ""
    out.demand(known >= 1.0 - MAX_NONFINITE, f"{share:.3g} % of its {what}values are no numbers (at most {100 * MAX_NONFINITE:g} % may be)")
    return np.asarray(sample)


def _median(sample: Float64) -> float:
    return float(sample[sample.size // 2]) if sample.size else float("nan")


def _bias(bias: Bias, out: Review) -> None:
    sample = _statistics(out, bias.pixels)
    out.demand(not sample.size or abs(_median(sample)) <= MAX_BIAS_ADU, f"its median is {_median(sample):.4g} ADU; no detector is read with that")
    same = sample.size > 1 and sample[0] == sample[-1]
    out.demand(not same, f"all of its pixels are {_median(sample):.4g} ADU; none that was measured is so even")
    if bias.variance is not None:
        known = bias.variance[np.isfinite(bias.variance)]
        out.facts["noise_median"] = float(np.sqrt(np.median(known))) if known.size else float("nan")
        out.demand(known.size > 0, "its variance is not known anywhere")


def _dark(dark: Dark, out: Review) -> None:
    middle, (low, high) = _median(_statistics(out, dark.pixels)), DARK_RANGE
    out.demand(
        not middle < low and not middle > high,
        f"its median is {middle:.4g} electron/s, it must lie in {low:g} to {high:g}; is it in ADU, or of a whole exposure?",
    )


def _relative(sample: Float64, out: Review, what: str, bounds: tuple[float, float] = FLAT_RANGE) -> None:
    """Of values around 1."""
    middle, negative = _median(sample), float(np.searchsorted(sample, 0.0, side="right")) / max(1, sample.size)
    around = f"it must be around 1 ({bounds[0]:g} to {bounds[1]:g})"
    out.demand(not sample.size or bounds[0] <= middle <= bounds[1], f"the median of {what} is {middle:.4g}, {around}")
    out.demand(negative <= MAX_NEGATIVE, f"{100 * negative:.3g} % of {what} are not positive (at most {100 * MAX_NEGATIVE:g} % may be)")


def _pixflat(flat: PixelFlat, out: Review) -> None:
    _relative(_statistics(out, flat.pixels), out, "its pixels")


def _mask(mask: BadPixelMask, out: Review) -> None:
    share = float(np.count_nonzero(mask.pixels)) / mask.pixels.size
    out.facts |= {"shape": f"{mask.pixels.shape[1]} x {mask.pixels.shape[0]}", "masked_fraction": share}
    out.demand(share <= MAX_MASKED, f"it masks {100 * share:.3g} % of the pixels; 0 is good")


def _one_direction(x: Float64) -> tuple[bool, float]:
    """Whether the places of fibres [nfibre] rise, or fall, all the way; and the smallest distance of neighbours."""
    if len(x) < 2:
        return True, float("inf")
    steps = np.diff(x) if x[-1] >= x[0] else -np.diff(x)
    return bool((steps > 0).all()), float(steps.min())


def _fibres_apart(out: Review, fibre: Raw, middle: Float64) -> None:
    ordered, nearest = _one_direction(middle)
    out.facts["nearest_pixel"] = nearest if np.isfinite(nearest) else "one trace"
    out.demand(ordered, "its traces cross: they are not in order along x in the middle of the detector")
    out.demand(not ordered or nearest >= MIN_SEPARATION, f"two of its traces are {nearest:.3g} pixel apart")
    out.demand(len(np.unique(fibre)) == len(fibre), "a fibre number stands for two traces")


def _traces(traces: TraceSet, out: Review) -> None:
    wave = np.linspace(traces.wavemin, traces.wavemax, 65)
    x, y = traces.evaluate(traces.x, wave), traces.evaluate(traces.y, wave)
    out.facts |= {"fibres": traces.nfibre, "wave": f"{traces.wavemin:.1f} to {traces.wavemax:.1f} Angstrom", "x": _range(x), "y": _range(y)}
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        out.wrong.append("its traces hold values that are not finite")
        return
    falls = ~(np.diff(y, axis=1) > 0).all(axis=1)
    out.demand(not falls.any(), f"the wavelength does not rise along y for {falls.sum()} traces (fibre {_first(traces.fiber, falls)}, ...)")
    _known_waves(out, traces.wavemin, traces.wavemax)
    _on_detector(out, traces, x, y)
    _fibres_apart(out, traces.fiber, x[:, len(wave) // 2])
    for name, series in (("xsig", traces.xsig), ("ysig", traces.ysig)):
        if series is not None:
            width = traces.evaluate(series, wave)
            out.facts[f"{name}_median"] = float(np.median(width))
            out.demand(np.isfinite(width).all() and np.median(width) > 0, f"its widths {name} are no positive numbers")


def _on_detector(out: Review, traces: TraceSet, x: Float64, y: Float64) -> None:
    if not (traces.npix_x and traces.npix_y):
        out.facts["detector"] = "not stated"
        return
    out.facts["detector"] = f"{traces.npix_x} x {traces.npix_y}"
    here = (y > -0.5) & (y < traces.npix_y - 0.5)
    away = ~here.any(axis=1) | (here & ((x < -MARGIN_PIXEL) | (x > traces.npix_x - 1 + MARGIN_PIXEL))).any(axis=1)
    size = f"{traces.npix_x} x {traces.npix_y}"
    out.demand(not away.any(), f"{away.sum()} of its traces (fibre {_first(traces.fiber, away)}, ...) lie outside of a detector of {size} pixels")


def _first(fibre: Raw, which: Any) -> int:
    return int(fibre[np.argmax(which)]) if which.any() else -1


def _range(values: Float64) -> str:
    return f"{values.min():.1f} to {values.max():.1f} pixel"


def _pixeltraces(traces: PixelTraces, out: Review) -> None:
    x = traces.at_rows(traces.x, np.linspace(0, traces.npix_y - 1, 65))
    out.facts |= {"fibres": traces.nfibre, "lit": int(traces.lit.sum()), "detector": f"{traces.npix_x} x {traces.npix_y}", "x": _range(x)}
    away = ((x < -MARGIN_PIXEL) | (x > traces.npix_x - 1 + MARGIN_PIXEL)).any(axis=1)
    out.demand(not away.any(), f"{away.sum()} of its traces (fibre {_first(traces.fiber, away)}, ...) lie outside of the detector")
    _fibres_apart(out, traces.fiber, x[:, x.shape[1] // 2])


def _rising(out: Review, wave: Float64) -> None:
    out.facts["wave"] = f"{wave.min():.1f} to {wave.max():.1f} Angstrom"
    good = np.isfinite(wave).all() and (np.diff(wave, axis=-1) > 0).all()
    out.demand(good, "its wavelengths do not rise from sample to sample")
    if good:
        _known_waves(out, float(wave.min()), float(wave.max()))


def _known_waves(out: Review, first: float, last: float) -> None:
    low, high = WAVE_RANGE
    said = f"its wavelengths are {first:.4g} to {last:.4g} Angstrom, they must lie in {low:g} to {high:g}"
    out.demand(low <= first <= last <= high, f"{said}; are they in Angstrom?")


def _fiberflat(flat: FiberFlat, out: Review) -> None:
    good = (flat.ivar > 0) & (flat.mask == 0)
    share = float(np.count_nonzero(good)) / good.size
    out.facts |= {"fibres": len(flat.fiber), "good_fraction": share}
    out.demand(share > 0.5, f"{100 * (1 - share):.3g} % of its samples are masked or have no ivar (at most 50 % may be)")
    if good.any():
        _relative(_statistics(out, flat.flat[good]), out, "its good samples", FIBERFLAT_RANGE)
    _rising(out, flat.wave)
    out.demand(len(np.unique(flat.fiber)) == len(flat.fiber), "a fibre number stands twice in it")


def _fluxcal(flux: FluxCalib, out: Review) -> None:
    sample = _statistics(out, flux.calib)
    positive = 1.0 - float(np.searchsorted(sample, 0.0, side="right")) / max(1, sample.size)
    negative = float(np.searchsorted(sample, 0.0, side="left")) / max(1, sample.size)
    out.demand(positive > 0.5, f"only {100 * positive:.3g} % of its samples are positive")
    out.demand(negative <= MAX_NEGATIVE, f"{100 * negative:.3g} % of its samples are negative")
    (low, high), lit = FLUXCAL_RANGE, sample[sample > 0]
    if lit.size:
        said = f"its median is {np.median(lit):.3g} electron for 1e-17 erg/cm2"
        out.demand(low <= float(np.median(lit)) <= high, f"{said}, no telescope gives that ({low:g} to {high:g})")
    _rising(out, flux.wave)
    for name, term in (("ATERM", flux.aterm), ("STERM", flux.sterm)):
        out.demand(term is None or np.isfinite(term).all(), f"{name} holds values that are no numbers")


def _sky(sky: SkyModel, out: Review) -> None:
    _statistics(out, sky.flux)
    share = float(np.count_nonzero(sky.ivar > 0)) / sky.ivar.size
    out.facts |= {"fibres": len(sky.flux), "known_fraction": share}
    out.demand(share > 0.5, f"{100 * (1 - share):.3g} % of its samples have no ivar")
    _rising(out, sky.wave)


def _ptc(ptc: PhotonTransfer, out: Review) -> None:
    for name, values in (("gain", ptc.gain), ("read_noise", ptc.read_noise)):
        out.facts |= {f"{name}_{a}": float(v) for a, v in zip(ptc.amp, values, strict=True)}
        known = values[np.isfinite(values)]
        out.demand(known.size > 0, f"no amplifier has a {name}")
        out.demand((known > 0).all(), f"a {name} is not positive")


def _refarc(arc: ReferenceArc, out: Review) -> None:
    known = np.isfinite(arc.area)
    out.facts |= {"fibres": len(arc.fiber), "lines": len(arc.wave), "measured_fraction": float(known.mean())}
    out.demand(known.mean() > 0.5, "less than half of its lines are measured")
    out.demand((arc.area[known] > 0).mean() > 1 - MAX_NEGATIVE if known.any() else False, "areas of its lines are not positive")
    _rising(out, arc.wave)


def _refflat(flat: ReferenceFlat, out: Review) -> None:
    known = flat.level[np.isfinite(flat.level)]
    out.facts |= {"fibres": len(flat.fiber), "measured": int(known.size), "median": float(np.median(known)) if known.size else "none"}
    out.demand(known.size > 0.5 * len(flat.fiber), "less than half of its fibres have a level")
    out.demand(known.size == 0 or float(np.median(known)) > 0, "its median level is not positive")


def _lines(lines: LineList, out: Review) -> None:
    out.facts |= {"lines": len(lines.wave), "wave": f"{lines.wave.min():.1f} to {lines.wave.max():.1f} Angstrom"}


def _extinction(air: Extinction, out: Review) -> None:
    middle = _median(_statistics(out, air.magnitude))
    out.demand(0.0 < middle <= MAX_EXTINCTION, f"its median is {middle:.3g} magnitude per airmass, it must lie in 0 to {MAX_EXTINCTION:g}")
    _rising(out, air.wave)


def _stdstar(stars: StdStars, out: Review) -> None:
    sample = _statistics(out, stars.flux)
    negative = float(np.searchsorted(sample, 0.0, side="left")) / max(1, sample.size)
    out.facts["stars"] = len(stars.flux)
    out.demand(negative <= MAX_NEGATIVE, f"{100 * negative:.3g} % of its flux is negative")


def _fibers(fibers: KnownFibers, out: Review) -> None:
    out.facts |= {"broken": len(fibers.broken), "low": len(fibers.low)}
    out.demand(all(n >= 0 for n in (*fibers.broken, *fibers.low)), "a fibre number is negative")


_LOOKS: dict[type[Calibration], Callable[[Any, Review], None]] = {
    Bias: _bias, Dark: _dark, PixelFlat: _pixflat, BadPixelMask: _mask, TraceSet: _traces, PixelTraces: _pixeltraces, FiberFlat: _fiberflat,
    FluxCalib: _fluxcal, SkyModel: _sky, PhotonTransfer: _ptc, ReferenceArc: _refarc, ReferenceFlat: _refflat, SkyLines: _lines,
    ArcLines: _lines, KnownFibers: _fibers, Extinction: _extinction, StdStars: _stdstar,
}  # fmt: skip


def facts_text(facts: Mapping[str, float | int | str]) -> dict[str, str]:
    """Statistics as they are shown."""
    return {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in facts.items()}
