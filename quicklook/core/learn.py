"""Limits from history: robust ranges of what was measured, with the number of exposures that each rests on. Pure.

For each group of values (as of one amplifier) the centre is the median, and the spread that of most of the values, not of all: from few
values 1.4826 times the median absolute deviation (with the factor for small numbers of Croux and Rousseeuw 1992), from many the percentiles
16 and 84 on either side of the centre, and from very many those at 2.3 and 97.7 too, so that long tails widen the range. What lies beyond
`FAR` spreads is no tail but a fault: it is left out before percentiles are taken, and tails at most double a spread, so that a few bad exposures
move neither. The spread of few values is itself uncertain: it is drawn towards the median spread of the groups alike (same metric, same
arm), as if that were known from `PRIOR` further values, or, where there are none alike, multiplied by a factor (`alone_factor`); and the next
value is looked for in a range that is wider by sqrt(1 + pi/(2 n)), for the centre is a median of n values. Exposures that were ALARM for a
metric of another QA are left out; those that were ALARM for this one, or for what the same QA measures, are not, or no limit could ever be
found too narrow.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quicklook.core.errors import BadConfig, BadData
from quicklook.core.history import Sample
from quicklook.core.keys import Unit
from quicklook.core.metrics import label_of

FEWEST = 5
"""With fewer exposures nothing is learned, whatever is asked for: one bad one in four would be a quarter of them."""
PRIOR = 4.0
_ONE_SIGMA, _TWO_SIGMA = (15.865, 84.135), (2.275, 97.725)
_SIDES_FROM, _TAILS_FROM = 50, 200
"""Numbers of values from which percentiles of either side, and of the tails, are taken."""
FAR = 10.0
"""In spreads: what lies farther off is no part of the distribution. Of an exponential one that is 1 value in 180,000."""
_TAILS_MOST = 2.0
"""Tails widen a spread to so many times at most; those of a lognormal distribution of 1 sigma ask for 1.86."""
LARGEST = 1e100
"""Larger values are no measure of anything, and sums of them overflow."""
_NAMED = 3
"""Metrics whose alarms have left exposures out are named up to that number, the most frequent first."""
MANY_PLACES = 16
"""A dimension with more places than that (fibres, lines) is not split by default: its places share their limits."""

_FEW = {2: 1.196, 3: 1.495, 4: 1.363, 5: 1.206, 6: 1.200, 7: 1.140, 8: 1.129, 9: 1.107}
"""By which the median absolute deviation of so few values is too small on average (Croux and Rousseeuw 1992, Computational Statistics 1, 411)."""

_ALONE = {5: 5.75, 6: 2.70, 7: 2.70, 8: 1.90, 9: 1.90, 10: 1.56, 12: 1.37, 15: 1.25, 20: 1.07, 25: 1.0}
"""By number of values: the factor by which 1 healthy value in 450 lies outside of 4 spreads (400,000 Gaussian samples of each number)."""
_ALIKE, _ENOUGH = 3, 24
"""Numbers of groups alike from which their median spread counts, and from which it is as good as known."""

GroupKey = tuple[str, tuple[tuple[str, str], ...]]
"""Name of the metric, and the labels of the group by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnSettings:
    """How limits are learned.

    `by` are the tags and dimensions whose values get limits of their own. `normal` and `warning` are half widths of the ranges in spreads (4 leaves
    out one healthy value in ten thousand). `at_least` exposures are needed. `narrowest` is the least half width of the normal range as a fraction of
    the centre; the warning range is as much wider as `warning` is than `normal`.
    """

    by: tuple[str, ...] = ()
    normal: float = 4.0
    warning: float = 6.0
    at_least: int = 20
    narrowest: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (self.normal, self.warning, self.narrowest)) or self.narrowest < 0:
            widths = f"normal {self.normal:g}, warning {self.warning:g} spreads, narrowest {100 * self.narrowest:g} %"
            raise BadConfig(f"the widths of the ranges must be finite, and the narrowest not negative, got {widths}")
        if not 0 < self.normal <= self.warning:
            raise BadConfig(f"the normal range ({self.normal:g} spreads) must be positive and no wider than the warning range ({self.warning:g})")
        if self.at_least < FEWEST:
            raise BadConfig(f"limits are not learned from fewer than {FEWEST} exposures, {self.at_least} were asked for")


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The proposed limit of one group. `low`, `high`: spread (1 sigma) on either side of `centre`; `own`: as measured in this group alone,
    `pool`: the median of those of the groups alike (NaN where there are fewer than three); `factor`: by which the spread was multiplied, for it
    is that of few values alone.

    Of the `values` it rests on `beyond` lie below and above the normal range; `left_out` exposures were ALARM for another metric.
    """

    metric: str
    unit: str
    when: Mapping[str, str]
    centre: float
    low: float
    high: float
    own: float
    pool: float
    normal: tuple[float, float]
    warning: tuple[float, float]
    exposures: int
    values: int
    beyond: tuple[int, int]
    left_out: int
    nights: tuple[int, int]
    factor: float = 1.0

    @property
    def outside(self) -> int:
        """How many of the values lie outside of the normal range."""
        return sum(self.beyond)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A group from which nothing was learned, and why. `constant`: not for the number of its exposures, but for their values."""

    metric: str
    when: Mapping[str, str]
    why: str
    exposures: int
    constant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What was learned, and what was not."""

    learned: tuple[Learned, ...]
    refused: tuple[Refused, ...]


@dataclass(slots=True)
class _Values:
    """Values of a group, as they are gathered."""

    unit: str = ""
    values: list[float] = field(default_factory=list)
    units: set[Unit] = field(default_factory=set)
    left_out: set[Unit] = field(default_factory=set)
    culprits: Counter[str] = field(default_factory=Counter)
    pool: str = ""


def labels_of(samples: Sequence[Sample]) -> dict[str, tuple[str, ...]]:
    """By default: for each metric the tags and dimensions that get limits of their own: flavor, camera, and each dimension with few places."""
    places: dict[str, dict[str, set[str]]] = {}
    for sample in samples:
        mine = places.setdefault(sample.metric, {})
        for name in ("flavor", "camera"):
            if name in sample.tags:
                mine.setdefault(name, set()).add(sample.tags[name])
        for name, coord in sample.coords.items():
            mine.setdefault(name, set()).add(label_of(coord))
    return {metric: tuple(n for n, seen in each.items() if n in ("flavor", "camera") or len(seen) <= MANY_PLACES) for metric, each in places.items()}


def refused_words(refused: Sequence[Refused], settings: LearnSettings) -> list[str]:
    """What was not learned, in a sentence for each metric and cause, and for a single group one that names it."""
    found: dict[tuple[str, bool], list[Refused]] = {}
    for one in refused:
        found.setdefault((one.metric, one.constant), []).append(one)
    said = []
    for (metric, constant), each in found.items():
        counts = sorted(r.exposures for r in each)
        seen = f"{counts[0]} to {counts[-1]}" if counts[0] != counts[-1] else f"{counts[0]}"
        if len(each) == 1:
            place = ", ".join(f"{k} {v}" for k, v in each[0].when.items())
            said.append(f"{metric}{' of ' + place if place else ''}: {each[0].why}")
        elif constant:
            said.append(f"{metric}: in {len(each)} groups most values are the same, or no measure: nothing to learn from; write their limits by hand")
        else:
            said.append(f"{metric}: {len(each)} groups were measured in {seen} exposures each, at least {settings.at_least} are needed")
    return said


def labels_by_metric(samples: Sequence[Sample], settings: LearnSettings) -> dict[str, tuple[str, ...]]:
    """For each metric the labels that its limits go by. Raises BadConfig for one that no sample has."""
    for name in settings.by:
        if samples and all(s.label(name) is None for s in samples):
            known = sorted({n for s in samples for n in (*s.coords, *s.tags)})
            raise BadConfig(f"no value has a label {name!r} to learn by; known: {', '.join(known)}")
    return {s.metric: settings.by for s in samples} if settings.by else labels_of(samples)


def learn(samples: Iterable[Sample], settings: LearnSettings | None = None, *, by: Mapping[str, tuple[str, ...]] | None = None) -> Lesson:
    """Limits from samples (of any table of metric, coordinates, value and exposure).

    `by` are the labels of each metric, where they are known already (see `labels_by_metric`). Raises BadConfig for a label that no sample
    has, BadData where a metric has two units.
    """
    given, settings = list(samples), settings or LearnSettings()
    groups = _gather(given, by if by is not None else labels_by_metric(given, settings))
    learned, refused = [], []
    pools = _pools(groups)
    for key, group in groups.items():
        metric, when = key[0], dict(key[1])
        few = len(group.units) < settings.at_least
        why = _few(group, settings) if few else _useless(group, settings)
        if why:
            refused.append(Refused(metric=metric, when=when, why=why, exposures=len(group.units), constant=not few))
        else:
            learned.append(_learn_one(metric, when, group, pools[metric, group.pool], settings))
    return Lesson(learned=tuple(learned), refused=tuple(refused))


def group_key(sample: Sample, by: Sequence[str]) -> GroupKey:
    """The group that a sample belongs to; a label that it has not is left out."""
    return sample.metric, tuple((name, label) for name in by if (label := sample.label(name)) is not None)


def _gather(samples: Sequence[Sample], by: Mapping[str, tuple[str, ...]]) -> dict[GroupKey, _Values]:
    groups: dict[GroupKey, _Values] = {}
    for sample in samples:
        key = group_key(sample, by[sample.metric])
        group = groups.setdefault(key, _Values(unit=sample.unit, pool=sample.label("arm") or ""))
        if group.unit != sample.unit:
            units = f"{sample.unit!r} and {group.unit!r}"
            raise BadData(f"{sample.metric} is in {units} (as in {sample.key}); select the nights in which it has one unit")
        if others := sample.alarms - {sample.metric}:
            group.left_out.add(sample.key.unit)
            group.culprits.update(others)
        elif math.isfinite(sample.value):
            group.values.append(sample.value)
            group.units.add(sample.key.unit)
    return groups


def _few(group: _Values, settings: LearnSettings) -> str:
    n = len(group.left_out)
    others = ", ".join(name for name, _ in group.culprits.most_common(_NAMED))
    more = f" ({n} more {'was' if n == 1 else 'were'} ALARM for another metric: {others})" if n else ""
    return f"it was measured in {len(group.units)} exposures{more}, at least {settings.at_least} are needed"


def _useless(group: _Values, settings: LearnSettings) -> str:
    """Why values are none to learn from, however many; "" if they are."""
    values = np.array(group.values)
    if (largest := float(np.abs(values).max())) > LARGEST:
        return f"its values reach {largest:g}, which no limit can be made of; look at what measures it"
    if not settings.narrowest and max(spreads(values)[1:]) == 0:
        return f"most of its {values.size} values are {float(np.median(values)):g}: there is no spread to learn from; write its limit by hand"
    return ""


def spreads(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Centre and the robust spreads (1 sigma) below and above it, from the values alone (see the module)."""
    centre = float(np.median(values))
    if values.size < _SIDES_FROM:
        mad = 1.4826 * few_factor(values.size) * float(np.median(np.abs(values - centre)))
        return centre, mad, mad
    low, high = _sides(values, centre, _ONE_SIGMA)
    near = values[(values >= centre - FAR * (low or high)) & (values <= centre + FAR * (high or low))]
    low, high = _sides(near, centre, _ONE_SIGMA)
    if values.size >= _TAILS_FROM:
        tails = _sides(near, centre, _TWO_SIGMA)
        low, high = (max(s, min(tail / 2.0, _TAILS_MOST * (s or other))) for s, other, tail in zip((low, high), (high, low), tails, strict=True))
    return centre, low, high


