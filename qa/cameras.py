"""What QAs over cameras share: the values of a metric as magnitudes, medians with their errors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from quicklook.ccd.arrays import Float64
from quicklook.core.unitparts import PartSummary

MAG = "mag"
_CENTRE_ERROR = 1.2533
"""Error of a median over that of a mean, of normal errors: sqrt(pi / 2)."""


def magnitudes(part: PartSummary, metric: str) -> dict[str | int | float, float]:
    """The values of a metric by their first coordinate (None of it: 0), as magnitudes, fainter is positive.

    A metric in mag is taken as it is; of any other, which is light over light, v gives -2.5 lg v; what is not positive is left out.
    """
    found = part.metric(metric)
    if found is None:
        return {}
    values = {(at[0] if at else 0): v for at, v in part.values(metric).items()}
    if found.unit == MAG:
        return values
    return {at: -2.5 * math.log10(v) for at, v in values.items() if v > 0}


def spread(values: Float64) -> float:
    """Robust standard deviation: 1.4826 times the median distance from the median; NaN of nothing."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if values.size else math.nan


def centre(values: Sequence[float] | Float64) -> tuple[float, float]:
    """Median and its error by the scatter; the error of fewer than three values is not known: NaN."""
    array = np.asarray(values, np.float64)
    if not array.size:
        return math.nan, math.nan
    error = _CENTRE_ERROR * spread(array) / math.sqrt(array.size) if array.size > 2 else math.nan
    return float(np.median(array)), error
