"""Which exposure belongs to which test of a session: aborted and repeated sequences are told apart. Pure.

It is worked out anew from all exposures there are whenever one comes, so that a restart knows what there was before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from quicklook.core.keys import Unit
from quicklook.core.session import SessionFile, SessionTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """An exposure that has come, with its tags."""

    unit: Unit
    tags: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Taking:
    """The exposures of a test, `repetition` 1 the first time that it is taken.

    `slots` are its exposures by what is expected; `aborted` those of sequences that were begun anew; `strays` say that they belong to the test and
    are nothing that it expects, each with the reason; `extra` are more than expected.
    """

    test: SessionTest
    repetition: int
    slots: list[list[Unit]] = field(default_factory=list)
    aborted: list[Unit] = field(default_factory=list)
    strays: dict[Unit, str] = field(default_factory=dict)
    extra: list[Unit] = field(default_factory=list)
    last_position: float | None = None

    @property
    def name(self) -> str:
        """``BIAS01``, the second time ``BIAS01.2``."""
        return self.test.name if self.repetition == 1 else f"{self.test.name}.{self.repetition}"

    @property
    def units(self) -> list[Unit]:
        """Its exposures, by number."""
        return sorted(u for slot in self.slots for u in slot)

    @property
    def every(self) -> list[Unit]:
        """All that came for it: aborted, stray and further ones too."""
        return sorted({*self.units, *self.aborted, *self.strays, *self.extra})

    @property
    def missing(self) -> int:
        """So many exposures are still expected."""
        return self.test.expected - len(self.units)

    @property
    def has_room(self) -> list[bool]:
        """For each kind that is expected, whether some are lacking."""
        return [len(slot) < e.count for slot, e in zip(self.slots, self.test.expect, strict=True)]

    def begin_again(self) -> None:
        """What there is was aborted."""
        self.aborted += self.units
        self.slots = [[] for _ in self.test.expect]


def assign(
    session: SessionFile, exposures: Sequence[Came], *, start: int | None = None, over: Mapping[str, int] | None = None, taken: Collection[Unit] = ()
) -> list[Taking]:
    """The open sequences of all tests, in the order of the session.

    `start`: exposures with lower numbers are none of theirs. `over`: how often each test is over already; `taken`: exposures of those.
    """
    over, first = over or {}, session.start_expid if start is None else start
    rows = {t.name: _open(t, over.get(t.name, 0) + 1) for t in session.tests if t.repeats or not over.get(t.name)}
    for one in sorted(exposures, key=lambda e: e.unit):
        if one.unit in taken or (first is not None and one.unit.expid < first):
            continue
        row = _row_of(rows, session, one.tags)
        if row is not None:
            _take(row, one, session.position)
    return list(rows.values())


def _open(test: SessionTest, repetition: int) -> Taking:
    return Taking(test=test, repetition=repetition, slots=[[] for _ in test.expect])


def _row_of(rows: Mapping[str, Taking], session: SessionFile, tags: Mapping[str, str]) -> Taking | None:
    """The test that an exposure says it is of; else the first one that is not told by tags and expects one like it."""
    labelled = [t for t in session.tests if t.is_labelled(tags)]
    if labelled:
        return next((rows[t.name] for t in labelled if t.name in rows), None)
    fitting = [row for row in rows.values() if not row.test.of and any(not e.misfit(tags) for e in row.test.expect)]
    lacking = (row for row in fitting if any(room and not e.misfit(tags) for room, e in zip(row.has_room, row.test.expect, strict=True)))
    return next(lacking, next(iter(fitting), None))


def _take(row: Taking, one: Came, position: str) -> None:
    fits = [not e.misfit(one.tags) for e in row.test.expect]
    if not any(fits):
        row.strays[one.unit] = " or ".join(dict.fromkeys(e.misfit(one.tags) for e in row.test.expect))
        return
    if row.missing and _begins_again(row, one, fits, position):
        row.begin_again()
    row.last_position = _position(one, position)
    slot = next((i for i, (room, fit) in enumerate(zip(row.has_room, fits, strict=True)) if room and fit), None)
    if slot is None:
        row.extra.append(one.unit)
    else:
        row.slots[slot].append(one.unit)


def _begins_again(row: Taking, one: Came, fits: Sequence[bool], position: str) -> bool:
    """Whether an exposure is the first of the same sequence once more, by its position or by what was taken before it."""
    now = _position(one, position)
    if now is not None and row.last_position is not None:
        return now <= row.last_position and bool(row.units)
    has_place = any(fit and room for fit, room in zip(fits, row.has_room, strict=True))
    return row.test.ordered and fits[0] and not has_place and any(row.slots[1:])


def _position(one: Came, position: str) -> float | None:
    try:
        return float(one.tags[position]) if position else None
    except (KeyError, ValueError):
        return None