def _sides(values: npt.NDArray[np.float64], centre: float, cuts: tuple[float, float]) -> tuple[float, float]:
    """How far two percentiles lie below and above the centre."""
    below, above = np.percentile(values, cuts)
    return max(0.0, float(centre - below)), max(0.0, float(above - centre))


def alone_factor(n: int, alike: int = 1) -> float:
    """By which the spread of n values is to be multiplied where little else is known of it: as Student's t, for robust spreads.

    Of `alike` groups that tell the spread too, ever less; with `_ENOUGH` of them the factor is 1.
    """
    known = 0.0 if alike < _ALIKE else 1.0 - max(0.0, 1.0 / alike - 1.0 / _ENOUGH)
    return 1.0 + (1.0 - known) * (float(np.interp(n, list(_ALONE), list(_ALONE.values()))) - 1.0)


def few_factor(n: int) -> float:
    """By which the median absolute deviation of n values is to be multiplied for its bias."""
    return _FEW.get(n, n / (n - 0.8))


def _pools(groups: Mapping[GroupKey, _Values]) -> dict[tuple[str, str], tuple[float, int]]:
    """Median spread of the groups alike, by metric and arm, and their number; NaN where there are fewer than three."""
    found: dict[tuple[str, str], list[float]] = {}
    for (metric, _), group in groups.items():
        mine = found.setdefault((metric, group.pool), [])
        if len(group.values) >= FEWEST:
            _, low, high = spreads(np.array(group.values))
            mine.append(math.hypot(low, high) / math.sqrt(2.0))
    return {key: (float(np.median(each)) if len(each) >= _ALIKE else math.nan, len(each)) for key, each in found.items()}


