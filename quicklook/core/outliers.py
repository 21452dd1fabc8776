"""Each exposure judged against limits that were learned from the others, and what is out explained. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quicklook.core.history import Sample
from quicklook.core.judge import number
from quicklook.core.keys import Unit
from quicklook.core.learn import GroupKey, Learned, LearnSettings, Lesson, Refused, group_key, labels_by_metric, learn, spreads
from quicklook.core.limitstext import labels, to_limit
from quicklook.core.status import Status

BLOCKS = 100
"""So many times it is learned at most; of more exposures several that follow each other are left out together."""
TOGETHER = 2.5
"""In spreads: a value this far off, on the same side and in the same exposure, is counted as moving together."""
UNSTABLE = 3.0
"""A group that scatters by so many times the spread of those alike is called unstable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A value outside of the range learned from the other exposures. `sigmas`: by how many spreads it lies off, with its sign."""

    sample: Sample
    limit: Learned
    status: Status
    sigmas: float

    @property
    def change(self) -> float:
        """Relative to the median of the others; NaN where that is 0 within its spread."""
        near_zero = abs(self.limit.centre) <= 3.0 * max(self.limit.low, self.limit.high)
        return math.nan if near_zero else self.sample.value / self.limit.centre - 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """All that is odd with one group of values (as one amplifier): what is out, worst first, and why, in sentences."""

    metric: str
    unit: str
    when: Mapping[str, str]
    status: Status
    outliers: tuple[Outlier, ...]
    values: tuple[tuple[Unit, float], ...]
    why: tuple[str, ...]

    @property
    def label(self) -> str:
        """``read_noise of camera b3, amp C``."""
        return f"{self.metric} of {labels(self.when)}" if self.when else self.metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of judging each exposure by the others. `judged` values in `groups` groups of `exposures` exposures."""

    findings: tuple[Finding, ...]
    refused: tuple[Refused, ...]
    judged: int
    groups: int
    exposures: int


def try_each(samples: Sequence[Sample], settings: LearnSettings) -> Trial:
    """Judge the values of each exposure by limits learned from all other exposures, and explain what is out.

    Raises BadConfig as `learn`. A value that is NaN is not judged; of a group that is refused nothing is.
    """
    units, by = sorted({s.key.unit for s in samples}), labels_by_metric(samples, settings)
    size = max(1, math.ceil(len(units) / BLOCKS))
    scores: dict[GroupKey, list[Outlier]] = {}
    refused: dict[GroupKey, Refused] = {}
    for start in range(0, len(units), size):
        block = frozenset(units[start : start + size])
        lesson = learn([s for s in samples if s.key.unit not in block], settings, by=by)
        limits = {(one.metric, tuple(one.when.items())): one for one in lesson.learned}
        refused |= {(one.metric, tuple(one.when.items())): one for one in lesson.refused}
        for sample in samples:
            key = group_key(sample, by[sample.metric])
            if sample.key.unit in block and math.isfinite(sample.value) and key in limits:
                scores.setdefault(key, []).append(_judged(sample, limits[key]))
    findings = _findings(scores, learn(samples, settings, by=by))
    judged = sum(len(each) for each in scores.values())
    return Trial(findings=findings, refused=tuple(refused.values()), judged=judged, groups=len(scores), exposures=len(units))


def _judged(sample: Sample, limit: Learned) -> Outlier:
    off = sample.value - limit.centre
    spread = limit.high if off > 0 else limit.low
    sigmas = off / spread if spread > 0 else math.copysign(math.inf, off) if off else 0.0
    return Outlier(sample=sample, limit=limit, status=to_limit(limit).judge(sample.value), sigmas=sigmas)


def _findings(scores: Mapping[GroupKey, Sequence[Outlier]], lesson: Lesson) -> tuple[Finding, ...]:
    whole = {(one.metric, tuple(one.when.items())): one for one in lesson.learned}
    found = []
    for key, each in scores.items():
        out = sorted((o for o in each if o.status is not Status.NORMAL), key=lambda o: (-o.status.severity, -abs(o.sigmas)))
        why = _why(key, each, out, scores, whole.get(key))
        if out or (why and key in whole):
            status = out[0].status if out else Status.NORMAL
            values = tuple(sorted((o.sample.key.unit, o.sample.value) for o in each))
            metric, when = key[0], dict(key[1])
            found.append(
                Finding(metric=metric, unit=each[0].sample.unit, when=when, status=status, outliers=tuple(out), values=values, why=tuple(why))
            )
    return tuple(sorted(found, key=lambda f: (-f.status.severity, -max((abs(o.sigmas) for o in f.outliers), default=0.0))))


