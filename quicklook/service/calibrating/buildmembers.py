"""Which exposures may make a group: judged by what the builder itself asks of them, as far as the journal tells it.

The chain of an exposure may need what the group is to make (a flat is extracted on wavelengths, and the first ones come from a group of arcs): then
its verdict is UNKNOWN although nothing is wrong with it. What counts are the QAs that the builder has for its members.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from quicklook.core.builder import Builder
from quicklook.core.chain import Chain
from quicklook.core.contract import contract_of
from quicklook.core.errors import MissingCalibration
from quicklook.core.events import CalibrationMade, QADone, StepDone
from quicklook.core.product import Calibration
from quicklook.core.status import Status, total
from quicklook.service.journal.journal import EVENTS

IN_ORDER = (Status.NORMAL, Status.WARNING)
"""Verdicts of exposures that make a group; the builder looks at each again by its own QAs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """A calibration that is built when `count` exposures of a flavor, of one night and camera, are done and in order.

    `qas` and `steps` are names of the QAs and algorithms that its members go through, `accept` the statuses with which they are taken, `makes` and
    `needs` kinds of calibrations. Without `qas` and `steps` the verdict of the exposure decides.
    """

    builder: str
    flavor: str
    count: int
    qas: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    accept: tuple[Status, ...] = IN_ORDER
    makes: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()

    @classmethod
    def of(cls, builder: Builder, flavor: str, count: int) -> BuildPlan:
        """The plan of a builder."""
        makes = frozenset(t.kind for t in builder.products)
        return cls(
            builder=builder.name,
            flavor=flavor,
            count=count,
            qas=frozenset(q.name for q in builder.member.qas),
            steps=frozenset(s.algorithm or "read" for s in builder.member.steps),
            accept=builder.accept,
            makes=makes,
            needs=(_needs(builder.member) | _needs(builder.group)) - makes,
        )


def _needs(chain: Chain) -> frozenset[str]:
    plugins = [p for s in chain.steps for p in (s.plugin, *(q.plugin for q in s.qas)) if p is not None]
    return frozenset(need.type.kind for p in plugins for need in contract_of(p).inputs if issubclass(need.type, Calibration))


def fits(connection: sa.Connection, row: Any, plan: BuildPlan) -> bool:
    """Whether an exposure, given by its job in the journal, may be a member of the group of a plan.

    A step that its members go through and that found no calibration is no fault of the exposure: it counts from the moment when the daemon has
    made one of that kind for this camera.
    """
    if row.status == Status.NORMAL:
        return True
    told = _told(connection, row)
    failed = [e for e in told if e.kind == StepDone.kind and e.error and e.algorithm in plan.steps]
    if any(not _made_since(connection, row, step.error, step.message) for step in failed):
        return False
    looked_at = [e for e in told if e.kind == QADone.kind and e.name in plan.qas and e.error != "NotRun"]
    return (total(Status(e.status) if e.status else None for e in looked_at) if looked_at else row.status) in plan.accept


def _told(connection: sa.Connection, row: Any) -> list[Any]:
    """What was said of the steps and QAs of a part, in its latest revision that was worked on; only what decides is read, for metrics are large."""
    fields = {"name": "$.name", "algorithm": "$.algorithm", "status": "$.status", "error": "$.failure.error", "message": "$.failure.message"}
    columns = [sa.func.json_extract(EVENTS.c.payload, path).label(name) for name, path in fields.items()]
    of_part = (EVENTS.c.unit == row.unit, EVENTS.c.part == row.part, EVENTS.c.tag == row.tag, EVENTS.c.kind.in_((StepDone.kind, QADone.kind)))
    events = connection.execute(sa.select(EVENTS.c.kind, EVENTS.c.revision, *columns).where(*of_part).order_by(EVENTS.c.seq)).all()
    latest = max((e.revision for e in events), default=0)
    return [e for e in events if e.revision == latest]


def _made_since(connection: sa.Connection, row: Any, error: str, message: str) -> bool:
    return error == MissingCalibration.__name__ and _names(message, adopted(connection, row.part, row.tag))


def _names(message: str, kinds: Collection[str]) -> bool:
    """Whether a step says that it found no calibration of one of these kinds."""
    return any(re.search(rf"\bno {re.escape(kind)}\b", message) for kind in kinds)


def lacked(connection: sa.Connection, row: Any, kinds: Collection[str]) -> bool:
    """Whether an exposure, given by its job in the journal, was without a calibration of one of these kinds: a step failed for it, or did without."""
    failed = [e for e in _told(connection, row) if e.kind == StepDone.kind and e.error == MissingCalibration.__name__]
    return any(_names(e.message or "", kinds) for e in failed) or bool(set(kinds) & _went_without(connection, row))


def _went_without(connection: sa.Connection, row: Any) -> set[str]:
    """Kinds that steps of its latest revision asked for and did without: what `calibration_lacking` lists and `calibration_age` does not."""
    of_part = (EVENTS.c.unit == row.unit, EVENTS.c.part == row.part, EVENTS.c.tag == row.tag, EVENTS.c.kind == QADone.kind)
    found = sa.select(EVENTS.c.payload, EVENTS.c.revision).where(*of_part, EVENTS.c.payload.like('%"calibration_lacking"%'))
    last = connection.execute(found.order_by(EVENTS.c.seq.desc())).first()
    if last is None:
        return set()
    kinds = {m["name"]: set(m.get("coords", {}).get("kind", ())) for m in json.loads(last.payload)["metrics"]}
    return kinds.get("calibration_lacking", set()) - kinds.get("calibration_age", set())


def adopted(connection: sa.Connection, part: str, tag: str) -> Collection[str]:
    """Kinds of the calibrations that the daemon has made and entered into the index for a camera."""
    of_part = (EVENTS.c.kind == CalibrationMade.kind, EVENTS.c.part == part, EVENTS.c.tag == tag)
    payloads = [json.loads(p) for p in connection.execute(sa.select(EVENTS.c.payload).where(*of_part)).scalars()]
    return {p["name"] for p in payloads if p["adopted"]}
