"""The history: results that were stored, asked for by tag, nights, parts and flavors. The contract, with no I/O.

`quicklook.io.history.FileHistory` reads the merged QA files; a database does the same behind the same contract. What judges again, learns
limits or shows a metric over the last exposures takes a `History` and does not know which.
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from quicklook.core.keys import PartKey, Unit
from quicklook.core.metrics import Coord, label_of
from quicklook.core.results import MetricResult, PartResult, UnitVerdict
from quicklook.core.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which stored results are wanted. What is left empty does not select.

    Nights are YYYYMMDD, both ends included. `newest_first` goes by night and number of the exposure, then by the name of the part;
    of each result the latest revision alone is given, unless `all_revisions` (then latest first, whatever the order of exposures).
    """

    tag: str = "live"
    first_night: int | None = None
    last_night: int | None = None
    units: frozenset[Unit] = frozenset()
    parts: frozenset[str] = frozenset()
    flavors: frozenset[str] = frozenset()
    newest_first: bool = True
    all_revisions: bool = False

    def takes_night(self, night: int) -> bool:
        """Whether results of a night are wanted."""
        if self.units and night not in {u.night for u in self.units}:
            return False
        return (self.first_night is None or night >= self.first_night) and (self.last_night is None or night <= self.last_night)

    def takes_unit(self, unit: Unit) -> bool:
        """Whether results of an exposure are wanted, as far as its key says."""
        return self.takes_night(unit.night) and (not self.units or unit in self.units)

    def takes_part(self, part: str) -> bool:
        """Whether results of a part of that name are wanted."""
        return not self.parts or part in self.parts

    def takes_flavor(self, tags: Mapping[str, str]) -> bool:
        """Whether results with those tags are wanted."""
        return not self.flavors or tags.get("flavor", "") in self.flavors


@runtime_checkable
class History(Protocol):
    """Stored results. All of it is read only; iterators are lazy, so that a caller who has enough may stop."""

    @property
    def skipped(self) -> Sequence[str]:
        """What could not be read so far, each in a sentence that names it: it is left out of the results, never an error."""
        ...

    def nights(self, tag: str = "live") -> Sequence[int]:
        """Nights (YYYYMMDD) that may have results under a tag, oldest first."""
        ...

    def results(self, wanted: Selection) -> Iterator[PartResult]:
        """Results of parts."""
        ...

    def verdicts(self, wanted: Selection) -> Iterator[UnitVerdict]:
        """Verdicts of exposures; `parts` of the selection does not count here."""
        ...


def is_night(text: str) -> bool:
    """Whether it is a night as YYYYMMDD, of a day that there was."""
    if len(text) != 8 or not (text.isascii() and text.isdigit()):
        return False
    try:
        datetime.datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return False
    return True


def find_result(history: History, key: PartKey, *, tag: str = "live", revision: int | None = None) -> PartResult | None:
    """The result of one part, of its latest revision where none is named; None where there is none."""
    wanted = Selection(tag=tag, units=frozenset({key.unit}), parts=frozenset({key.part}), all_revisions=revision is not None)
    return next((r for r in history.results(wanted) if revision is None or r.revision == revision), None)


def find_verdict(history: History, unit: Unit, *, tag: str = "live", revision: int | None = None) -> UnitVerdict | None:
    """The verdict of one exposure, the latest where no revision is named; None where there is none."""
    wanted = Selection(tag=tag, units=frozenset({unit}), all_revisions=revision is not None)
    return next((v for v in history.verdicts(wanted) if revision is None or v.revision == revision), None)


def first_night_since(nights: Sequence[int], days: int) -> int | None:
    """The first night (YYYYMMDD) of the last `days` days, counted back from the newest night stored; None where there is none.

    Counted from the data and not from the clock, so that an archive may be asked as well as the night that is running.
    """
    for night in sorted(nights, reverse=True):
        try:
            newest = datetime.datetime.strptime(f"{night:08d}", "%Y%m%d").date()
            return int((newest - datetime.timedelta(days=max(days, 1) - 1)).strftime("%Y%m%d"))
        except (ValueError, OverflowError):
            continue  # night 0: exposures whose header has no date
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One element of a metric, as it was measured in one part of one exposure. `value` is NaN where it was not measured.

    `status` is the one it had when it was stored; None where it was not judged.
    `alarms` are the names of the metrics of that part that were ALARM: its own,
    and those of other QAs (what its own QA measures besides sees the same thing).
    """

    metric: str
    unit: str
    key: PartKey
    value: float
    coords: Mapping[str, Coord] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    status: Status | None = None
    alarms: frozenset[str] = frozenset()

    def label(self, name: str) -> str | None:
        """The coordinate or tag of that name, as limits compare it; None where there is none. A coordinate goes before a tag."""
        found = self.coords.get(name, self.tags.get(name))
        return None if found is None else label_of(found)


def samples(results: Iterable[PartResult | UnitVerdict], metrics: Collection[str] = (), *, most: int | None = None) -> Iterator[Sample]:
    """Every element of the metrics (default: of all, but those with more than `most` values) of results, in the order in which they come.

    Metrics that did not apply have none.

    Of the verdict of an exposure: the metrics of the exposure as a whole, whose part is "".
    """
    for result in results:
        every = [(qa.name, metric) for qa in result.qas for metric in qa.metrics]
        alarms = [(qa, metric.name) for qa, metric in every if metric.status is Status.ALARM]
        key = PartKey(Unit(result.night, result.expid), result.part if isinstance(result, PartResult) else "")
        for qa, metric in every:
            if metric.name in metrics or (not metrics and (most is None or len(metric.values) <= most)):
                counted = frozenset(name for other, name in alarms if other != qa or name == metric.name)
                yield from _elements(key, result.tags, metric, counted)


def _elements(key: PartKey, tags: Mapping[str, str], metric: MetricResult, alarms: frozenset[str]) -> Iterator[Sample]:
    places = itertools.product(*metric.coords.values())
    for at, value, status in zip(places, metric.values, metric.statuses, strict=False):
        yield Sample(
            metric=metric.name,
            unit=metric.unit,
            key=key,
            value=math.nan if value is None else value,
            coords=dict(zip(metric.coords, at, strict=True)),
            tags=tags,
            status=status,
            alarms=alarms,
        )
