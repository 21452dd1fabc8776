"""What a message says: from notices to a subject and a text, by a template (`configs/alerts/message.txt.jinja`) that a site may replace. Pure."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field

from monitor.alerts.model import Incident, Notice, NoticeKind
from monitor.alerts.trend import Trend
from quicklook.core.errors import BadConfig, describe
from quicklook.core.results import Record
from quicklook.core.severity import Severity

log = logging.getLogger("quicklook.alerts")

_MOST = 40
"""So many incidents are told in full in one message; the others are counted, and are in the attached data of those who take data."""
_WORDS = {
    NoticeKind.FIRING: "",
    NoticeKind.WORSE: "worse: ",
    NoticeKind.AGAIN: "still: ",
    NoticeKind.ESCALATED: "nobody acknowledged: ",
    NoticeKind.RESOLVED: "resolved: ",
}
_LONGEST = 1000
_LONGEST_SUBJECT = 160
_MOST_TRENDS = 5


class Message(Record):
    """What one channel is told at once. It is written once; every attempt to send it sends the same, under the same id.

    `trends`: how values were before, by fingerprint.
    """

    id: str
    channel: str
    made: int
    subject: str
    text: str
    notices: tuple[Notice, ...]
    trends: Mapping[str, Trend] = Field(default_factory=dict)


def when(ns: int | None) -> str:
    """``2026-11-20 04:11:09 UTC``."""
    return "" if ns is None else datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def one_line(text: object) -> str:
    """Without line breaks and control characters, and not without end: names in it come from files of others."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)[: 4 * _LONGEST]).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


class Writer:
    """Writes messages by a template. `link` is the address of the live page, "" for none; `mark` is put before each message.
    `report` says where the report on an incident lies, `cause` what has likely led to it, "" for none.

    Raises BadConfig for a template that cannot be read.
    """

    def __init__(
        self,
        template: str,
        link: str = "",
        mark: str = "",
        report: Callable[[Incident], str] = lambda _: "",
        cause: Callable[[Incident], str] = lambda _: "",
    ) -> None:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.filters |= {"when": when, "line": one_line}
        self._link, self._mark = link.rstrip("/"), one_line(mark)
        self._report, self._cause = report, cause
        try:
            self._template = environment.from_string(template)
        except jinja2.TemplateSyntaxError as error:
            raise BadConfig(f"the template of messages cannot be read, line {error.lineno}: {error.message}") from error

    def write(self, channel: str, notices: Sequence[Notice], now: int, trend: Callable[[Notice], Trend | None] = lambda _: None) -> Message:
        """One message of these notices, worst first. A template that cannot be filled in is no reason to say nothing: then it is a plain list."""
        ordered = sorted(notices, key=lambda n: (n.kind is NoticeKind.RESOLVED, -n.incident.worst.rank, n.incident.began))
        identity = hashlib.sha256("\n".join([channel, *sorted(n.id for n in notices)]).encode()).hexdigest()[:32]
        told = [n for n in ordered[:_MOST_TRENDS] if n.kind is not NoticeKind.RESOLVED]
        trends = {n.incident.fingerprint: found for n in told if (found := trend(n)) is not None}
        try:
            text = self._filled(ordered, trends, now)
        except Exception as error:  # a template of a site may divide by zero, or ask for what is not there
            log.error("the template of messages cannot be filled in: %s", describe(error))
            text = "\n".join(f"{n.kind}: {one_line(n.incident.what)} [{n.incident.fingerprint}]" for n in ordered)
        subject, said = subject_of(ordered, self._mark), f"{self._mark}\n\n{text.strip()}\n".lstrip()
        return Message(id=identity, channel=channel, made=now, subject=subject, text=said, notices=tuple(ordered), trends=trends)

    def check(self) -> None:
        """Fill in the template for an alarm and for its end. Raises BadConfig where that does not go."""
        facts = {"value": "5.1", "value_unit": "electron", "limit": "0 to 3.5", "action": "Look."}
        severity = {"severity": Severity.ALARM, "worst": Severity.ALARM}
        begun = Incident(key="rule/key", rule="rule", what="what", where="where", facts=facts, began=1, seen=1, **severity)
        ended = begun.model_copy(update={"ended": 2, "ended_why": "why"})
        for kind, incident in ((NoticeKind.FIRING, begun), (NoticeKind.RESOLVED, ended)):
            try:
                self._filled([Notice(kind=kind, incident=incident, channels=("a",))], {}, 2)
            except Exception as error:
                raise BadConfig(f"the template of messages cannot be filled in: {describe(error)}") from error

    def _filled(self, ordered: Sequence[Notice], trends: Mapping[str, Trend], now: int) -> str:
        told, more = ordered[:_MOST], max(len(ordered) - _MOST, 0)
        words = {"kinds": _WORDS, "now": now, "link": self._link_of, "report": self._report, "cause": self._cause}
        return self._template.render(trends=trends, notices=told, more=more, n=len(ordered), **words)

    def _link_of(self, incident: Incident) -> str:
        return f"{self._link}/alarms/{incident.fingerprint}" if self._link else ""


def subject_of(notices: Sequence[Notice], before: str = "") -> str:
    """``[ALARM] camera r0: ...``, or ``[ALARM] 500 alarms: 300 bad_detector, 200 hk``; the worst first."""
    first = notices[0]
    mark = "resolved" if first.kind is NoticeKind.RESOLVED else str(first.incident.severity)
    if len(notices) == 1:
        said = f"{_WORDS[first.kind] if first.kind is not NoticeKind.RESOLVED else ''}{first.incident.what or first.incident.key}"
    else:
        rules = Counter(n.incident.rule for n in notices)
        over = sum(n.kind is NoticeKind.RESOLVED for n in notices)
        said = f"{len(notices)} messages of alarms{f', {over} resolved' if over else ''}: "
        said += ", ".join(f"{n} {rule}" for rule, n in rules.most_common(4))
    line = one_line(f"{before} [{mark}] {said}")
    return line if len(line) <= _LONGEST_SUBJECT else f"{line[: _LONGEST_SUBJECT - 1]}…"
