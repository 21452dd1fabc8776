"""Why a stored metric has the status that it has: what was measured, which limit decided, on what it rests, how it was before.

From stored results alone, through a `History`; the site is asked for its present limits and for nothing else.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from quicklook.core.calibration import CalibrationUsed
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.history import History, Selection, find_verdict
from quicklook.core.keys import PartKey, Unit
from quicklook.core.limits import Limit, LimitSet
from quicklook.core.metrics import Coord
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.registry import registered
from quicklook.core.results import Cause, MetricResult, PartResult, Provenance, QAResult, UnitVerdict
from quicklook.core.status import Status

LAST = 10
"""So many exposures are shown, this one included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element of a metric: where, its value (NaN: not measured), status (None: not judged), the index of its limit, what is said of it."""

    at: tuple[Coord, ...]
    value: float
    status: Status | None
    limit: int | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The metric in one exposure, at one place; NaN where it was not measured there. `status` is that of the whole metric."""

    unit: Unit
    value: float
    status: Status | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All that is known of one metric of one part (of the whole exposure where the part is "").

    `others` are the limits that could have judged it in place of the one that decided, as they stand in the site's files now, the next in line
    first. `causes` are what has likely led to it, the likeliest first. `place` is where the values of `last` were taken (the last one is this
    exposure), `folder` has the files of the exposure.
    """

    key: PartKey
    tag: str
    revision: int
    tags: Mapping[str, str]
    qa: QAResult
    metric: MetricResult
    about: str
    overridden: str = ""
    provenance: Provenance | None = None
    others: tuple[Limit, ...] = ()
    limits_changed: bool = False
    causes: tuple[Cause, ...] = ()
    place: Mapping[str, Coord] = field(default_factory=dict)
    last: tuple[Before, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def elements(self) -> list[Element]:
        """The elements of the metric, the worst first; of those of one status the one that decided, then in order of the values."""
        found = list(_elements(self.metric))
        decisive = found[self.metric.worst].at if self.metric.worst is not None else None
        return sorted(found, key=lambda e: (-(e.status.severity if e.status else -1), e.at != decisive))

    @property
    def calibrations(self) -> Sequence[CalibrationUsed]:
        """Those that the part was processed with."""
        return self.provenance.calibrations if self.provenance is not None else ()


def explain(history: History, limits: LimitSet, *, tag: str, exposure: str, part: str, metric: str) -> Explanation:
    """Explain a metric of a part; `part` may be "" for one of the exposure as a whole, or where the exposure has one part alone.

    `exposure` is NIGHT/EXPID, or EXPID where one night alone has it. Raises BadConfig or BadData, with what is there, for what is not known.
    """
    unit = find_unit(history, tag, exposure)
    verdict = find_verdict(history, unit, tag=tag)
    results = {r.part: r for r in history.results(Selection(tag=tag, units=frozenset({unit})))}
    if not results and verdict is None:
        what_next = "; ".join(history.skipped) or "Process it again."
        raise BadData(f"exposure {unit} has no result that can be read under tag {tag!r}", what_next=what_next)
    if not part:
        whole = _found(verdict.qas, metric) if verdict is not None else None
        if verdict is not None and whole is not None:
            return replace(_of_whole(history, limits, verdict, results, *whole), causes=_causes(verdict, part, metric))
        part = _only_part(results, verdict, unit, metric)
    if part not in results:
        raise BadConfig(f"exposure {unit} has no results of {part!r}; it has: {_names(results)}", what_next="Name one of these.")
    found = _found(results[part].qas, metric)
    if found is None:
        raise _unknown_metric(results[part], verdict, metric)
    return replace(_of_part(history, limits, results[part], *found), causes=_causes(verdict, part, metric))


def _causes(verdict: UnitVerdict | None, part: str, metric: str) -> tuple[Cause, ...]:
    causes = verdict.causes if verdict is not None else ()
    return tuple(c for c in causes if any((s.part, s.metric) == (part, metric) for s in c.spoiled))


def find_unit(history: History, tag: str, text: str) -> Unit:
    """The exposure that a person means. Raises BadConfig: no number, or one of several nights; BadData: not there, with the nearest ones."""
    try:
        wanted = Unit.parse(text, night=None if "/" in text else 0)
    except ValueError as error:
        raise BadConfig(str(error), what_next="Write NIGHT/EXPID, or EXPID alone.") from error
    there = sorted({Unit(r.night, r.expid) for r in _all_units(history, tag)})
    if not there:
        raise nothing_under(history, tag)
    found = [u for u in there if u == wanted] if "/" in text else [u for u in there if u.expid == wanted.expid]
    if len(found) > 1:
        raise BadConfig(f"exposure {text} is of {len(found)} nights: {_names(map(str, found))}", what_next="Name the night: NIGHT/EXPID.")
    if not found:
        near = sorted(there, key=lambda u: (u.night != wanted.night and "/" in text, abs(u.expid - wanted.expid)))[:3]
        what_next = f"The nearest ones are {_names(map(str, near))}; or check the tag (--tag) and the output folder."
        raise BadData(f"exposure {text} has no results under tag {tag!r}", what_next=what_next)
    return found[0]


def nothing_under(history: History, tag: str) -> BadData:
    """The error where a tag has no results: it names the tags that have some."""
    tags = getattr(history, "tags", None)  # of results on files
    known = tuple(tags()) if tags is not None else ()
    what_next = "Check the output folder (--out or --site) and the tag (--tag)."
    if len(known) == 1:
        what_next = f"The one tag that has results there is {known[0]!r}: give --tag {known[0]}."
    elif known:
        what_next = f"These tags have results there: {_names(known)}. Give one with --tag."
    return BadData(f"there are no results under tag {tag!r}", what_next=what_next)


def _all_units(history: History, tag: str) -> Iterator[Unit]:
    """Exposures that have results; read from the names of folders where the history can tell without opening a file."""
    units = getattr(history, "units", None)
    if units is not None:
        yield from units(Selection(tag=tag))
        return
    yield from (Unit(v.night, v.expid) for v in history.verdicts(Selection(tag=tag)))


def _names(names: Iterator[str] | Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(names) or "none"


def qa_of(metric: str) -> type[MonitoringAlg[object]] | None:  # type: ignore[type-var]
    """The class of the QA that measures a metric; None where none that is installed does."""
    plugins = (ref.load() for ref in registered("qa").values())
    return next((p for p in plugins if any(m.name == metric for m in p.metrics)), None)


def _found(qas: Sequence[QAResult], metric: str) -> tuple[QAResult, MetricResult] | None:
    """The metric and its QA. One whose QA did not apply has no metrics; then it is said why."""
    for qa in qas:
        for one in qa.metrics:
            if one.name == metric:
                return qa, one
    plugin = qa_of(metric)
    for qa in qas:
        if plugin is not None and qa.name == plugin.name and qa.not_applicable is not None:
            declared = next(m for m in plugin.metrics if m.name == metric)
            coords: dict[str, list[Coord]] = {d: [] for d in declared.dims}
            about = {"name": metric, "unit": declared.unit, "doc": declared.doc, "coords": coords}
            return qa, MetricResult(**about, values=[], status=None, statuses=[], not_applicable=qa.not_applicable)
    return None


def _only_part(results: Mapping[str, PartResult], verdict: UnitVerdict | None, unit: Unit, metric: str) -> str:
    having = [name for name, result in results.items() if _found(result.qas, metric) is not None]
    if len(having) == 1:
        return having[0]
    if not having:
        raise _unknown_metric(None, verdict, metric, results)
    raise BadConfig(f"{metric} of exposure {unit} was measured in {_names(having)}", what_next="Name one of these before the metric.")


def _unknown_metric(
    result: PartResult | None, verdict: UnitVerdict | None, metric: str, results: Mapping[str, PartResult] | None = None
) -> BadConfig:
    shown = [result] if result is not None else list((results or {}).values())
    names = {m.name for r in shown for q in r.qas for m in q.metrics}
    whole = {m.name for q in (verdict.qas if verdict is not None else ()) for m in q.metrics}
    if result is not None and verdict is not None and _found(verdict.qas, metric) is not None:
        return BadConfig(f"{metric} is measured of the exposure as a whole", what_next="Leave the camera out.")
    near = difflib.get_close_matches(metric, sorted(names | whole), n=3, cutoff=0.5)
    where = f"{result.part}, exposure {Unit(result.night, result.expid)}" if result is not None else "this exposure"
    plugin = qa_of(metric)
    why = "no QA that is installed measures it"
    if plugin is not None:
        why = f"QA {plugin.name}, which measures it, is in no step of chain {_chain(shown)}"
    hint = f"Did you mean {' or '.join(near)}?" if near else "`quicklook list metrics` shows all metrics."
    return BadConfig(f"{where} has no metric {metric!r}: {why}", what_next=hint)


def _chain(results: Sequence[PartResult]) -> str:
    return _names(sorted({r.provenance.chain for r in results}))


def _about(metric: str) -> str:
    plugin = qa_of(metric)
    return inspect.cleandoc(plugin.__doc__ or "") if plugin is not None else ""


def _of_part(history: History, limits: LimitSet, result: PartResult, qa: QAResult, metric: MetricResult) -> Explanation:
    key = PartKey(Unit(result.night, result.expid), result.part)
    place = _place(metric)
    wanted = _until(key.unit, result.tag, result.tags, parts=frozenset({result.part}))
    earlier = ((Unit(r.night, r.expid), r.qas) for r in history.results(wanted))
    return Explanation(
        key=key,
        tag=result.tag,
        revision=result.revision,
        tags=result.tags,
        qa=qa,
        metric=metric,
        about=_about(metric.name),
        overridden=result.override.sentence if result.override is not None else "",
        provenance=result.provenance,
        others=_others(limits, metric),
        limits_changed=result.provenance.limits_sha256 != limits.sha256,
        place=place,
        last=_last(earlier, key.unit, metric.name, place),
        skipped=tuple(history.skipped),
    )


def _of_whole(
    history: History, limits: LimitSet, verdict: UnitVerdict, results: Mapping[str, PartResult], qa: QAResult, metric: MetricResult
) -> Explanation:
    unit, place = Unit(verdict.night, verdict.expid), _place(metric)
    earlier = ((Unit(v.night, v.expid), v.qas) for v in history.verdicts(_until(unit, verdict.tag, verdict.tags)))
    one = next(iter(results.values()), None)
    provenance = None if one is None else one.provenance.model_copy(update={"calibrations": []})  # they are those of its parts
    return Explanation(
        key=PartKey(unit, ""),
        tag=verdict.tag,
        revision=verdict.revision,
        tags=verdict.tags,
        qa=qa,
        metric=metric,
        about=_about(metric.name),
        overridden=next((o.sentence for o in reversed(verdict.overrides) if not o.part), ""),
        provenance=provenance,
        others=_others(limits, metric),
        limits_changed=provenance is not None and provenance.limits_sha256 != limits.sha256,
        place=place,
        last=_last(earlier, unit, metric.name, place),
        skipped=tuple(history.skipped),
    )


def _until(unit: Unit, tag: str, tags: Mapping[str, str], parts: frozenset[str] = frozenset()) -> Selection:
    flavor = tags.get("flavor", "")
    return Selection(tag=tag, last_night=unit.night, parts=parts, flavors=frozenset({flavor} if flavor else ()))


def _elements(metric: MetricResult) -> Iterator[Element]:
    remarks = {tuple(r.at): r.text for r in metric.remarks}
    limit_of = metric.limit_of or [None] * len(metric.values)
    places = itertools.product(*metric.coords.values())
    for at, value, status, limit in zip(places, metric.values, metric.statuses, limit_of, strict=False):
        yield Element(at=at, value=math.nan if value is None else value, status=status, limit=limit, remark=remarks.get(at, ""))


def _place(metric: MetricResult) -> dict[str, Coord]:
    """Where the metric is followed through the exposures: at the element that decided, else at the first."""
    if not metric.values:
        return {}
    at = next(itertools.islice(itertools.product(*metric.coords.values()), metric.worst or 0, None))
    return dict(zip(metric.coords, at, strict=True))


def _last(earlier: Iterator[tuple[Unit, Sequence[QAResult]]], unit: Unit, name: str, place: Mapping[str, Coord]) -> tuple[Before, ...]:
    """The metric at that place in the last exposures up to this one, the oldest first; `earlier` come newest first."""
    found: list[Before] = []
    for each, qas in earlier:
        metric = next((m for q in qas for m in q.metrics if m.name == name and m.not_applicable is None), None)
        if each <= unit and metric is not None:
            value = next((e.value for e in _elements(metric) if dict(zip(metric.coords, e.at, strict=True)) == place), math.nan)
            found.append(Before(unit=each, value=value, status=metric.status))
        if len(found) == LAST:
            break
    return tuple(reversed(found))


def _others(limits: LimitSet, metric: MetricResult) -> tuple[Limit, ...]:
    """The limits that were in line behind the one that decided, as they stand now; those that are no longer there are left out."""
    deciding = metric.deciding
    now = {limit.source: limit for limit in limits.of(metric.name)}
    return tuple(now[source] for source in (deciding.others if deciding is not None else ()) if source in now)


def picture(folder: Path, name: str, key: PartKey) -> Path:
    """Where the picture of a plot lies, drawn or not."""
    return folder / "plots" / f"{'-'.join(filter(None, (name, key.part, f'{key.unit.expid:08d}')))}.png"


def plot_data(folder: Path, key: PartKey) -> Path:
    """Where the plots of a part lie as data."""
    return folder / "plots" / f"{'-'.join(filter(None, ('plots', key.part, f'{key.unit.expid:08d}')))}.npz"


