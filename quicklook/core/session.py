"""Sessions: which tests are expected, what exposures each of them has, and what is done with them. Pure.

A session file names tests in the order in which they are taken. `docs/tutorials/test-bench.md` has one from end to end.
"""

from __future__ import annotations

import fnmatch
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.metrics import label_of
from quicklook.core.results import Record
from quicklook.core.validation import suggest, validate

NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]*$"
_YES_NO = {"yes": True, "on": True, "true": True, "1": True, "no": False, "off": False, "false": False, "0": False}
_NEAR = 0.01
"""Relative difference up to which two exposure times (or wavelengths) are the same; 0.01 s for short ones."""
_MEASURED = ("exptime", "wavelength")
"""Tags of which that holds; of all others a number is the same or it is not: 14312 is not the serial 14311."""


class SubTask(StrEnum):
    """What is done with a test, in this order.

    init: which exposures it has, and their files. check: against what the session expects, with the verdicts of the exposures. prep: the results of
    the exposures, by the chains of the test where it names any. basic: its group analyses. meta: series over its exposures.
    """

    INIT = "init"
    CHECK = "check"
    PREP = "prep"
    BASIC = "basic"
    META = "meta"


CHECKS = (SubTask.INIT, SubTask.CHECK)
"""What `--check-only` leaves switched on."""


def _text(value: Any) -> Any:
    if value is None or isinstance(value, Mapping | list | tuple):
        raise ValueError("must be a text or a number")
    return ("true" if value else "false") if isinstance(value, bool) else label_of(value)


Label = Annotated[str, BeforeValidator(_text)]


def _wanted(value: Any) -> Any:
    if isinstance(value, list | tuple):
        if len(value) != 2 or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value) or value[0] > value[1]:
            raise ValueError("a range is two numbers, [low, high]")
        return (float(value[0]), float(value[1]))
    return _text(value)


Wanted = Annotated[str | tuple[float, float], BeforeValidator(_wanted)]
"""What a fact must be: a value, or a range [low, high] of numbers."""


def meets(wanted: str | tuple[float, float], fact: str, tag: str = "") -> bool:
    """Whether a fact, the value of a tag, is as wanted; numbers are compared as numbers. A fact that is not known ("") never is."""
    number = _number(fact)
    if isinstance(wanted, tuple):
        return number is not None and wanted[0] <= number <= wanted[1]
    other = _number(wanted)
    if number is None or other is None:
        return fact.strip().lower() == wanted.strip().lower() and bool(fact.strip())
    if tag in _MEASURED:
        return abs(number - other) <= _NEAR * max(1.0, abs(other))
    whole = fact.strip(), wanted.strip()
    if all(w.isascii() and w.isdigit() for w in whole):
        return int(whole[0]) == int(whole[1])  # serial numbers may have more digits than a float
    return math.isclose(number, other, rel_tol=1e-9)


