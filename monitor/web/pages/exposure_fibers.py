"""What several views of fibres need: their numbers, and which of them is the worst by a metric."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.results import MetricResult
from quicklook.core.status import Status


def numbers_by_fiber(column: Any) -> npt.NDArray[np.float64] | None:
    """A column of numbers, one a fibre; None where it is none."""
    if column is None or np.asarray(column).dtype.kind not in "biuf" or np.ndim(column) != 1:
        return None
    return np.asarray(column, np.float64)


def ranked(metric: MetricResult) -> list[int]:
    """Numbers of the fibres of a metric over fibres alone, the worst first: by status, then by the distance from the median."""
    fibers = metric.coords["fiber"]
    values = np.array([math.nan if v is None else v for v in metric.values])
    good = values[np.isfinite(values)]
    middle = float(np.median(good)) if good.size else 0.0
    keys = [(-_severity(s), -abs(v - middle) if math.isfinite(v) else 0.0) for s, v in zip(metric.statuses, values.tolist(), strict=True)]
    return [int(fibers[i]) for i in sorted(range(len(keys)), key=keys.__getitem__)]


def _severity(status: Status | None) -> int:
    return -1 if status is None else status.severity
