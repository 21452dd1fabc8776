"""What is kept of the tests of a session: the state of every sub-task, the outcome of a test, the summary of a run.

All of it lies below ``<out>/tests/<run>/``: ``run.json``, ``summary.txt``, ``session.yaml``, and for every test a folder with ``<sub-task>.json``,
``test.json``, ``plots/`` and what its analyses have made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from quicklook.core.events import PlotsReady
from quicklook.core.flags import FlagsSaid
from quicklook.core.results import SCHEMA_VERSION, Failure, Record
from quicklook.core.session import SubTask
from quicklook.core.status import Status
from quicklook.io.atomic import write_json

State = Literal["done", "failed", "reused", "skipped"]
R = TypeVar("R", bound=Record)


class Taken(Record):
    """An exposure of a test: which of the kinds that are expected it is (`slot`), its tags, its cameras with their files."""

    unit: str
    slot: int
    tags: dict[str, str]
    files: dict[str, str]


class SubTaskDone(Record):
    """A sub-task that has ended: how, in how many seconds, what it has found of which `exposures` as processed under which `tag`. One that is
    switched off is taken over from `source`, where that is of the same."""

    schema_version: int = SCHEMA_VERSION
    name: SubTask
    state: State
    seconds: float = 0.0
    failure: Failure | None = None
    source: str = ""
    tag: str = ""
    exposures: list[str] = Field(default_factory=list)
    data: dict[str, Any] = Field(default_factory=dict)


class ToDraw(Record):
    """A file of plots of a camera that can be drawn, relative to the output folder, with the names and statuses of its plots."""

    part: str
    path: str
    names: list[str]
    statuses: list[Status | None]

    @classmethod
    def of(cls, part: str, ready: PlotsReady) -> ToDraw:
        """From the event that has them drawn."""
        return cls(part=part, path=ready.path, names=ready.names, statuses=ready.statuses)

    @property
    def ready(self) -> PlotsReady:
        """The event that has them drawn."""
        return PlotsReady(path=self.path, names=self.names, statuses=self.statuses)


class TestedRecord(Record):
    """The outcome of a test, ``test.json``.

    `exposures` are those that it expects and got, as ``night/expid``; `seconds` by sub-task; `status` is the worst of flags, analyses, series and
    exposures; `reasons` say why in sentences.
    """

    schema_version: int = SCHEMA_VERSION
    run: str
    name: str
    test: str
    repetition: int
    status: Status
    reasons: list[str]
    complete: bool
    timed_out: bool
    expected: int
    exposures: list[str]
    aborted: list[str] = Field(default_factory=list)
    strays: dict[str, str] = Field(default_factory=dict)
    extra: list[str] = Field(default_factory=list)
    flags: FlagsSaid
    states: dict[SubTask, State]
    seconds: dict[SubTask, float]
    analyses: dict[str, dict[str, Status | None]] = Field(default_factory=dict)
    ended_ns: int
    plots: list[ToDraw] = Field(default_factory=list)


class RunRecord(Record):
    """The state of a run of a session, ``run.json``: from it a daemon that was killed goes on. Times are UTC, ns.

    `after_job`: number of the last job in the journal at the launch. `said`: tests that were announced. `left`: the daemon that had the run last
    has ended in good order.
    """

    schema_version: int = SCHEMA_VERSION
    run: str
    label: str
    session: str
    sha256: str
    tag: str
    launched_ns: int
    last_test_ns: int
    start_expid: int | None = None
    after_job: int | None = None
    over: bool = False
    said: list[str] = Field(default_factory=list)
    left: bool = False
    tests: list[TestedRecord] = Field(default_factory=list)

    def times_over(self) -> dict[str, int]:
        """How often each test is over."""
        out: dict[str, int] = {}
        for one in self.tests:
            out[one.test] = out.get(one.test, 0) + 1
        return out


def tests_folder(out: Path) -> Path:
    """Where the runs of sessions lie in an output folder."""
    return out / "tests"


def read_record(path: Path, model: type[R]) -> R | None:
    """A record that was written; None where there is none that can be read."""
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    write_json(path, record.model_dump(mode="json"))


def earlier_folders(out: Path, run: str, name: str) -> tuple[Path, ...]:
    """Folders of a test in this run and in earlier ones, the latest first."""
    test = name.partition(".")[0]
    found = [p for p in tests_folder(out).glob("*/*") if p.is_dir() and p.name.partition(".")[0] == test]
    return tuple(sorted(found, key=lambda p: (p.parent.name == run and p.name == name, p.parent.name, p.name), reverse=True))


def numbers_text(units: Sequence[str]) -> str:
    """``101-104,106`` of ``night/expid``; with the nights where there are several."""
    nights: dict[str, list[int]] = {}
    for unit in units:
        night, _, expid = unit.partition("/")
        nights.setdefault(night, []).append(int(expid))
    texts = {night: ranges(sorted(set(numbers))) for night, numbers in nights.items()}
    return "; ".join(texts.values()) if len(texts) < 2 else "; ".join(f"{night}: {text}" for night, text in texts.items())


def ranges(numbers: Sequence[int]) -> str:
    """``101-104,106`` of rising numbers."""
    out: list[list[int]] = []
    for n in numbers:
        if out and n == out[-1][1] + 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def summary_text(record: RunRecord, expected: Sequence[str]) -> str:
    """The summary of a run so far: of every test its verdict, exposure numbers, minutes per sub-task, and flags."""
    head = f"Session {record.session}, run {record.run}{f' ({record.label})' if record.label else ''}"
    over = len({t.test for t in record.tests})
    lines = [f"{head}: {over} of {len(expected)} tests are over{', the session is over' if record.over else ''}", ""]
    for one in sorted(record.tests, key=lambda t: (expected.index(t.test) if t.test in expected else len(expected), t.repetition)):
        lines += _test_lines(one)
    if waiting := [name for name in expected if name not in {t.test for t in record.tests}]:
        lines.append(f"not yet: {', '.join(waiting)}")
    return "\n".join(lines).rstrip() + "\n"


def _test_lines(one: TestedRecord) -> list[str]:
    got = f"{len(one.exposures)} of {one.expected} exposures"
    lines = [f"{one.name}: {one.status}, {got}{': ' + numbers_text(one.exposures) if one.exposures else ''}"]
    told = {"aborted": one.aborted, "of it, but not expected": list(one.strays), "more than expected": one.extra}
    lines += [f"  {what}: {numbers_text(units)}" for what, units in told.items() if units]
    minutes = ", ".join(f"{s} {one.seconds.get(s, 0.0) / 60:.2f}{'' if one.states.get(s) == 'done' else f' ({one.states.get(s)})'}" for s in SubTask)
    lines.append(f"  minutes: {minutes}; in all {sum(one.seconds.values()) / 60:.2f}")
    lines.append(f"  flags: {', '.join(r.name for r in one.flags.raised) or 'none'}")
    if one.flags.not_known:
        lines.append(f"  not known: {', '.join(one.flags.with_why(one.flags.not_known))}")
    if one.flags.not_applicable:
        lines.append(f"  do not apply: {', '.join(one.flags.with_why(one.flags.not_applicable))}")
    return [*lines, *(f"  - {reason}" for reason in one.reasons), ""]