def _shrunk(own: float, pool: float, n: int) -> float:
    if math.isnan(pool):
        return own
    return math.sqrt(((n - 1) * own**2 + PRIOR * pool**2) / (n - 1 + PRIOR))


def _learn_one(metric: str, when: Mapping[str, str], group: _Values, alike: tuple[float, int], settings: LearnSettings) -> Learned:
    values = np.array(group.values)
    centre, below, above = spreads(values)
    pool, factor = alike[0], alone_factor(values.size, alike[1])
    wider = factor * math.sqrt(1.0 + math.pi / (2.0 * values.size))
    low, high = (_shrunk(s, pool, values.size) * wider for s in (below, above))
    least = settings.narrowest * abs(centre) / settings.normal
    low, high = max(low, least), max(high, least)
    step = _step(max(low, high))
    ranges = [_range(centre, k * low, k * high, step, never_negative=bool(values.min() >= 0)) for k in (settings.normal, settings.warning)]
    nights = sorted(u.night for u in group.units)
    return Learned(
        metric=metric,
        unit=group.unit,
        when=when,
        centre=centre,
        low=low,
        high=high,
        own=max(below, above),
        pool=pool,
        normal=ranges[0],
        warning=ranges[1],
        exposures=len(group.units),
        values=values.size,
        beyond=(int((values < ranges[0][0]).sum()), int((values > ranges[0][1]).sum())),
        left_out=len(group.left_out),
        nights=(nights[0], nights[-1]),
        factor=factor,
    )


def _step(spread: float) -> float:
    """A power of ten well below the spread: ends of ranges are rounded to it, for a person reads them."""
    return 10.0 ** (math.floor(math.log10(spread)) - 1) if spread > 0 else 0.0


def _range(centre: float, below: float, above: float, step: float, *, never_negative: bool) -> tuple[float, float]:
    """The range, rounded outward; what was never negative may not become so."""
    low, high = centre - below, centre + above
    if step > 0:
        digits = max(0, -math.floor(math.log10(step) + 0.5))
        low, high = round(math.floor(low / step) * step, digits), round(math.ceil(high / step) * step, digits)
    return (max(low, 0.0) if never_negative else low), high
