"""Session files: what they say, what is refused, which sub-tasks are done."""

from __future__ import annotations

import pytest

from quicklook.core.errors import BadConfig
from quicklook.core.session import Expect, SessionFile, SubTask, load_session, meets, parse_todo
from quicklook.core.yamlsource import parse_yaml

TAGS = ("program", "wavelength", "serial", "position")
TEXT = """\
session: night
instrument: bench
metadata: {temperature_c: [-121, -119]}
hardware:
  "*": {serial: any}
  ccd1: {serial: A-1}
tests:
  - name: BIAS01
    of: {program: bias01}
    expect: [{flavor: zero, count: 3}]
    hardware: {ccd2: {serial: B-2}}
    todo: {meta: false}
  - name: FLAT01
    expect: [{flavor: flat, count: 2, exptime: 10, wavelength: 800}]
    timeout_h: 0.5
"""


def load(text: str = TEXT, instrument: str = "bench") -> SessionFile:
    return load_session(parse_yaml(text, "s.yaml"), tag_names=TAGS, instrument=instrument)


def test_what_a_session_says() -> None:
    session = load()
    assert session.timeout_h == 4.0  # hours since launch or last test
    bias, flat = session.tests
    assert (bias.expected, flat.expected, flat.timeout_h) == (3, 2, 0.5)
    assert bias.is_labelled({"program": "BIAS01"})
    assert not bias.is_labelled({"program": "BIAS02"})
    assert not flat.is_labelled({"program": "anything"})  # it has no label: it is told by what it expects
    assert bias.wanted_of("ccd1", session) == {"temperature_c": (-121.0, -119.0), "serial": "A-1"}
    assert bias.wanted_of("ccd2", session)["serial"] == "B-2"
    assert flat.wanted_of("ccd2", session)["serial"] == "any"


@pytest.mark.parametrize(
    ("wanted", "fact", "holds"),
    [("A-1", "a-1 ", True), ("A-1", "A-2", False), ("A-1", "", False), ((-121.0, -119.0), "-120", True), ((-121.0, -119.0), "-118.9", False),
     ((-121.0, -119.0), "cold", False), ("26", "26.0", True), ("007", "7", True), ("14311", "14312", False), ("26", "26.001", False),
     ("9007199254740993", "9007199254740992", False)],
)  # fmt: skip
def test_facts_that_are_as_wanted(wanted: str | tuple[float, float], fact: str, holds: bool) -> None:
    assert meets(wanted, fact, "serial") is holds


@pytest.mark.parametrize(("wanted", "fact", "holds"), [("10", "10.05", True), ("10", "10.2", False), ("0", "0.005", True), ("0", "0.02", False)])
def test_times_and_wavelengths_are_measured(wanted: str, fact: str, holds: bool) -> None:
    assert meets(wanted, fact, "exptime") is holds
    assert meets(wanted, fact, "wavelength") is holds


def test_why_an_exposure_is_none_that_is_expected() -> None:
    expect = Expect(flavor="flat", count=2, exptime=10, wavelength=800)
    assert expect.misfit({"flavor": "flat", "exptime": "10", "wavelength": "800.0"}) == ""
    assert expect.misfit({"flavor": "flat", "exptime": "3"}) == "exptime is 3, not 10, wavelength is not stated, not 800"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("name: FLAT01", "name: BIAS01", "two tests are called BIAS01"),
        ("instrument: bench", "instrument: desi", r"s.yaml:2 \(instrument\): the session is for desi, the site has bench"),
        ("{program: bias01}", "{progam: bias01}", r"s.yaml:9 .*there is no tag 'progam'; did you mean 'program'"),
        ("count: 3", "count: 0", "count"),
        ("[-121, -119]", "[-119, -121]", "a range is two numbers"),
        ("meta: false", "metta: false", "todo"),
        ("timeout_h: 0.5", "timeout_h: -1", "timeout_h"),
        ("expect: [{flavor: zero, count: 3}]", "expect: []", "expect"),
        ("name: FLAT01", "name: 'FLAT:01'", "name"),
        ("name: FLAT01", "name: all", "no test can be called `all`"),
    ],
)
def test_what_is_wrong_is_shown_with_its_place(old: str, new: str, why: str) -> None:
    with pytest.raises(BadConfig, match=why):
        load(TEXT.replace(old, new))


def test_which_sub_tasks_are_done() -> None:
    session = load()
    bias, flat = session.tests
    every = tuple(SubTask)
    assert parse_todo([], session).of(session, flat) == every
    assert parse_todo([], session).of(session, bias) == every[:-1]  # the test says meta: false
    by_hand = parse_todo(["BIAS01:prep=no,meta=yes", "all:basic=off"], session)
    assert by_hand.of(session, bias) == (SubTask.INIT, SubTask.CHECK, SubTask.META)
    assert by_hand.of(session, flat) == (SubTask.INIT, SubTask.CHECK, SubTask.PREP, SubTask.META)
    assert parse_todo([], session, check_only=True).of(session, flat) == (SubTask.INIT, SubTask.CHECK)


@pytest.mark.parametrize("text", ["BIAS01", "BIAS9:prep=no", "BIAS01:perp=no", "BIAS01:prep=maybe", "BIAS01:"])
def test_what_cannot_be_switched(text: str) -> None:
    with pytest.raises(BadConfig, match="--todo|BIAS01"):
        parse_todo([text], load())


def test_the_checksum_leaves_out_what_was_found() -> None:
    found = load(TEXT + "found:\n  BIAS01: [20220101/00000100]\n")
    assert found.sha256 == load().sha256
    assert found.sha256 != load(TEXT.replace("count: 3", "count: 4")).sha256
