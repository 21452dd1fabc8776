"""Page Alarms: the report card, and in whose name things are done where the command socket has keys."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from web_host import Writer, serving, web_site

from quicklook.core.alarms import AlarmNow
from quicklook.core.events import AlarmChanged, CommandGiven
from quicklook.core.severity import Severity
from quicklook.io.curvekeys import new_client, new_server, write_private
from quicklook.service.alarms.view import AlarmStory, read_alarms
from quicklook.service.hosting.host import JournalHost
from quicklook.service.journal.journal import EVENTS, take_lock
from quicklook.service.publishing.commands import Commander, Hooks

S = 1_000_000_000


def _alarm(writer: Writer, key: str, state: str, fired: int, by: str = "") -> str:
    now = AlarmNow(key=key, fingerprint=f"{key.replace('/', '')}0001", rule=key.partition("/")[0], state=state, severity=Severity.ALARM, worst=Severity.ALARM,
                   frame=False, what=f"{key} is out of its limits", began=fired, fired=fired, by=by, told=["mail"])  # fmt: skip
    writer.say(AlarmChanged(name=key, alarm=now))
    return now.fingerprint


def test_the_report_card_says_which_rules_are_worth_something(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    writer, now = Writer(web_site(tmp_path)), time.time_ns()
    _alarm(writer, "amp/1", "firing", now - 60 * S)
    _alarm(writer, "amp/1", "acknowledged", now - 60 * S, by="ann")
    for n in (1, 2):
        loud = _alarm(writer, f"loud/{n}", "firing", now - 3600 * S)
    writer.say(CommandGiven(name="mark", args={"alarm": loud, "as": "noise"}, by="ann", via="token", done=True, said="noise"))
    _alarm(writer, "old/1", "firing", now - 40 * 86400 * S)
    with serving(writer.site) as served:
        card = served.get("/alarms/report").json
        assert (card["days"], card["incidents"]) == (30.0, 3)
        rules = {r["rule"]: r for r in card["rules"]}
        assert {n: (r["incidents"], r["noise"], r["acted"]) for n, r in rules.items()} == {"loud": (2, 1, False), "amp": (1, 0, True)}
        assert 59 < rules["amp"]["seconds_to_acknowledge"] < 120
        assert served.get("/alarms/report?days=365").json["incidents"] == 4
        for days in ("0", "-1", "nan", "inf", "1e9", "x"):
            assert served.get(f"/alarms/report?days={days}").status == 400, days


def test_an_alarm_more_does_not_read_all_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    writer, now, taken = Writer(web_site(tmp_path)), time.time_ns(), list[int]()
    for n in range(20):
        _alarm(writer, f"loud/{n}", "firing", now - (40 - n) * S)
    take = AlarmStory._take
    monkeypatch.setattr(AlarmStory, "_take", lambda story, event: (taken.append(event.seq), take(story, event)))
    host = JournalHost(writer.site)
    try:
        assert (len(host.alarms().now), len(taken)) == (20, 20)
        _alarm(writer, "loud/3", "resolved", now)
        writer.beat()
        found = host.alarms()
        assert {a.key: a.state for a in found.now}["loud/3"] == "resolved"
        assert (found.past_total, host.alarm_report(1.0).incidents, len(taken)) == (20, 20, 21)
        with writer.journal.transaction() as connection:  # as retention does
            connection.execute(sa.delete(EVENTS).where(EVENTS.c.seq <= 10))
        assert host.alarms().past_total == len(read_alarms(writer.journal).past) == 11
    finally:
        host.close()


def test_what_is_done_by_the_key_of_the_page_stands_under_the_name_of_the_person(tmp_path: Path) -> None:
    keys, out = tmp_path / "keys", tmp_path / "out"
    out.mkdir()
    new_server(keys)
    mine = new_client(keys, "page", commands=True)
    write_private(tmp_path / "page.token", "a token of the page, long enough\n")
    given = {"commands": {"endpoint": "tcp://127.0.0.1:*", "keys": str(keys)}, "web": {"keys": str(mine), "token": str(tmp_path / "page.token")}}
    stopped = []
    commander = Commander.start(web_site(tmp_path, **given), Hooks(wake=lambda: None, stop=lambda: stopped.append(1), reload=lambda: ""))
    try:
        given["commands"]["endpoint"] = commander.endpoint
        writer = Writer(web_site(tmp_path, **given))
        with take_lock(out), serving(writer.site) as served:
            args = {"pattern": "amp/*", "minutes": "5", "reason": "known"}
            token = "a token of the page, long enough"
            answer = served.post("/actions/mute", {"args": args, "by": "Ann Droid"}, token=token)
            assert answer.status == 200, answer.body
            assert served.post("/actions/mute", {"args": args, "by": "Ann Droid"}, token="another token, as long as it").status == 401
        found = [e.typed() for e in writer.journal.events(0, limit=100, kinds=["command"])]
        assert [(c.by, c.via, c.name) for c in found if isinstance(c, CommandGiven)] == [("Ann Droid (key page)", "key", "mute")]
    finally:
        commander.close()
