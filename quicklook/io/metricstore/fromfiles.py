"""Stored results as the events that told of them, for a store that has not heard: runs by hand, and what the journal keeps no longer."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from pydantic import ValidationError

from quicklook.core.decision import DecisionCard
from quicklook.core.events import Decided, Event, PartVerdict, Payload, ProductWritten, QADone, Seen, UnitDone, draft
from quicklook.core.history import Selection
from quicklook.core.keys import Unit
from quicklook.core.results import PartResult, UnitVerdict
from quicklook.io.folders import exposure_folder
from quicklook.io.history import FileHistory
from quicklook.io.metricstore.times import exposure_ns
from quicklook.io.metricstore.writing import QA_FILE


def stored_events(out: Path, history: FileHistory, tag: str, units: Collection[Unit] = ()) -> Iterator[list[Event]]:
    """The results under a tag (of these exposures, or all), exposure by exposure, the oldest first: all revisions.

    They have no number, and their time is that of the exposure.
    """
    for unit in history.units(Selection(tag=tag, newest_first=False, units=frozenset(units))):
        wanted = Selection(tag=tag, units=frozenset({unit}), all_revisions=True)
        verdicts = sorted(history.verdicts(wanted), key=lambda v: v.revision)
        results = sorted(history.results(wanted), key=lambda r: (r.part, r.revision))
        events = [event for verdict in verdicts for event in _of_verdict(verdict, unit)]
        for result in results:
            events += _of_part(result, unit, out, known=bool(events))
        folder = exposure_folder(out, tag, unit)
        yield events + [e for path in sorted(folder.glob("decision*.json")) if (e := _decision(path, unit, tag)) is not None]


def _event(payload: Payload, unit: Unit, tag: str, revision: int, part: str | None, tags: dict[str, str]) -> Event:
    time = exposure_ns(unit.night, tags.get("start", ""), 0)
    said = draft(payload, unit=unit, part=part, tag=tag, revision=revision)
    return Event(**said.model_dump(), epoch="", seq=1, time=time)


def _of_verdict(verdict: UnitVerdict, unit: Unit) -> Iterator[Event]:
    yield _event(UnitDone(**verdict.model_dump()), unit, verdict.tag, verdict.revision, None, verdict.tags)


def _of_part(result: PartResult, unit: Unit, out: Path, *, known: bool) -> list[Event]:
    said: list[Payload] = [QADone(**qa.model_dump()) for qa in result.qas]
    path = exposure_folder(out, result.tag, unit) / f"qa-{result.part}-{unit.expid:08d}.json"
    name = str(path.relative_to(out))
    told = {name: getattr(result, name) for name in ("status", "reasons", "measured", "expected", "degraded")}
    said.append(PartVerdict(**told, seconds=sum(step.seconds for step in result.steps), path=name))
    said.append(ProductWritten(name=QA_FILE, path=name, sha256="", size=0))
    events = [_event(payload, unit, result.tag, result.revision, result.part, result.tags) for payload in said]
    if known:
        return events
    # without a verdict of the exposure, what is known of it is what its cameras say
    seen = Seen(file="", size=0, parts=[result.part], tags=result.tags)
    return [_event(seen, unit, result.tag, result.revision, None, result.tags), *events]


def _decision(path: Path, unit: Unit, tag: str) -> Event | None:
    try:
        card = DecisionCard.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError):
        return None
    if (card.night, card.expid, card.tag) != (unit.night, unit.expid, tag):
        return None
    return _event(Decided(**card.model_dump()), unit, tag, card.revision, None, {})
