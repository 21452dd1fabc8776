"""One exposure under one tag in one revision: what the journal has of it, and the files that it names."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quicklook.core.decision import DecisionCard
from quicklook.core.errors import NotReadyYet
from quicklook.core.events import Decided, JobFailed, Overridden, PartVerdict, PlotDrawn, PlotsReady, ProductWritten, QADone, Receipt, Seen, UnitDone
from quicklook.core.hosting import ExposureNow, FileRef, PartLine, PlotName
from quicklook.core.keys import Unit
from quicklook.core.results import Failure, Override, QAResult, UnitVerdict
from quicklook.core.status import Status
from quicklook.io.revisions import of_revision
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import EVENTS, JOBS, UNITS

_KINDS = (Seen, UnitDone, Decided, Receipt, Overridden, PartVerdict, JobFailed, PlotsReady, PlotDrawn, ProductWritten)
_FILES: Mapping[str, str] = {PlotsReady.kind: "plots", PlotDrawn.kind: "plot", ProductWritten.kind: "product", PartVerdict.kind: "merged"}


@dataclass(frozen=True, slots=True)
class _Said:
    seq: int
    time: int
    part: str
    revision: int
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Story:
    """Events of an exposure up to a revision, by kind, in order."""

    rows: Sequence[jobs.UnitRow]
    row: jobs.UnitRow
    said: Mapping[str, list[_Said]]
    states: Mapping[str, jobs.PartState] = field(default_factory=dict)

    def last(self, kind: str, part: str = "", *, exactly: bool = False) -> _Said | None:
        """The last event of a kind (of a camera); `exactly`: of this revision alone."""
        found = [s for s in self.said.get(kind, ()) if s.part == part and (not exactly or s.revision == self.row.revision)]
        return found[-1] if found else None


def _rows(connection: sa.Connection, unit: Unit, tag: str) -> list[jobs.UnitRow]:
    found = connection.execute(sa.select(UNITS.c.revision).where(UNITS.c.unit == str(unit), UNITS.c.tag == tag).order_by(UNITS.c.revision))
    return [row for n in found.scalars() if (row := jobs.unit_row(connection, unit, tag, int(n))) is not None]


def _story(connection: sa.Connection, unit: Unit, tag: str, revision: int | None) -> _Story | None:
    """None where the journal does not know the exposure under that tag, in that revision."""
    rows = _rows(connection, unit, tag)
    row = next((r for r in reversed(rows) if revision in (None, r.revision)), None)
    if row is None:
        return None
    kinds = [k.kind for k in _KINDS]
    query = sa.select(EVENTS.c.seq, EVENTS.c.time, EVENTS.c.kind, EVENTS.c.part, EVENTS.c.revision, EVENTS.c.payload).where(
        EVENTS.c.unit == str(unit), EVENTS.c.kind.in_(kinds), EVENTS.c.tag == tag, EVENTS.c.revision <= row.revision
    )
    said: dict[str, list[_Said]] = {}
    for seq, time, kind, part, of, payload in connection.execute(query.order_by(EVENTS.c.revision, EVENTS.c.seq)):
        said.setdefault(kind, []).append(_Said(seq, time, part or "", of, json.loads(payload)))
    return _Story(rows, row, said, {p.part: p for p in jobs.part_states(connection, row)})


def exposure_in_journal(connection: sa.Connection, unit: Unit, tag: str, revision: int | None, out: Path) -> ExposureNow | None:
    """The exposure; None where the journal does not know it under that tag."""
    story = _story(connection, unit, tag, revision)
    if story is None:
        return None
    row = story.row
    verdict, decision = story.last(UnitDone.kind, exactly=True), story.last(Decided.kind, exactly=True)
    receipt = story.last(Receipt.kind) if verdict else None  # an override has none of its own; while it is judged anew, that of before is another's
    seen = story.last(Seen.kind)
    files = _files_of(story, out)
    before, after = _neighbours(connection, unit, tag)
    return ExposureNow(
        unit=str(unit),
        night=f"{unit.night:08d}",
        expid=unit.expid,
        tag=tag,
        revision=row.revision,
        revisions=[r.revision for r in story.rows],
        tags_with_it=[],
        previous=before,
        next=after,
        tags=row.tags,
        file=row.path.rpartition("/")[2],
        seen_time=seen.time if seen else row.seen_ns,
        verdict=UnitVerdict.model_validate(verdict.payload) if verdict else None,
        verdict_time=verdict.time if verdict else None,
        decision=DecisionCard.model_validate(decision.payload) if decision else None,
        receipt=receipt.payload["times"] if receipt else {},
        seconds_to_verdict=receipt.payload["seconds_to_verdict"] if receipt else None,
        overrides=[Override.model_validate(s.payload) for s in story.said.get(Overridden.kind, ())],
        parts=_parts(story),
        expected=list(row.expected),
        plots=_plots(story, files),
        products=[f for f in files if f.kind == "product"],
    )


def _parts(story: _Story) -> dict[str, PartLine]:
    out = {}
    for part, state in story.states.items():
        verdict, failed = story.last(PartVerdict.kind, part), story.last(JobFailed.kind, part)
        if verdict is not None and state.status is not None:
            keys = ("measured", "expected", "degraded", "seconds")
            told = {k: verdict.payload[k] for k in keys} | {"time": verdict.time, "revision": verdict.revision}
        else:
            told = {}
        failure = Failure.model_validate(failed.payload["failure"]) if failed is not None and state.state in (jobs.FAILED, jobs.IGNORED) else None
        out[part] = PartLine(state=state.state, status=state.status, reasons=list(state.reasons), failure=failure, **told)
    return out


def _plots(story: _Story, files: Iterable[FileRef]) -> list[PlotName]:
    drawn = {(f.part, f.name) for f in files if f.kind == "plot"}
    out: dict[tuple[str, str], PlotName] = {}
    for said in story.said.get(PlotsReady.kind, ()):
        for name, status in zip(said.payload["names"], said.payload["statuses"], strict=True):
            key = (said.part, name)
            out[key] = PlotName(part=said.part, name=name, status=Status(status) if status else None, drawn=key in drawn)
    return list(out.values())


def _neighbours(connection: sa.Connection, unit: Unit, tag: str) -> tuple[str | None, str | None]:
    """The exposures of the night before and after it, by number."""
    of_night = (UNITS.c.tag == tag, jobs.of_night(UNITS.c.unit, unit.night))
    before = connection.execute(sa.select(sa.func.max(UNITS.c.unit)).where(*of_night, UNITS.c.unit < str(unit))).scalar()
    after = connection.execute(sa.select(sa.func.min(UNITS.c.unit)).where(*of_night, UNITS.c.unit > str(unit))).scalar()
    return before, after


def qas_in_journal(connection: sa.Connection, unit: Unit, part: str, tag: str, revision: int | None) -> list[QAResult]:
    """Results of the QAs of a camera (or of the exposure as a whole), of the last revision up to that one that has any; empty where none are kept."""
    where = [EVENTS.c.unit == str(unit), EVENTS.c.tag == tag]
    if revision is not None:
        where.append(EVENTS.c.revision <= revision)
    if not part:
        verdict = (
            sa.select(EVENTS.c.payload).where(*where, EVENTS.c.kind == UnitDone.kind, EVENTS.c.part.is_(None))
            .order_by(EVENTS.c.revision.desc(), EVENTS.c.seq.desc()).limit(1)
        )  # fmt: skip
        payload = connection.execute(verdict).scalar()
        return UnitVerdict.model_validate_json(payload).qas if payload else []
    where += [EVENTS.c.kind == QADone.kind, EVENTS.c.part == part]
    last = connection.execute(sa.select(sa.func.max(EVENTS.c.revision)).where(*where)).scalar()
    if last is None:
        return []
    rows = connection.execute(sa.select(EVENTS.c.payload).where(*where, EVENTS.c.revision == last).order_by(EVENTS.c.seq)).scalars()
    found = {q.name: q for q in map(QAResult.model_validate_json, rows)}  # done again after a crash: the last one counts
    return list(found.values())


def files_in_journal(
    connection: sa.Connection, unit: Unit, tag: str, revision: int | None, out: Path, kind: str = "", part: str | None = None
) -> tuple[list[FileRef], bool]:
    """Files (of a kind, of a camera) that events of the exposure name and that are there, in the revision that was wanted, and the raw files.

    And whether the journal still knows which files there are.
    """
    story = _story(connection, unit, tag, revision)
    if story is None:
        return [], False
    return [*_files_of(story, out, kind, part), *_raw_files(connection, story.row)], any(story.said.get(event) for event in _FILES)


def _files_of(story: _Story, out: Path, kind: str = "", part: str | None = None) -> list[FileRef]:
    """Of each file the last that was written up to the revision; one that a later revision has replaced lies under the number of its own."""
    refs: dict[tuple[str, str, str], FileRef] = {}
    inside = _Inside(out)
    for event, name in _FILES.items():
        for said in story.said.get(event, ()) if kind in ("", name) else ():
            if part not in (None, said.part):
                continue
            path = inside.lies_at(said.payload["path"], said.revision, story.rows[-1].revision) if said.payload.get("path") else None
            called = str(said.payload.get("name") or (path.name if path else ""))
            refs.pop((name, said.part, called), None)
            if path is not None:
                refs[name, said.part, called] = FileRef(
                    kind=name, part=said.part, name=called, path=str(path), revision=said.revision, seq=said.seq,
                    sha256=said.payload.get("sha256", ""), size=said.payload.get("size", 0),
                )  # fmt: skip
    return list(refs.values())


def _raw_files(connection: sa.Connection, row: jobs.UnitRow) -> list[FileRef]:
    """The raw file of the exposure (part ""), and of each camera its own, which may be the same; those that are there."""
    of_row = (JOBS.c.unit == str(row.unit), JOBS.c.tag == row.tag, JOBS.c.revision == row.revision)
    named = [("", row.path), *connection.execute(sa.select(JOBS.c.part, JOBS.c.path).where(*of_row).order_by(JOBS.c.part)).all()]
    return [FileRef(kind="raw", part=part, name=Path(path).name, path=path) for part, path in named if Path(path).is_file()]


class _Inside:
    """Finds files of an output folder. An exposure has thousands of them in few folders: each folder is resolved once."""

    def __init__(self, out: Path) -> None:
        self._out, self._inside = out, out.resolve()
        self._folders: dict[Path, Path] = {}

    def lies_at(self, named: str, revision: int, last: int) -> Path | None:
        """Where it is; None where it is gone, or would be outside of the output folder."""
        path = self._out / named
        for one in (of_revision(path, revision), path) if revision < last else (path,):
            folder = self._folders.get(one.parent) or self._folders.setdefault(one.parent, one.parent.resolve())
            found = folder / one.name
            try:
                mode = os.lstat(found).st_mode
            except (OSError, ValueError):
                continue
            if stat.S_ISLNK(mode):
                found = found.resolve()
            if found.is_relative_to(self._inside) and (stat.S_ISREG(mode) or found.is_file()):
                return found
        return None


def not_known(unit: Unit, tag: str, revision: int | None) -> NotReadyYet:
    """What is said of an exposure that is not known."""
    which = f" in revision {revision}" if revision is not None else ""
    return NotReadyYet(f"there is no exposure {unit} under tag {tag}{which}", what_next="Look at the table of the night for those that are there.")
