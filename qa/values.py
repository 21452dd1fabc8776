"""Short forms for the metrics that QAs of frames return."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from quicklook.ccd.arrays import Float32, Float64, Raw
from quicklook.ccd.geometry import Amplifier
from quicklook.core.metrics import Coord, Measured, MetricDef, measured, not_applicable

KNOWN_BAD = "known to be bad"
_SHOWN = 20


def judged(amps: Sequence[Amplifier]) -> tuple[Amplifier, ...]:
    """The amplifiers that are not known to be bad: nothing is measured of the others."""
    return tuple(a for a in amps if not a.bad)


def per_amp(definition: MetricDef, amps: Sequence[Amplifier], values: Mapping[str, float], remarks: Mapping[str, str] | None = None) -> Measured:
    """One value for each amplifier that has one in `values`, in the order of `amps`; remarks of others, and empty ones, are left out.

    What is no finite number (a broken file overflows) was not measured: NaN.
    Amplifiers that are known to be bad stand among them without a value and are not judged; where all are, the metric does not apply.
    """
    if all(a.bad for a in amps):
        return not_applicable(definition.name, f"every amplifier is {KNOWN_BAD}")
    bad = {a.name for a in amps if a.bad}
    names = [a.name for a in amps if a.bad or a.name in values]
    told: dict[Coord | tuple[Coord, ...], str] = {k: v for k, v in (remarks or {}).items() if v and k in values}
    told |= dict.fromkeys(bad, KNOWN_BAD)
    known = [values[n] if n not in bad and math.isfinite(values[n]) else math.nan for n in names]
    return measured(definition.name, known, amp=names, remarks=told, left_out=bad)


def scalar(definition: MetricDef, value: float, remark: str = "") -> Measured:
    """One value without dimensions, and what is to be said of it."""
    return measured(definition.name, value, remarks={(): remark} if remark else None)


def numbered(what: str, numbers: Raw) -> str:
    """``fibre 3, 17 and 40 more``, from the numbers of some; "" of none."""
    if not len(numbers):
        return ""
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"{what} {', '.join(str(int(n)) for n in numbers[:_SHOWN])}{more}"


def row_medians(values: Float32, good: Raw) -> Float64:
    """Median of the good values of each row of [n, m], NaN where there is none: all rows are ordered at once, far faster than one by one."""
    rows = np.where(good, values, np.float32(np.inf))
    rows.sort(axis=1)
    count, row = good.sum(axis=1), np.arange(len(rows))
    low, high = rows[row, np.maximum(count - 1, 0) // 2].astype(np.float64), rows[row, np.minimum(count // 2, rows.shape[1] - 1)].astype(np.float64)
    return np.asarray(np.where(count > 0, 0.5 * np.where(count > 0, low, 0) + 0.5 * np.where(count > 0, high, 0), np.nan))
