"""Delivery to real servers that fail, take and answer too late, and come back: each incident arrives, once by its fingerprint, with its end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import FAIL, LATE_S, OK, REFUSE, SILENT, HookServer, MailServer, text_of

from monitor.alerts.book import AlarmBook
from monitor.alerts.channels import ChannelConfig, channel_of
from monitor.alerts.handling import Handling
from monitor.alerts.machine import Machine
from monitor.alerts.model import Signal
from monitor.alerts.outbox import Outbox
from monitor.alerts.send import send_alert
from monitor.alerts.standing import Outcome
from monitor.alerts.text import Writer
from quicklook.core.errors import BadConfig, BadData, Transient
from quicklook.core.severity import Severity
from quicklook.io.configfiles import config_folders

S = 1_000_000_000
TEMPLATE = next(f / "alerts/message.txt.jinja" for f in config_folders() if (f / "alerts/message.txt.jinja").is_file()).read_text()
BOTH = {"bench": Handling(channels=("mail", "hook"), wait_s=0), "other": Handling(channels=("hook",), wait_s=0)}


class Desk:
    """A machine, its book and its outbox, in a time of their own."""

    def __init__(self, folder: Path, channels: dict[str, ChannelConfig], handling: dict[str, Handling] | None = None) -> None:
        self.time, self._made_of = 1_700_000_000 * S, (folder, channels, handling or BOTH)
        self.start()

    def start(self) -> None:
        """As after a restart: all it knows is in the book."""
        folder, channels, handling = self._made_of
        self.book = AlarmBook(folder / "alarms.sqlite")
        self.machine = Machine(handling, *self.book.load(), now=self.time)
        made = {n: (c, channel_of(n, c)) for n, c in channels.items()}
        self.outbox = Outbox(self.book, made, Writer(TEMPLATE, "http://page.example"), lambda: self.time)

    def do(self, act: Callable[[], Outcome]) -> None:
        for out in (act(), self.machine.tick(self.time)):
            with self.book.transaction() as connection:
                self.book.save(connection, self.machine.incidents, self.machine.mutes)
                self.book.note(connection, out.changes)
                self.book.announce(connection, out.notices, self.time)
            self.book.saved(self.machine.incidents, self.machine.mutes)

    def signal(self, key: str, active: bool = True, severity: Severity = Severity.ALARM, what: str = "") -> None:
        rule = key.partition("/")[0]
        facts = {"value": "5.1", "value_unit": "electron", "limit": "0 to 3.5", "action": "Look at the detector."}
        sign = Signal(
            key=key, rule=rule, active=active, severity=severity, what=what or f"{key} is out of its limits", where="camera r0", facts=facts
        )
        self.do(lambda: self.machine.signal(self.time, sign))

    def go_on(self, seconds: int, every: int = 5) -> None:
        for _ in range(0, seconds, every):
            self.time += every * S
            self.outbox.turn()

    def close(self) -> None:
        self.book.close()


@pytest.fixture
def servers() -> Iterator[tuple[MailServer, HookServer]]:
    with MailServer() as mail, HookServer() as hook:
        yield mail, hook


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path, servers: tuple[MailServer, HookServer]) -> Iterator[Desk]:
    """Waits for a server so many seconds as its parameter says, else so long that a busy machine is no failure."""
    (mail, hook), timeout_s = servers, getattr(request, "param", 60.0)
    made = Desk(
        tmp_path,
        {
            "mail": ChannelConfig(url=mail.url, timeout_s=timeout_s, per_hour=1000),
            "hook": ChannelConfig(url=hook.url, form="webhook", timeout_s=timeout_s, per_hour=1000),
        },
    )
    yield made
    made.close()


@pytest.mark.parametrize("desk", [0.5], indirect=True, ids=["short of patience"])
def test_each_incident_arrives_once_with_its_end_through_failures_and_restarts(desk: Desk, servers: tuple[MailServer, HookServer]) -> None:
    mail, hook = servers
    rng = random.Random(3)
    for number in range(12):
        mail.mode, hook.mode = rng.choice((OK, FAIL, SILENT)), rng.choice((OK, FAIL, SILENT))
        desk.signal(f"bench/{number}")
        desk.go_on(5)
        if number % 3 == 0:
            desk.signal(f"bench/{number}", active=False)
        if number % 4 == 0:
            desk.close()
            desk.start()
        desk.go_on(5)
    for number in range(12):
        desk.signal(f"bench/{number}", active=False)
    mail.mode = hook.mode = OK
    desk.go_on(1500, every=30)
    told = hook.incidents()
    assert len(told) == 12
    assert all(statuses == {"firing", "resolved"} for statuses in told.values())
    assert len(hook.got) > len(set(hook.keys)), "one was taken twice, or nothing was tried"
    by_key: dict[str, dict[str, Any]] = {}
    for key, posted in zip(hook.keys, hook.got, strict=True):
        assert by_key.setdefault(key, posted) == posted, "every attempt sends the same"
    once = {(a["fingerprint"], a["status"]): key for key, body in by_key.items() for a in body["alerts"]}
    assert sum(len(b["alerts"]) for b in by_key.values()) == len(once) == 24
    assert len(mail.got) > len(mail.fingerprints())
    assert all(len(subjects) == 1 for subjects in mail.fingerprints().values())


def test_the_end_never_comes_before_the_beginning(desk: Desk, servers: tuple[MailServer, HookServer]) -> None:
    _, hook = servers
    hook.mode = FAIL
    desk.signal("other/a")
    desk.go_on(20)
    desk.signal("other/a", active=False)
    desk.go_on(20)
    hook.mode = OK
    desk.go_on(700)
    assert [a["status"] for body in hook.got for a in body["alerts"]] == ["firing", "resolved"]


def test_an_endpoint_that_refuses_all_for_a_while_loses_nothing(desk: Desk, servers: tuple[MailServer, HookServer]) -> None:
    mail, hook = servers
    hook.mode = mail.mode = REFUSE
    desk.signal("bench/a")
    desk.go_on(60)
    assert set(desk.outbox.failing()) == {"mail", "hook"}
    desk.signal("bench/b")
    desk.go_on(60)
    hook.mode = mail.mode = OK
    desk.go_on(700, every=30)
    assert [a["labels"]["key"] for body in hook.got for a in body["alerts"]] == ["bench/a", "bench/b"]
    assert len(mail.got) == len(mail.fingerprints()) == 2
    assert not desk.outbox.failing()


def test_what_is_refused_by_itself_does_not_block_the_others(desk: Desk, servers: tuple[MailServer, HookServer]) -> None:
    mail, hook = servers
    hook.refused = mail.refused = "bench/a"
    desk.signal("bench/a")
    desk.go_on(60)
    desk.signal("bench/b")
    desk.go_on(60)
    assert len(hook.got) == len(mail.got) == 1
    assert "bench/b" in hook.got[0]["commonAnnotations"]["subject"]
    assert not desk.outbox.failing(), "it is given up"


def test_a_storm_is_one_digest(desk: Desk, servers: tuple[MailServer, HookServer]) -> None:
    mail, hook = servers
    for number in range(500):
        desk.signal(f"bench/{number}")
    desk.go_on(60)
    assert len(mail.got) == len(hook.got) == 1
    assert len(hook.incidents()) == 500
    assert "500 messages of alarms" in mail.got[0]["Subject"].replace("\n", "")
    body = text_of(mail.got[0])
    assert "... and 460 more" in body


def test_a_storm_that_goes_on_is_few_messages_and_what_is_worse_does_not_wait(tmp_path: Path) -> None:
    with HookServer() as hook:
        desk = Desk(tmp_path, {"hook": ChannelConfig(url=hook.url, form="webhook")}, {"other": Handling(channels=("hook",), wait_s=0)})
        for number in range(42):
            for one in range(12):
                desk.signal(f"other/{number}/{one}", severity=Severity.WARNING)
            desk.go_on(1, every=1)
            if number == 30:
                told = len(hook.got)
                desk.signal("other/worse", severity=Severity.CRITICAL)
        assert len(hook.got[0]["alerts"]) == 24, "the first are told at once"
        assert hook.got[told]["alerts"][0]["labels"]["severity"] == "critical"
        desk.go_on(600)
        assert len(hook.got) <= 6
        assert len(hook.incidents()) == 505
        desk.go_on(600)
        desk.signal("other/later")
        desk.go_on(5)
        assert len(hook.incidents()) == 506, "when it is calm again, what is new is told at once"
        desk.close()


def test_a_message_is_never_longer_than_a_server_bears(tmp_path: Path) -> None:
    with HookServer() as hook:
        desk = Desk(tmp_path, {"hook": ChannelConfig(url=hook.url, form="webhook", most_alerts=40)}, {"other": Handling(channels=("hook",), wait_s=0)})
        for number in range(100):
            desk.signal(f"other/{number}", what="x" * 100_000)
        desk.go_on(5)
        assert [len(body["alerts"]) for body in hook.got] == [40, 40, 20]
        assert len(hook.incidents()) == 100
        assert max(len(str(body)) for body in hook.got) < 40 * 2000
        desk.close()


def test_a_channel_that_had_its_share_gets_digests(tmp_path: Path) -> None:
    with HookServer() as hook:
        desk = Desk(tmp_path, {"hook": ChannelConfig(url=hook.url, form="webhook", per_hour=4)}, {"other": Handling(channels=("hook",), wait_s=0)})
        for number in range(30):
            desk.signal(f"other/{number}")
            desk.go_on(30)
        assert len(hook.got) == 5, "four, and a digest ten minutes after the last"
        desk.go_on(1200)
        assert len(hook.got) == 6
        assert len(hook.incidents()) == 30
        desk.close()


def test_a_message_says_all_that_is_asked_of_one(desk: Desk, servers: tuple[MailServer, HookServer]) -> None:
    mail, hook = servers
    desk.signal("bench/a", what="read noise 5.1 above 3.5\r\nBcc: everybody@example.com")
    desk.go_on(10)
    said = mail.got[0]
    assert said["Bcc"] is None
    assert said["Subject"].startswith("[ALARM] read noise 5.1 above 3.5 Bcc")
    body = text_of(said)
    fingerprint = hook.got[0]["alerts"][0]["fingerprint"]
    for words in ("where       camera r0", "since       2023-11-14", "ALARM", "5.1 electron (normal: 0 to 3.5)", "Look at the detector.",
                  f"quicklook alarms ack {fingerprint}", f"http://page.example/alarms/{fingerprint}"):  # fmt: skip
        assert words in body
    assert hook.got[0]["alerts"][0]["labels"]["alertname"] == "bench"
    assert hook.got[0]["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"


def test_a_redirect_is_no_arrival(tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    desk = Desk(
        tmp_path,
        {"hook": ChannelConfig(url=f"http://127.0.0.1:{server.server_address[1]}", form="webhook")},
        {"other": Handling(channels=("hook",), wait_s=0)},
    )
    desk.signal("other/a")
    desk.go_on(30)
    assert desk.outbox.failing() == {} or "302" in desk.outbox.failing()["hook"][1]
    with desk.book.reading() as connection:
        from monitor.alerts import tables as t

        assert "302" in connection.execute(t.MESSAGES.select()).one().error
    desk.close()
    server.shutdown()
    server.server_close()


def test_addresses_come_from_where_nobody_else_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "address"
    secret.write_text("mailto://me:very-secret@127.0.0.1:1?from=a@b.example&to=c@d.example\n")
    secret.chmod(0o644)
    with pytest.raises(BadConfig, match="chmod 600"):
        channel_of("mail", ChannelConfig(url=f"file:{secret}"))
    with pytest.raises(BadConfig, match="WHERE_IT_IS"):
        channel_of("mail", ChannelConfig(url="env:WHERE_IT_IS"))
    with pytest.raises(BadConfig, match="apprise cannot read"):
        channel_of("mail", ChannelConfig(url="nothing://very-secret"))
    secret.chmod(0o600)
    desk = Desk(tmp_path, {"mail": ChannelConfig(url=f"file:{secret}", timeout_s=0.5)}, {"other": Handling(channels=("mail",), wait_s=0)})
    desk.signal("other/a")
    desk.go_on(100)
    assert "channel mail" in desk.outbox.failing()["mail"][1]
    assert "very-secret" not in caplog.text + desk.outbox.failing()["mail"][1]
    desk.close()
    assert LATE_S > 0.5


def test_a_script_sends_one_alert() -> None:
    with HookServer() as hook:
        first = send_alert(hook.url, "mapmaking", "obs_17", "out of memory", 1_700_000_000.0)
        assert send_alert(hook.url, "mapmaking", "obs_17", "out of memory", 1_700_000_000.0) == first
        assert send_alert(hook.url, "mapmaking", "obs_18", "out of memory", 1_700_000_000.0) != first
        alert = hook.got[0]["alerts"][0]
        assert (alert["labels"]["alertname"], alert["labels"]["tag"], alert["annotations"]["error"]) == ("mapmaking", "obs_17", "out of memory")
        assert alert["startsAt"] == "2023-11-14T22:13:20.000Z"
        assert alert["fingerprint"] == first
        hook.mode = FAIL
        with pytest.raises(Transient, match="503"):
            send_alert(hook.url, "mapmaking", "obs_17", "x")
        hook.mode = REFUSE
        with pytest.raises(BadData, match="400"):
            send_alert(hook.url, "mapmaking", "obs_17", "x")
    with pytest.raises(Transient, match="mapmaking: .*refused"):
        send_alert(hook.url, "mapmaking", "obs_17", "x")
    with pytest.raises(ValueError, match="http"):
        send_alert("file:///etc/passwd", "mapmaking", "obs_17", "x")
