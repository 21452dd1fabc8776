"""What is noted when a calibration is looked at, and what is asked of values of any kind."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from quicklook.ccd.arrays import Float64, Raw

MAX_NONFINITE = 0.05
"""Fraction of the values that may be no number: where more are, something failed when it was made."""
MAX_WILD = 0.01
"""Fraction of the pixels that may lie beyond what the kind can hold: hot and dead ones."""
WILD_FLAT = 20.0
"""Of flats: no pixel or fibre is as bright."""
FLAT_RANGE = (0.5, 2.0)
"""Median of what is relative to its own mean."""
MAX_NEGATIVE = 0.05
"""Fraction of a flat that may not be positive: dead pixels."""
WAVE_RANGE = (900.0, 60_000.0)
"""Vacuum Angstrom: the ultraviolet above the atmosphere to the thermal infrared."""
SAMPLE = 1 << 19
"""So many values of an image, an odd number apart, give its statistics."""


@dataclass(slots=True)
class Review:
    """Statistics of a calibration by name, and in sentences what is wrong with it, and what may be."""

    facts: dict[str, float | int | str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def demand(self, holds: bool | np.bool_, otherwise: str) -> None:
        """Note what is wrong where it does not hold."""
        if not holds:
            self.wrong.append(otherwise)


def statistics(out: Review, values: Raw, name: str = "", lost: float = MAX_NONFINITE) -> Float64:
    """Notes size, finite fraction and quantiles, of a sample where there are many; returns the finite values of the sample, sorted."""
    flat = values.reshape(-1)
    known = float(np.count_nonzero(np.isfinite(flat))) / flat.size
    with np.errstate(invalid="ignore"):  # damaged numbers may be signalling ones
        sample = flat[:: flat.size // SAMPLE | 1].astype(np.float64)
    sample = np.sort(sample[np.isfinite(sample)])
    prefix = f"{name}_" if name else ""
    out.facts |= {f"{prefix}shape": " x ".join(str(n) for n in values.shape[::-1]), f"{prefix}finite_fraction": known}
    if sample.size:
        marks = {"min": 0.0, "p01": 0.01, "median": 0.5, "p99": 0.99, "max": 1.0}
        out.facts |= {f"{prefix}{k}": float(sample[round(q * (sample.size - 1))]) for k, q in marks.items()}
    share = 100.0 * (1.0 - known)
    what = f"{name} " if name else ""
    out.demand(known >= 1.0 - lost, f"{share:.3g} % of its {what}values are no numbers (at most {100 * lost:g} % may be)")
    return np.asarray(sample)


def median(sample: Float64) -> float:
    """Median of sorted values; NaN of none."""
    return float(sample[sample.size // 2]) if sample.size else float("nan")


def neighbour_scatter(values: Raw) -> float:
    """Sigma of values [ny, nx] from differences of neighbours along x (1.4826 MAD / sqrt 2), of a sample of rows; NaN where there are none."""
    with np.errstate(invalid="ignore", over="ignore"):  # damaged numbers may be signalling ones
        rows = values[:: max(1, values.size // SAMPLE)].astype(np.float64)
        steps = np.abs(np.diff(rows, axis=-1))
    steps = steps[np.isfinite(steps)]
    return 1.4826 * float(np.median(steps)) / math.sqrt(2.0) if steps.size else math.nan


def relative(sample: Float64, out: Review, what: str, bounds: tuple[float, float] = FLAT_RANGE) -> None:
    """Of values around 1."""
    middle, negative = median(sample), float(np.searchsorted(sample, 0.0, side="right")) / max(1, sample.size)
    around = f"it must be around 1 ({bounds[0]:g} to {bounds[1]:g})"
    out.demand(not sample.size or bounds[0] <= middle <= bounds[1], f"the median of {what} is {middle:.4g}, {around}")
    out.demand(negative <= MAX_NEGATIVE, f"{100 * negative:.3g} % of {what} are not positive (at most {100 * MAX_NEGATIVE:g} % may be)")


def rising(out: Review, wave: Float64) -> None:
    """Notes the range of wavelengths [..., nwave], Angstrom, and asks that they rise along the last axis."""
    out.facts["wave"] = f"{wave.min():.1f} to {wave.max():.1f} Angstrom"
    good = np.isfinite(wave).all() and (np.diff(wave, axis=-1) > 0).all()
    out.demand(good, "its wavelengths do not rise from sample to sample")
    if good:
        known_waves(out, float(wave.min()), float(wave.max()))


def known_waves(out: Review, first: float, last: float) -> None:
    """Asks that wavelengths from `first` to `last` are such as a spectrograph sees, in Angstrom."""
    low, high = WAVE_RANGE
    said = f"its wavelengths are {first:.4g} to {last:.4g} Angstrom, they must lie in {low:g} to {high:g}"
    out.demand(low <= first <= last <= high, f"{said}; are they in Angstrom?")