def _why(
    key: GroupKey, each: Sequence[Outlier], out: Sequence[Outlier], scores: Mapping[GroupKey, Sequence[Outlier]], whole: Learned | None
) -> list[str]:
    said = [s for s in (_levels(each) or _alone(each, out), *(_together(key, o, scores) for o in out)) if s] if out else []
    scatter, arm = _scatter(each), each[0].sample.label("arm")
    if whole is not None and whole.pool > 0 and scatter / whole.pool > UNSTABLE:
        alike = f"the median of arm {arm}" if arm else "the median of all"
        said.append(f"it is unstable: it scatters by {_spread_words(scatter, whole.centre)}, {number(scatter / whole.pool, 2)} times {alike}")
    return said


def _scatter(each: Sequence[Outlier]) -> float:
    """Half the distance from the second lowest to the second highest value: one odd value is not unstable, two are."""
    values = sorted(o.sample.value for o in each)
    return 0.5 * (values[-2] - values[1]) if len(values) > 3 else 0.0


def _levels(each: Sequence[Outlier]) -> str:
    """Whether the values lie at two levels, and which; "" if not. A level has two values at least, but the first and the last may stand alone."""
    ordered = sorted(each, key=lambda o: o.sample.value)
    values = np.array([o.sample.value for o in ordered])
    gaps = np.diff(values)
    cut = int(np.argmax(gaps)) + 1
    low, high = values[:cut], values[cut:]
    inner = max(float(np.ptp(low)), float(np.ptp(high)))
    if gaps[cut - 1] < 3.0 * max(inner, 1e-12):
        return ""
    by_time = [o.sample.value >= high[0] for o in sorted(each, key=lambda o: o.sample.key.unit)]
    switches = sum(a is not b for a, b in itertools.pairwise(by_time))
    levels = f"{number(float(np.median(low)))} ({low.size} of {values.size} exposures) and {number(float(np.median(high)))} ({high.size})"
    if switches == 1 and by_time[0] != by_time[1]:
        return f"only the first exposure differs, from the second on it is steady: levels {levels}"
    if switches == 1:
        return f"it has changed once and stayed: levels {levels}"
    return f"it jumps between two levels, {levels}" if min(low.size, high.size) > 1 else ""


def _alone(each: Sequence[Outlier], out: Sequence[Outlier]) -> str:
    n = len({o.sample.key.unit for o in each})
    bad = len({o.sample.key.unit for o in out})
    rest = spreads(np.array([o.sample.value for o in each if o not in out])) if len(each) > len(out) else None
    steady = f"; the others scatter by {_spread_words(rest[1], rest[0])} (1 sigma) about {number(rest[0])}" if rest else ""
    return f"it is out in {bad} of {n} exposures{steady}"


def _spread_words(sigma: float, centre: float) -> str:
    """In per cent, unless the centre is near 0."""
    return f"{number(100 * sigma / abs(centre), 2)} %" if abs(centre) > 3.0 * sigma else number(sigma, 2)


def _together(key: GroupKey, outlier: Outlier, scores: Mapping[GroupKey, Sequence[Outlier]]) -> str:
    """Other groups of the same part that have moved in the same exposure to the same side; "" if there are none."""
    sample = outlier.sample
    alike = []
    for other, each in scores.items():
        if other == key or other[0] != key[0]:
            continue
        for one in each:
            same = one.sample.key == sample.key and one.sigmas * outlier.sigmas > 0
            if same and abs(one.sigmas) >= TOGETHER:
                differs = [f"{k} {v}" for (k, v), mine in zip(other[1], key[1], strict=False) if (k, v) != mine]
                alike.append(f"{' '.join(differs)} ({one.sigmas:+.1f} sigma)")
    if not alike:
        return ""
    return f"in exposure {sample.key.unit.expid} it has moved together with {', '.join(alike)}: that points to a cause common to {sample.key.part}"
