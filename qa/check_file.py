"""The file itself: keywords, extensions, night and companions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime

import numpy as np

from qa.values import scalar
from quicklook.ccd.exposure import Arrival, Companion, Exposure
from quicklook.core.metrics import Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.plots import Axis, Panel, Plot, Table
from quicklook.core.plugin import MonitoringAlg, NoParams

KEYWORDS = MetricDef("missing_keywords", "", doc="Number of required header keywords that are absent.")
HEADER = MetricDef("header_problems", "", doc="Number of header values that are absurd or contradict each other.")
ODD = MetricDef("header_oddities", "", doc="Number of values out of range of header keywords that are not needed: what uses them goes without.")
HDUS = MetricDef("hdu_missing", "", doc="Number of extensions that were expected in the file and are not there, or cannot be used.")
NIGHT = MetricDef(
    "night_error", "d",
    doc="Days from the night that follows from the time of the exposure to the night of its header (or, where those agree, of its folder).",
)  # fmt: skip
COMPANION = MetricDef("companion_missing", "", dims=("companion",), doc="0 for a required companion file that is there; NaN where it is absent.")
COMPANION_PROBLEMS = MetricDef("companion_problems", "", doc="Number of companion files that do not belong to the exposure or cannot be read.")

_LIT = ("science", "arc", "flat", "dark")
_NOT_NEEDED = ("is no transparency", "is no seeing in arcsec")
"""Ends of what a reader says of values that are of use where they are there, as those of the guide cameras."""


def _key(hdu: str) -> str:
    return hdu.strip().upper()


def _sentence(parts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(p.strip() for p in parts if p.strip()))


class CheckFile(MonitoringAlg[NoParams]):
    """Checks what arrived, before any pixel: required keywords, contradictions, extensions, the night, and companion files.

    Formula: missing_keywords = required keywords that are absent; header_problems = values that are absurd or contradict each other, and an exposure
    time of 0 s of what is no zero; header_oddities = values of transparency and seeing that are out of range or 0; hdu_missing =
    expected extensions that are absent or cannot be used; night_error = stated night (of the header, or of the folder where that is farther off) -
    night that follows from the time of the exposure (else that of the folder), days; companion_missing = 0, NaN where a required file is absent;
    companion_problems = companions that do not belong to it or cannot be read. Counts, without an error.
    Source: hdu_missing stands for CHECKHDUS (Check_HDUs) of DESI's quick-look. Which keywords, extensions and companions are required is said by
    the description of the instrument: own definition.
    """

    name = "check_file"
    metrics = (KEYWORDS, HEADER, ODD, HDUS, NIGHT, COMPANION, COMPANION_PROBLEMS)

    def measure(self, arrival: Arrival, exposure: Exposure | None = None) -> Measures:
        """Counts, each with sentences as remarks. A required companion that is absent is NaN, so that it ends as UNKNOWN."""
        problems, odd = _of_headers(arrival, exposure)
        header = tuple(scalar(d, len(told), _sentence(told)) for d, told in ((HEADER, problems), (ODD, odd)))
        counts = (_keywords(arrival), *header, _hdus(arrival))
        companions = (_companions(arrival.companions), _companion_problems(arrival))
        metrics = (*counts, _night(arrival), *companions)
        return Measures(metrics, plots=(_plot(arrival, metrics),), facts=_facts(arrival))


def _keywords(arrival: Arrival) -> Measured:
    missing = arrival.missing_keywords
    return scalar(KEYWORDS, len(missing), f"{', '.join(missing)} not in the header" if missing else "")


def _of_headers(arrival: Arrival, exposure: Exposure | None) -> tuple[list[str], list[str]]:
    """What is wrong with values that matter, and with those that nothing needs."""
    missing = arrival.missing_keywords
    # A sentence that lists the absent keywords says the same once more.
    told = [p for p in arrival.problems.get("headers", ()) if not (missing and all(k in p for k in missing))]
    odd = [p for p in told if p.endswith(_NOT_NEEDED)]
    problems = [p for p in told if not p.endswith(_NOT_NEEDED)]
    if exposure is not None and exposure.flavor in _LIT and exposure.exptime == 0.0:
        problems.append(f"the exposure time is 0 s, but the flavor {exposure.flavor}")
    if exposure is not None and exposure.flavor == "science" and exposure.transparency == 0.0:
        odd.append("a transparency of 0 is of a closed sky, or was not measured")
    return problems, odd


def _hdus(arrival: Arrival) -> Measured:
    there = {_key(h) for h in arrival.hdus}
    absent = [h for h in dict.fromkeys(arrival.expected_hdus) if _key(h) not in there]
    # A problem that names an absent extension says the same once more.
    others = [p for p in arrival.problems.get("hdus", ()) if not any(_key(h) in p.upper() for h in absent)]
    told = [f"{', '.join(absent)} not in the file"] if absent else []
    return scalar(HDUS, len(absent) + len(others), _sentence([*told, *others]))


def _days(later: int, earlier: int) -> float:
    """Days between two nights YYYYMMDD; NaN if either is no date."""
    try:
        a, b = (datetime.strptime(f"{n:08d}", "%Y%m%d") for n in (later, earlier))
    except ValueError:
        return math.nan
    return float((a - b).days)


def _night(arrival: Arrival) -> Measured:
    header, time, path = arrival.night_of_header, arrival.night_of_time, arrival.night_of_path
    told = list(arrival.problems.get("night", ()))
    stated = [(n, what) for n, what in ((header, "the header"), (path, "the folder")) if n is not None]
    if not stated or (time is None and len(stated) < 2):
        return _night_alone(stated, time, told)
    reference, by = (time, "the time of the exposure") if time is not None else (path or 0, "the folder")
    errors = [(_days(n, reference), n, what) for n, what in stated]
    error, night, what = max(errors, key=lambda e: math.inf if math.isnan(e[0]) else abs(e[0]))
    if math.isnan(error):
        told.insert(0, f"{night} in {what}, or {reference} by {by}, is no date")
    elif error and not told:
        told = [f"{what} says {night}, {by} {reference}"]
    return scalar(NIGHT, error, _sentence(told))


def _night_alone(stated: list[tuple[int, str]], time: int | None, told: list[str]) -> Measured:
    """Where there are no two nights to compare."""
    if time is not None and not told:
        return not_applicable(NIGHT.name, f"neither header nor folder state a night; by the time of the exposure it is {time}")
    one = f"{stated[0][1]} says {stated[0][0]}, the time of the exposure is unknown" if stated else "nothing says which night it is"
    return scalar(NIGHT, math.nan, _sentence(told or [one]))


def _companions(companions: tuple[Companion, ...]) -> Measured:
    required = [c for c in companions if c.required]
    if not required:
        return not_applicable(COMPANION.name, "no companion file is required")
    roles = [c.role for c in required]
    names = [c.role if roles.count(c.role) == 1 else f"{c.role} {c.name}" for c in required]
    values = [0.0 if c.present else math.nan for c in required]
    remarks = {n: f"{c.name} is not there" for n, c in zip(names, required, strict=True) if not c.present}
    return measured(COMPANION.name, values, companion=names, remarks={(n,): text for n, text in remarks.items()})


def _companion_problems(arrival: Arrival) -> Measured:
    absent = {c.name.upper() for c in arrival.companions if not c.present}
    # What is merely absent is said by `companion_missing`.
    problems = [p for p in arrival.problems.get("companions", ()) if not any(name and name in p.upper() for name in absent)]
    if not arrival.companions and not problems:
        return not_applicable(COMPANION_PROBLEMS.name, "no companion file belongs to this exposure")
    return scalar(COMPANION_PROBLEMS, len(problems), _sentence(problems))


def _facts(arrival: Arrival) -> dict[str, str | int | float | bool | None]:
    return {
        "file": arrival.file,
        "size_bytes": arrival.size,
        "hdus": ", ".join(arrival.hdus),
        "night_of_header": arrival.night_of_header,
        "night_of_time": arrival.night_of_time,
        "night_of_path": arrival.night_of_path,
        "companions": ", ".join(f"{c.role}: {c.name} ({'there' if c.present else 'absent'})" for c in arrival.companions),
    }


def _plot(arrival: Arrival, metrics: tuple[Measured, ...]) -> Plot:
    """A row of words per check."""
    rows = [(*_in_words(m), _details(m)) for m in metrics]
    rows += [(k.replace("_", " "), "", str(v)) for k, v in _facts(arrival).items() if v not in (None, "")]
    table = Table(header=("check", "found", "details"), rows=tuple(rows))
    panel = Panel(x=Axis(label="column"), y=Axis(label="check"), layers=(table,), title=arrival.file)
    return Plot(name="check_file", title="What was found of the file", panels=(panel,))


def _in_words(metric: Measured) -> tuple[str, str]:
    name = metric.name.replace("_", " ")
    if metric.not_applicable is not None:
        return name, "-"
    if np.isnan(metric.values).any():
        return name, "not known" if metric.name == NIGHT.name else "absent"
    worst = float(metric.values.ravel()[np.argmax(np.abs(metric.values))]) if metric.values.size else 0.0
    return name, "good" if worst == 0 else f"{worst:g} d" if metric.name == NIGHT.name else f"{worst:g}"


def _details(metric: Measured) -> str:
    return metric.not_applicable or _sentence(metric.remarks.values())
