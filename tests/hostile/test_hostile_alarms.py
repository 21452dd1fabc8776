"""Alarms against the hostile corpus: rules, channels, the book, what a template is given, what people send."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from corpus import HostileText, hostile_yaml
from hostile_answers import answer

from monitor.alerts.machine import Machine
from monitor.alerts.model import Incident, Notice, NoticeKind
from monitor.alerts.people import obey
from monitor.alerts.sink import AlarmParams, Alarms
from monitor.alerts.text import Writer
from quicklook.core.errors import BadConfig
from quicklook.core.events import CommandGiven
from quicklook.core.severity import Severity
from quicklook.core.sink import SinkContext
from quicklook.io.configfiles import config_folders

SITE = "instrument: desi\nsinks:\n  alarms:\n    rules: ./rules.yaml\n"
NASTY = ("<script>alert(1)</script>", "{{ 7 * 7 }}{% for x in y %}", "a\r\nBcc: all@example.com", "\x00\x1b[2J\u202e", "x" * 100_000, "ü漢😀", "")


@pytest.mark.parametrize("text", hostile_yaml(), ids=lambda t: t.name)
def test_rules_that_are_no_configuration(text: HostileText, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_bytes(text.content)
    (tmp_path / "site.yaml").write_text(SITE)
    shown = answer("validate", "--site", "site.yaml", folder=tmp_path)
    assert shown.code == 2, shown.output
    assert "Traceback" not in shown.output
    if text.name != "unknown key":  # what must be there and is not is told first
        assert re.search(text.says, shown.output), shown.output
    assert "rules.yaml" in shown.output


@pytest.mark.parametrize(
    "channels",
    ["{a: {url: ''}}", "{a: {url: nothing://x}}", "{a: {url: 'file:///none'}}", "{a: {url: 'env:NOT_THERE_AT_ALL'}}", "{a: 5}", "[1]",
     "{a: {url: 'ftp://x', form: webhook}}", "{a: {url: 'http://x', form: webhook, per_hour: 0}}", "{a: {url: 'http://x', timeout_s: .nan}}"],
)  # fmt: skip
def test_channels_that_cannot_be(channels: str, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(f"instrument: desi\nsinks:\n  alarms:\n    channels: {channels}\n")
    shown = answer("validate", "--site", "site.yaml", folder=tmp_path)
    assert shown.code == 2, shown.output
    assert "Traceback" not in shown.output


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_book_that_is_none_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    book = tmp_path / "alarms.sqlite"
    book.write_bytes(content)
    with pytest.raises(BadConfig, match="is not the book of alarms") as error:
        Alarms(AlarmParams()).open(SinkContext(out=str(tmp_path), epoch="e"))
    assert "Move it away" in error.value.what_next
    assert book.read_bytes() == content


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_what_comes_from_files_of_others_stays_text(text: str) -> None:
    template = next(f / "alerts/message.txt.jinja" for f in config_folders() if (f / "alerts/message.txt.jinja").is_file()).read_text()
    incident = Incident(
        key="a/b", rule="a", severity=Severity.ALARM, worst=Severity.ALARM, began=1, seen=1, fired=1, told_at=1, what=text, where=text, facts={"action": text, "value": text}
    )  # fmt: skip
    said = Writer(template).write("mail", [Notice(kind=NoticeKind.FIRING, incident=incident, channels=("mail",))], 1)
    assert "\n" not in said.subject
    assert "\r" not in said.text
    assert "\x1b" not in said.subject + said.text.replace(text, "")
    assert len(said.subject) <= 160
    assert "49" not in said.text.replace(text, "")
    assert not any(line.startswith("Bcc") for line in said.text.splitlines())


@pytest.mark.parametrize("name", ["acknowledge", "mute", "unmute", "mark", "nothing"])
@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_commands_with_anything_in_them(name: str, text: str) -> None:
    machine = Machine({})
    args = {"alarm": text, "pattern": text or "*", "minutes": "5", "reason": text or "r", "mute": text}
    if name == "mute":
        args = {k: args[k] for k in ("pattern", "minutes", "reason")}
    out = obey(machine, CommandGiven(name=name, args=args, by=text, via="token", done=True, said=""), 1, 1)
    assert not out.notices
