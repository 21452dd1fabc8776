"""All limits on all channels, as arrays: what a sample means for each limit on its channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from monitor.hk.config import Level, LimitSpec
from monitor.hk.edges import Edges, Index
from monitor.hk.loading import BoundLimit
from quicklook.core.housekeeping import Floats
from quicklook.core.severity import Severity

_KINDS = ("absolute", "relative", "identity", "rate")
_DEFAULT = {"survival": Severity.ALARM, "performance": Severity.WARNING}


class LimitArrays:
    """n limits on channels, all arrays [n]. What is judged of an identity limit is 0 where the value is one of those allowed, else 1."""

    def __init__(self, limits: Sequence[BoundLimit], index: Callable[[str], int], code: Callable[[str], float]) -> None:
        n, specs = len(limits), [b.spec for b in limits]
        self.limits = list(limits)
        self.channel = np.array([index(b.channel) for b in limits], dtype=np.int64)
        self.reference = np.array([index(b.reference) if b.reference else -1 for b in limits], dtype=np.int64)
        self.constant = np.array([b.constant for b in limits], dtype=float)
        self.factor = np.array([s.factor for s in specs], dtype=float)
        self.kind = np.array([_KINDS.index(s.kind) for s in specs], dtype=np.int64)
        self.mask = np.array([s.mask or 0 for s in specs], dtype=np.int64)
        self.over, self.per = (np.array([getattr(s, k) for s in specs], dtype=float) for k in ("over_s", "per_s"))
        self.gap = np.array([s.gap_s or 10 * s.over_s for s in specs], dtype=float)
        self.anchor_time, self.anchor_value = np.full(n, np.nan), np.full(n, np.nan)
        most = max([1, *(len(s.equals) for s in specs)])
        allowed = [[code(v) if isinstance(v, str) else _number(v, code) for v in s.equals] for s in specs]
        self.allowed = np.array([[*a, *[np.nan] * (most - len(a))] for a in allowed], dtype=float).reshape(n, most)
        self.severity = np.array([_severities(s) for s in specs], dtype=np.int64).reshape(n, 4)
        self.x = np.full(n, np.nan)
        """What was judged last."""
        self.judged = np.zeros(n, dtype=bool)
        """Whether it was ever judged since it applies."""
        whole = {k: np.array([getattr(s.persistence, k) for s in specs], dtype=np.int64) for k in ("count", "of", "clear")}
        bounds = np.array([_bounds(s) for s in specs], dtype=float).reshape(n, 4)
        self.edges = Edges(bounds, np.array([s.hysteresis for s in specs], dtype=float), **whole)

    def extend(self, other: LimitArrays) -> None:
        """Add the limits of another one behind these."""
        for name, array in vars(other).items():
            if isinstance(array, np.ndarray):
                mine = getattr(self, name)
                if name == "allowed":
                    mine, array = _widened(mine, array.shape[1]), _widened(array, mine.shape[1])
                setattr(self, name, np.concatenate([mine, array]))
        self.limits += other.limits
        self.edges.extend(other.edges)

    def measure(self, which: Index, value: Floats, times: Floats, latest: Floats) -> tuple[Index, Index]:
        """What the limits `which` judge, of valid values [k] of their channels; `latest` are those that all channels have now, NaN where none.

        Returns those of them that have something to judge [m], its position in `which` [m].
        """
        x = value.copy()
        kind = self.kind[which]
        if (kind == 1).any():
            x = np.where(kind == 1, value - self.factor[which] * self._references(which, latest), x)
        if (kind == 2).any():
            x = np.where(kind == 2, self._not_allowed(which, value), x)
        if (rates := np.flatnonzero(kind == 3)).size:
            x[rates] = self._rates(which[rates], value[rates], times[rates])
        there = np.flatnonzero(np.isfinite(x))
        self.x[which[there]] = x[there]
        return which[there], there

    def _references(self, which: Index, latest: Floats) -> Floats:
        reference = self.reference[which]
        found: Floats = np.where(reference >= 0, latest[reference], self.constant[which])
        return found

    def _not_allowed(self, which: Index, value: Floats) -> Floats:
        mask = self.mask[which]
        whole = np.where(np.abs(value) < 2.0**53, value, 0).astype(np.int64)
        compared = np.where(mask > 0, (whole & mask).astype(float), value)
        return np.where((compared[:, None] == self.allowed[which]).any(axis=1), 0.0, 1.0)

    def _rates(self, which: Index, value: Floats, times: Floats) -> Floats:
        dt = times - self.anchor_time[which]
        due = dt >= self.over[which]
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.where(due & (dt <= self.gap[which]), (value - self.anchor_value[which]) / dt * self.per[which], np.nan)
        anew = due | np.isnan(dt)
        self.anchor_time[which[anew]], self.anchor_value[which[anew]] = times[anew], value[anew]
        return rate

    def reset(self, which: Index, *, violations: bool) -> None:
        """Forget what was seen of these limits: they do not apply any more (`violations` too), or there was a gap."""
        self.edges.forget(which, violations=violations)
        self.anchor_time[which] = np.nan
        self.judged[which] = False


def _number(value: bool | float, code: Callable[[str], float]) -> float:
    return code(str(value)) if isinstance(value, bool) else float(value)


def _widened(array: Floats, width: int) -> Floats:
    missing = width - array.shape[1]
    return np.pad(array, ((0, 0), (0, missing)), constant_values=np.nan) if missing > 0 else array


def _bounds(spec: LimitSpec) -> list[float]:
    if spec.kind == "identity":
        return [-np.inf, 0.5, -np.inf, np.inf]
    out = []
    for level in (spec.survival, spec.performance):
        low, high = level.range if level else (None, None)
        out += [-np.inf if low is None else low, np.inf if high is None else high]
    return out


def _severities(spec: LimitSpec) -> list[int]:
    if spec.kind == "identity":
        return [0, (spec.severity or Severity.ALARM).rank, 0, 0]
    out = []
    for name, level in (("survival", spec.survival), ("performance", spec.performance)):
        whole = (level.severity if level else None) or _DEFAULT[name]
        out += [_side(level, "low", whole).rank, _side(level, "high", whole).rank]
    return out


def _side(level: Level | None, side: str, whole: Severity) -> Severity:
    given: Severity | None = getattr(level, side) if level else None
    return given or whole
