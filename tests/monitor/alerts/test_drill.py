"""`quicklook drill`, with real servers: a bad frame is told by every channel, and its end; a channel that is dead is told as such."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from servers import HookServer, MailServer
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.errors import BadConfig
from quicklook.service.proofs import drill as proof
from quicklook.service.proofs.drill import drill
from quicklook.service.proofs.drilldaemon import SENSOR, Told, messages_of, told_nobody, told_of


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_drill_goes_up_to_the_message(tmp_path: Path) -> None:
    with MailServer() as mail, HookServer() as hook:
        channels = {
            "mail": {"url": mail.url},
            "hook": {"url": hook.url, "form": "webhook"},
            "dead": {"url": "http://127.0.0.1:9/x", "form": "webhook"},
        }
        frame, sensor = drill({"channels": channels, "routes": {"ALARM": ["mail", "hook", "dead"]}}, tmp_path)
    assert "dead_amp" in frame.alarm
    assert 0 < frame.stages["seen"] < frame.stages["verdict"] < frame.stages["unit_verdict"]
    assert "drill_temperature" in sensor.alarm
    for done in (frame, sensor):
        assert done.status == "ALARM"
        by_name = {s.channel: s for s in done.sent}
        for name in ("mail", "hook"):
            assert 0 < done.stages["alarm"] < (by_name[name].alarm_s or 0)
            assert by_name[name].end_s is not None
        assert by_name["dead"].alarm_s is None
        assert not done.passed
    assert "refused" in frame.sent[0].error
    assert all(str(m["Subject"]).startswith("DRILL [") for m in mail.got)
    assert all(b["commonAnnotations"]["subject"].startswith("DRILL [") for b in hook.got)


def test_what_else_is_wrong_is_none_of_the_drill(tmp_path: Path) -> None:
    """Of the messages and alarms of its daemon those about the fault alone count, and only since it began."""
    (tmp_path / "out").mkdir()
    frame, old, disk = ({"key": k, "frame": f, "began": b} for k, f, b in (("bad/r0", True, 60), ("bad/r0", True, 40), ("disk/x", False, 70)))
    sensor = {"key": f"housekeeping/{SENSOR}/drill_limit", "frame": False, "began": 80}
    sent = {"hook": [("firing", disk), ("resolved", old)], "mail": [("firing", frame), ("resolved", disk)], "phone": [("firing", sensor)]}
    with closing(sqlite3.connect(tmp_path / "out/alarms.sqlite")) as book:
        book.execute("CREATE TABLE messages (channel, sent, error, record, made)")
        book.execute("CREATE TABLE notices (channel, record)")
        for channel, notices in sent.items():
            said = [{"kind": k, "incident": i} for k, i in notices]
            book.execute("INSERT INTO messages VALUES (?, 90, '', ?, 90)", (channel, json.dumps({"notices": said})))
            book.executemany("INSERT INTO notices VALUES (?, ?)", [(channel, json.dumps(n)) for n in said])
        book.commit()
    assert [(m.channel, m.kinds) for m in messages_of(tmp_path, sensor=False, begun=50)] == [("mail", {"firing"})]
    assert told_of(tmp_path, sensor=False, begun=50) == {"mail"}
    assert told_of(tmp_path, sensor=True, begun=50) == {"phone"}


def test_where_nobody_is_told_of_the_fault_that_is_known(tmp_path: Path) -> None:
    """A route for worse alone: the alarm was told, to nobody. As long as one may still be told it is not known."""
    (tmp_path / "out").mkdir()
    plain = {"key": "bad/r0", "frame": True, "began": 60, "told": "ALARM", "ended": None, "muted": "", "folded_into": "", "acknowledged_at": None}

    def known(*changed: dict[str, object]) -> bool:
        with closing(sqlite3.connect(tmp_path / "out/alarms.sqlite")) as book:
            book.execute("DROP TABLE IF EXISTS incidents")
            book.execute("CREATE TABLE incidents (record)")
            book.executemany("INSERT INTO incidents VALUES (?)", [(json.dumps({**plain, "channels": [], **c}),) for c in changed])
            book.commit()
        return told_nobody(tmp_path, sensor=False, begun=50)

    assert known({}, {"key": "bad/b0", "told": None, "folded_into": "bad/r0"})
    assert not known({}, {"key": "bad/b0", "told": None})
    assert not known({}, {"key": "bad/b0", "channels": ["mail"]})
    assert not known({"began": 40})
    assert not known()


def test_a_channel_that_refuses_is_named_while_it_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    messages = [
        Told(channel="mail", kinds=frozenset({"firing"}), sent=70, error=""),
        Told(channel="dead", kinds=frozenset({"firing"}), sent=None, error="connection refused"),
    ]
    for name, seconds in (("_MESSAGE_S", 0.5), ("_TELL_S", 0.0)):
        monkeypatch.setattr(proof, name, seconds)
    monkeypatch.setattr(proof, "told_nobody", lambda *_, **__: False)
    monkeypatch.setattr(proof, "messages_of", lambda *_, **__: messages)
    monkeypatch.setattr(proof, "told_of", lambda *_, **__: {"mail", "dead", "slow"})
    said: list[str] = []
    assert proof._await_messages(tmp_path, "firing", 50, said.append, sensor=False)
    assert "the message has not left by dead (connection refused), slow; it is waited for" in said[0]


def test_a_site_without_alarms_has_no_drill(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("instrument: desi\nraw: raw\nout: out\n")
    with pytest.raises(BadConfig, match="no sink `alarms`"):
        CliRunner().invoke(app, ["drill", "--site", str(site)], catch_exceptions=False)
    site.write_text("instrument: desi\nraw: raw\nout: out\nsinks: {alarms: {}}\n")
    with pytest.raises(BadConfig, match="no channels of alarms"):
        CliRunner().invoke(app, ["drill", "--site", str(site)], catch_exceptions=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(BadConfig, match="is not empty"):
        CliRunner().invoke(app, ["drill", "--site", str(site), "--folder", str(tmp_path / "full")], catch_exceptions=False)