def words_of(wanted: str | tuple[float, float]) -> str:
    """``ABC-1``, ``-121 to -119``."""
    return wanted if isinstance(wanted, str) else f"{wanted[0]:g} to {wanted[1]:g}"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class Part(BaseModel):
    """Base of all parts of a session file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Expect(Part):
    """Exposures of one kind that a test has; what is left out may be anything."""

    count: int = Field(ge=1, le=100_000, description="so many")
    flavor: str = Field("", description="zero, dark, flat, arc, science, ...")
    exptime: float | None = Field(None, ge=0, description="exposure time, s, to 1 per cent")
    program: str = Field("", description="program, as the header says")
    wavelength: float | None = Field(None, gt=0, description="the tag `wavelength` of the instrument")
    tags: dict[str, Wanted] = Field({}, description="further tags of the exposure, each a value or a range [low, high]")
    levels: dict[str, Wanted] = Field(
        {}, description="light that they should have: metrics with the range [low, high] of each of their values, as in {image_level: [9000, 11000]}"
    )

    @field_validator("levels")
    @classmethod
    def _ranges(cls, levels: dict[str, str | tuple[float, float]]) -> dict[str, str | tuple[float, float]]:
        if single := [name for name, wanted in levels.items() if isinstance(wanted, str)]:
            raise ValueError(f"{', '.join(single)}: write a range of two numbers, [low, high]")
        return levels

    @cached_property
    def wanted(self) -> dict[str, str | tuple[float, float]]:
        """Everything that an exposure must be, by tag."""
        own = {"flavor": self.flavor, "program": self.program}
        numbers = {"exptime": self.exptime, "wavelength": self.wavelength}
        return {k: v for k, v in own.items() if v} | {k: f"{v:g}" for k, v in numbers.items() if v is not None} | self.tags

    def misfit(self, tags: Mapping[str, str]) -> str:
        """Why an exposure is none of these, in words; empty where it is one."""
        wrong = [f"{k} is {tags.get(k) or 'not stated'}, not {words_of(v)}" for k, v in self.wanted.items() if not meets(v, tags.get(k, ""), k)]
        return ", ".join(wrong)


class SessionTest(Part):
    """A test: exposures that belong together, and what is done with them as a group."""

    name: str = Field(pattern=NAME, description="its name, as in BIAS01")
    doc: str = Field("", description="what it is for")
    of: dict[str, Label] = Field(
        {}, description="tags by which an exposure says that it belongs to the test, as in {program: bias01}; none: any exposure that fits `expect`"
    )
    expect: tuple[Expect, ...] = Field(min_length=1, description="exposures, in the order in which they are taken")
    metadata: dict[str, Wanted] = Field({}, description="what each camera must say, by tag; a mismatch raises a flag and does not stop the work")
    hardware: dict[str, dict[str, Wanted]] = Field({}, description="as `metadata`, by camera (* and ? allowed): serial numbers")
    chains: dict[str, str] = Field({}, description="chains of its own by flavor, run in `prep`; none: the results of the daemon are used")
    analyses: tuple[str, ...] = Field((), description="group analyses: names or files (`quicklook list analyses`)")
    timeout_h: float | None = Field(None, gt=0, le=10_000, description="hours since the launch or the last test; default: that of the session")
    todo: dict[SubTask, bool] = Field({}, description="sub-tasks that are switched off (false) or on; of one that is off the earlier state is used")
    repeats: bool = Field(True, description="exposures that come when it is complete begin it once more; false: they are no part of it")
    ordered: bool = Field(True, description="exposures come in the order of `expect`: where they begin again, those before are an aborted sequence")

    @property
    def expected(self) -> int:
        """Number of its exposures."""
        return sum(e.count for e in self.expect)

    def is_labelled(self, tags: Mapping[str, str]) -> bool:
        """Whether an exposure says that it belongs to this test."""
        return bool(self.of) and all(meets(v, tags.get(k, ""), k) for k, v in self.of.items())

    def wanted_of(self, camera: str, session: SessionFile) -> dict[str, str | tuple[float, float]]:
        """What a camera must say, by tag: what the test says goes before what the session says, a name before a pattern."""
        out: dict[str, str | tuple[float, float]] = {**session.metadata, **self.metadata}
        for table in (session.hardware, self.hardware):
            for pattern in sorted(table, key=lambda p: "*" not in p and "?" not in p):
                if fnmatch.fnmatchcase(camera, pattern):
                    out |= table[pattern]
        return out


class SessionFile(Part):
    """The contents of a session file."""

    session: str = Field(pattern=NAME, description="its name")
    doc: str = Field("", description="what it is for")
    instrument: str = Field("", description="the instrument that it is for; another one is refused")
    timeout_h: float = Field(4.0, gt=0, le=10_000, description="a test is closed so many hours after the launch or the last test, complete or not")
    start_expid: int | None = Field(None, ge=0, description="exposures with lower numbers are of an aborted sequence, and no part of it")
    position: str = Field("", description="tag with the number of an exposure within its sequence: where it falls, a sequence begins again")
    metadata: dict[str, Wanted] = Field({}, description="as `metadata` of a test, for all of them")
    hardware: dict[str, dict[str, Wanted]] = Field({}, description="as `hardware` of a test, for all of them")
    todo: dict[SubTask, bool] = Field({}, description="as `todo` of a test, for all of them")
    flags: tuple[str, ...] = Field(("default",), description="flags that can be raised: names or files of configs/flags")
    slow_s: float = Field(600.0, gt=0, description="a sub-task that takes longer is too slow")
    deadline_s: float = Field(7200.0, gt=0, description="a test whose work takes longer is stopped")
    tests: tuple[SessionTest, ...] = Field(min_length=1, description="the tests, in the order in which they are taken")
    found: dict[str, tuple[str, ...]] = Field({}, description="exposures of each test, written by wait mode; see `quicklook aim --test`")

    @model_validator(mode="after")
    def _names(self) -> SessionFile:
        names = [t.name for t in self.tests]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"two tests are called {', '.join(twice)}")
        if "all" in names:
            raise ValueError("no test can be called `all`: it stands for every test (`--todo all:prep=no`)")
        return self

    def test(self, name: str) -> SessionTest:
        """A test by its name. Raises BadConfig."""
        for test in self.tests:
            if test.name == name:
                return test
        raise BadConfig(f"session {self.session} has no test {name!r}{suggest(name, [t.name for t in self.tests], noun='tests')}")

    @property
    def sha256(self) -> str:
        """Checksum of what it says; not of the exposures that were found."""
        return hashlib.sha256(self.model_dump_json(exclude={"found"}).encode()).hexdigest()


class Todo(Record):
    """Which sub-tasks are switched by hand, for all tests ("") or for one, by name."""

    check_only: bool = False
    switched: dict[str, dict[SubTask, bool]] = Field(default_factory=dict)

    def of(self, session: SessionFile, test: SessionTest) -> tuple[SubTask, ...]:
        """The sub-tasks of a test that are done: by hand goes before the test, the test before the session."""
        chosen = {**dict.fromkeys(SubTask, True), **session.todo, **test.todo}
        if self.check_only:
            chosen |= {s: False for s in SubTask if s not in CHECKS}
        chosen |= self.switched.get("", {}) | self.switched.get(test.name, {})
        return tuple(s for s in SubTask if chosen[s])


def parse_todo(texts: Iterable[str], session: SessionFile, *, check_only: bool = False) -> Todo:
    """From ``BIAS01:prep=no,meta=yes`` (``all:`` for every test). Raises BadConfig for what cannot be read, and for names that there are not."""
    switched: dict[str, dict[SubTask, bool]] = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        if not colon or not rest:
            raise BadConfig(f"--todo {text}: write TEST:SUBTASK=yes or =no, as in BIAS01:prep=no")
        name = "" if name.strip() == "all" else session.test(name.strip()).name
        for word in rest.split(","):
            key, _, value = (w.strip() for w in word.partition("="))
            if key not in list(SubTask):
                raise BadConfig(f"--todo {text}: there is no sub-task {key!r}{suggest(key, list(SubTask), noun='sub-tasks')}")
            if value.lower() not in _YES_NO:
                raise BadConfig(f"--todo {text}: {key} is {value!r}; write yes or no")
            switched.setdefault(name, {})[SubTask(key)] = _YES_NO[value.lower()]
    return Todo(check_only=check_only, switched=switched)


def load_session(doc: Document, *, tag_names: Sequence[str] | frozenset[str], instrument: str = "") -> SessionFile:
    """A session from a file, checked. `tag_names` are the tags that the site knows.

    Raises BadConfig, with file and line: what is no session; a tag that nothing has; a session for another instrument.
    """
    file = validate(SessionFile, doc)
    if file.instrument and instrument and file.instrument != instrument:
        raise BadConfig(f"{doc.where(('instrument',))}: the session is for {file.instrument}, the site has {instrument}")
    known = {*tag_names, *FACTS}
    for place, names in _tag_places(file):
        for name in names:
            if name not in known:
                raise BadConfig(f"{doc.where((*place, name))}: there is no tag {name!r}{suggest(name, sorted(known), noun='tags')}")
    if file.position and file.position not in known:
        raise BadConfig(f"{doc.where(('position',))}: there is no tag {file.position!r}{suggest(file.position, sorted(known), noun='tags')}")
    return file


FACTS = (
    "exptime", "flavor", "program", "object", "airmass", "seeing", "transparency", "temperature_c", "start", "night", "expid", "camera", "serial",
    "test",
)  # fmt: skip
"""What is known of exposures and cameras beside the tags of a site."""


def _tag_places(file: SessionFile) -> Iterable[tuple[tuple[str | int, ...], Iterable[str]]]:
    yield ("metadata",), file.metadata
    for pattern, table in file.hardware.items():
        yield ("hardware", pattern), table
    for i, test in enumerate(file.tests):
        yield ("tests", i, "of"), test.of
        yield ("tests", i, "metadata"), test.metadata
        for pattern, table in test.hardware.items():
            yield ("tests", i, "hardware", pattern), table
        for k, expect in enumerate(test.expect):
            yield ("tests", i, "expect", k, "tags"), expect.tags
