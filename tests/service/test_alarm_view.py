"""Alarms as the journal has them: what stands, what people may wish, the report card, the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.alarms import AlarmNow, MuteNow
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.events import AlarmChanged, CommandGiven, Heartbeat, MutesChanged, Payload, draft
from quicklook.core.severity import Severity
from quicklook.service.alarms.report import report_card
from quicklook.service.alarms.view import read_alarms
from quicklook.service.alarms.wishes import wish
from quicklook.service.journal.journal import Journal, journal_path, take_lock
from quicklook.service.publishing.commands import Commander, Hooks
from quicklook.service.site import load_site

S = 1_000_000_000
START = 1_700_000_000 * S


class Told:
    """A journal in which time goes by."""

    def __init__(self, out: Path) -> None:
        self.time = START
        out.mkdir(exist_ok=True)
        self.journal = Journal(journal_path(out), lambda: self.time)

    def say(self, payload: Payload, after_s: float = 1.0) -> None:
        self.time += round(after_s * S)
        self.journal.append([draft(payload)])

    def alarm(self, key: str, state: str, number: int = 1, severity: Severity = Severity.ALARM, by: str = "", after_s: float = 1.0) -> str:
        self.time += round(after_s * S)
        fingerprint = f"{key.replace('/', '')}{number:04d}"
        now = AlarmNow(
            key=key, fingerprint=fingerprint, rule=key.partition("/")[0], state=state, severity=severity, worst=severity, frame=False,
            what=f"{key} is out of its limits", began=self.time, fired=None if state == "pending" else self.time, by=by, told=["mail"],
        )  # fmt: skip
        self.say(AlarmChanged(name=key, alarm=now), 0)
        return fingerprint


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    made = Told(tmp_path / "out")
    yield made
    made.journal.close()


def test_what_stands_is_worst_first_and_what_is_closed_is_past(told: Told) -> None:
    told.alarm("a/1", "firing", severity=Severity.WARNING)
    told.alarm("b/1", "firing")
    told.alarm("c/1", "firing")
    told.alarm("c/1", "closed", by="ann", after_s=60)
    told.alarm("d/1", "pending")
    found = read_alarms(told.journal)
    assert [a.key for a in found.now] == ["b/1", "d/1", "a/1"]
    assert [(p.key, p.by) for p in found.past] == [("a/1", ""), ("b/1", ""), ("c/1", "ann")], "pending is not one yet"
    assert found.past[2].acknowledged == told.time - 1 * S


def test_an_incident_that_came_again_before_its_end_was_told_is_over(told: Told) -> None:
    told.alarm("a/1", "firing", 1)
    told.alarm("a/1", "firing", 2, after_s=30)
    first, second = read_alarms(told.journal).past
    assert first.ended == told.time, "it does not last until now"
    assert second.ended is None


def test_wishes_are_looked_at_before_they_are_taken(told: Told) -> None:
    fingerprint = told.alarm("a/1", "firing")
    journal = told.journal
    assert "a/1" in wish("acknowledge", journal, {"alarm": "a/*"})[0]
    assert "a/1" in wish("acknowledge", journal, {"alarm": fingerprint})[0]
    with pytest.raises(BadData, match="no alarm that stands"):
        wish("acknowledge", journal, {"alarm": "b/*"})
    assert "a/1" in wish("mute", journal, {"pattern": "a/*", "minutes": "10", "reason": "warm-up"})[0]
    for wrong in ({"minutes": "-1"}, {"minutes": "1e9"}, {"minutes": "nan"}, {"reason": ""}, {"severity": "loud"}, {"pattern": ""}, {"more": "x"}):
        with pytest.raises(BadConfig, match="cannot be muted"):
            wish("mute", journal, {"pattern": "a/*", "minutes": "10", "reason": "warm-up", **wrong})
    with pytest.raises(BadData, match="there is no mute 'mute-9'; there are: none"):
        wish("unmute", journal, {"mute": "mute-9"})
    told.say(MutesChanged(mutes=[MuteNow(id="mute-9", pattern="a/*", owner="bob", reason="warm-up", until=told.time, severity=Severity.ALARM)]))
    assert wish("unmute", journal, {"mute": "mute-9"})[0] == "mute-9 is over"
    assert wish("mark", journal, {"alarm": fingerprint, "as": "noise"})[0].endswith("noise")
    with pytest.raises(BadConfig, match="useful or noise"):
        wish("mark", journal, {"alarm": fingerprint, "as": "lovely"})
    with pytest.raises(BadData, match="no alarm has"):
        wish("mark", journal, {"alarm": "nothing", "as": "noise"})


def test_the_report_card_counts(told: Told) -> None:
    for number in range(4):
        fingerprint = told.alarm("a/1", "firing", number, after_s=600)
        if number < 2:
            told.alarm("a/1", "acknowledged", number, by="ann", after_s=60 * (1 + number))
        told.say(
            CommandGiven(name="mark", args={"alarm": fingerprint, "as": "useful" if number else "noise"}, by="ann", via="token", done=True, said="")
        )
        told.alarm("a/1", "closed", number)
    told.alarm("b/1", "firing")
    card = report_card(read_alarms(told.journal).past, START, START + 2 * 86400 * S)
    assert (card.incidents, card.per_day) == (5, 2.5)
    first, second = card.rules
    assert (first.rule, first.incidents, first.useful, first.noise, first.acknowledged, first.told) == ("a", 4, 3, 1, 2, 4)
    assert first.seconds_to_acknowledge == pytest.approx(91, abs=2)
    assert first.acted
    assert (second.rule, second.acted, second.seconds_to_acknowledge) == ("b", False, None)
    assert report_card(read_alarms(told.journal).past, START - 10 * S, START).incidents == 0
    with pytest.raises(ValueError, match="of some time"):
        report_card([], START, START)


def test_to_look_changes_nothing(told: Told, tmp_path: Path) -> None:
    """Whoever may only read it can look; and the journal of an older daemon that runs is not brought up to date beside it."""
    with told.journal.transaction() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '1' WHERE key = 'layout'")
    with pytest.raises(BadConfig, match="is of layout 1"):
        CliRunner().invoke(app, ["alarms", "report", "--out", str(tmp_path / "out")], catch_exceptions=False)
    with told.journal.reading() as connection:
        assert connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'layout'").scalar() == "1"


def test_the_command_line_lists_and_reports(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = CliRunner()
    monkeypatch.setattr("quicklook.cli.alarms.time.time_ns", lambda: told.time)
    out = ["--out", str(tmp_path / "out")]
    nothing = run.invoke(app, ["alarms", "list", *out])
    assert nothing.exit_code == 3, "without a daemon nobody watches"
    assert re.match(r"NOBODY WATCHES: no daemon works in .*\.\nNo alarm is known\.\n", nothing.output)
    lock = take_lock(tmp_path / "out")
    told.say(Heartbeat(waiting=0, running=0, done=0, failed=0, sinks={"files": 0}))
    nothing = run.invoke(app, ["alarms", "list", *out])
    assert (nothing.exit_code, "NOBODY WATCHES: the daemon has no sink `alarms`" in nothing.output) == (3, True)
    assert "no sink" in json.loads(run.invoke(app, ["alarms", "list", "--json", *out]).output)["blind"]
    told.say(Heartbeat(waiting=0, running=0, done=0, failed=0, sinks={"files": 0, "alarms": 0}))
    nothing = run.invoke(app, ["alarms", "list", *out])
    assert (nothing.exit_code, nothing.output.strip()) == (0, "No alarm stands.")
    with monkeypatch.context() as patch:
        patch.setattr("quicklook.cli.alarms.time.time_ns", lambda: told.time + 100 * S)
        nothing = run.invoke(app, ["alarms", "list", *out])
        assert (nothing.exit_code, "NOBODY WATCHES: the daemon has given no sign of life for 100 s" in nothing.output) == (3, True), "it hangs"
    told.alarm("a/1", "firing")
    told.say(MutesChanged(mutes=[MuteNow(id="mute-9", pattern="hk/*", owner="bob", reason="warm-up", until=told.time, severity=Severity.ALARM)]))
    listed = run.invoke(app, ["alarms", "list", *out])
    assert listed.exit_code == 1
    assert "a/1 is out of its limits" in listed.output
    assert "by bob: warm-up" in listed.output
    data = json.loads(run.invoke(app, ["alarms", "list", "--json", *out]).output)
    assert [a["key"] for a in data["alarms"]] == ["a/1"]
    assert "1 alarms in 1 days" in run.invoke(app, ["alarms", "report", "--days", "1", *out]).output
    told.alarm("a/1", "acknowledged", by="ann")
    assert run.invoke(app, ["alarms", "list", *out]).exit_code == 0
    lock.close()
    with pytest.raises(BadConfig, match="has no journal"):
        run.invoke(app, ["alarms", "list", "--out", str(tmp_path / "none")], catch_exceptions=False)


def test_the_daemon_takes_what_people_wish(tmp_path: Path) -> None:
    """Through the command socket of a site, as the command line does."""
    (tmp_path / "raw").mkdir()
    options = {"instrument": "desi", "raw": str(tmp_path / "raw"), "out": str(tmp_path / "out"), "sinks": {}}
    told = Told(tmp_path / "out")
    fingerprint = told.alarm("a/1", "firing")
    lock = take_lock(tmp_path / "out")  # as a daemon that lives
    commander = Commander.start(load_site(None, options=options), Hooks(wake=lambda: None, stop=lambda: None, reload=str))
    try:
        run, out = CliRunner(), ["--by", "ann", "--out", str(tmp_path / "out")]
        for words, said in (
            (["ack", "a/*", "--reason", "known"], "acknowledged: a/1"),
            (["mute", "a/*", "--minutes", "5", "--reason", "work"], "muted for 5 minutes: a/1"),
            (["mark", fingerprint, "useful"], f"{fingerprint} was useful"),
        ):
            done = run.invoke(app, ["alarms", *words, *out], catch_exceptions=False)
            assert (done.exit_code, done.output.strip()) == (0, said)
        with pytest.raises(BadData, match="no mute"):
            run.invoke(app, ["alarms", "unmute", "mute-1", *out], catch_exceptions=False)
    finally:
        commander.close()
        lock.close()
    given = [CommandGiven.model_validate(e.payload) for e in told.journal.events(kinds=["command"])]
    assert [(g.name, g.by, g.done) for g in given] == [
        ("acknowledge", "ann", True),
        ("mute", "ann", True),
        ("mark", "ann", True),
        ("unmute", "ann", False),
    ]
    assert given[0].args == {"alarm": "a/*", "reason": "known"}
    told.journal.close()
