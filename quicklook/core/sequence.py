"""Which exposure belongs to which test of a session: aborted and repeated sequences are told apart. Pure.

It is worked out anew from all exposures there are whenever one comes, so that a restart knows what there was before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
        return self.test.expected - sum(map(len, self.slots))

    @property
    def has_room(self) -> list[bool]:
        """For each kind that is expected, whether some are lacking."""
        return [len(slot) < e.count for slot, e in zip(self.slots, self.test.expect, strict=True)]

    def begin_again(self) -> None:
        """What there is was aborted."""
        self.aborted += self.units
        self.slots = [[] for _ in self.test.expect]


Rows = Mapping[str, list[Taking]]
"""By test its sequences that are open: one, and those that repeat it before it is closed."""


def assign(
    session: SessionFile, exposures: Iterable[Came], *, start: int | None = None, over: Mapping[str, int] | None = None, taken: Collection[Unit] = ()
) -> list[Taking]:
    """The open sequences of all tests, in the order of the session; of one test the earlier first.

    `start`: exposures with lower numbers are none of theirs. `over`: how often each test is over already; `taken`: exposures of those.
    """
    over, first = over or {}, session.start_expid if start is None else start
    rows = {t.name: [_open(t, over.get(t.name, 0) + 1)] for t in session.tests if t.repeats or not over.get(t.name)}
    labelled = _labels(session)
    new = [e for e in exposures if e.unit not in taken and (first is None or e.unit.expid >= first)]
    for one in sorted(new, key=lambda e: e.unit):
        row = _row_of(rows, labelled(one.tags), session, one.tags)
        if row is not None:
            _take(rows, row, one, session.position)
    return [row for of_test in rows.values() for row in of_test]


def _open(test: SessionTest, repetition: int) -> Taking:
    return Taking(test=test, repetition=repetition, slots=[[] for _ in test.expect])


def _labels(session: SessionFile) -> Callable[[Mapping[str, str]], list[SessionTest]]:
    """Tells of which tests an exposure says that it is; worked out once for all that say the same."""
    names = sorted({name for t in session.tests for name in t.of})
    known: dict[tuple[str, ...], list[SessionTest]] = {}

    def of(tags: Mapping[str, str]) -> list[SessionTest]:
        said = tuple(tags.get(name, "") for name in names)
        if said not in known:
            known[said] = [t for t in session.tests if t.is_labelled(tags)]
        return known[said]

    return of


def _row_of(rows: Rows, labelled: Sequence[SessionTest], session: SessionFile, tags: Mapping[str, str]) -> Taking | None:
    """The test that an exposure says it is of; of several, or where it says nothing, the first one that lacks one like it.

    A test that was not taken yet goes before one that would be repeated.
    """
    of = labelled or [t for t in session.tests if not t.of]
    among = [rows[t.name][-1] for t in of if t.name in rows]
    fitting = [(row, fits) for row in among if any(fits := _fits(row, tags))]
    lacking = [row for row, fits in fitting if any(room and fit for room, fit in zip(row.has_room, fits, strict=True))]
    wanted = [row for row in lacking if row.repetition == 1 or any(row.slots)]
    wanted += [row for row, _ in fitting if row.missing and any(row.slots)]  # a sequence that may be begun anew
    return next(iter([*wanted, *(row for row, _ in fitting), *(among if labelled else ())]), None)


def _fits(row: Taking, tags: Mapping[str, str]) -> list[bool]:
    return [not e.misfit(tags) for e in row.test.expect]


def _take(rows: Rows, row: Taking, one: Came, position: str) -> None:
    fits = _fits(row, one.tags)
    if not any(fits):
        row.strays[one.unit] = " or ".join(dict.fromkeys(e.misfit(one.tags) for e in row.test.expect))
        return
    now = _position(one, position)
    if not row.missing and row.test.repeats and not _goes_on(row, now):
        row = _open(row.test, row.repetition + 1)
        rows[row.test.name].append(row)
    elif row.missing and _begins_again(row, now, fits):
        row.begin_again()
    row.last_position = now
    slot = next((i for i, (room, fit) in enumerate(zip(row.has_room, fits, strict=True)) if room and fit), None)
    if slot is None:
        row.extra.append(one.unit)
    else:
        row.slots[slot].append(one.unit)


def _goes_on(row: Taking, now: float | None) -> bool:
    """Whether an exposure is a further one of the same sequence, by its position."""
    return now is not None and row.last_position is not None and now > row.last_position


def _begins_again(row: Taking, now: float | None, fits: Sequence[bool]) -> bool:
    """Whether an exposure is the first of the same sequence once more, by its position or by what was taken before it."""
    if now is not None and row.last_position is not None:
        return now <= row.last_position and any(row.slots)
    has_place = any(fit and room for fit, room in zip(fits, row.has_room, strict=True))
    return row.test.ordered and fits[0] and not has_place and any(row.slots[1:])


def _position(one: Came, position: str) -> float | None:
    try:
        return float(one.tags[position]) if position else None
    except (KeyError, ValueError):
        return None
