"""The sink of alarms: it folds the events of the journal into incidents, and has them told by its channels. It runs in a process of its own.

Time is that of the events, and heartbeats come every few seconds: what it does follows from the journal alone, and so a restart changes nothing.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from monitor.alerts.book import AlarmBook
from monitor.alerts.channels import ChannelConfig, address_of, channel_of
from monitor.alerts.handling import Handling
from monitor.alerts.hktrend import hk_trend
from monitor.alerts.likely import likely_cause
from monitor.alerts.machine import Machine
from monitor.alerts.model import Change, Incident, Notice, Signal, State
from monitor.alerts.observing import KINDS, Observer
from monitor.alerts.outbox import Outbox
from monitor.alerts.people import obey
from monitor.alerts.reports import report_of
from monitor.alerts.rules import Rules, load_rules
from monitor.alerts.standing import Outcome
from monitor.alerts.text import Writer
from monitor.alerts.trend import Trend, trend_of
from monitor.alerts.webhook import get
from quicklook.core.alarms import AlarmNow, MuteNow
from quicklook.core.errors import BadConfig, QuicklookError, Transient, describe
from quicklook.core.events import AlarmChanged, CommandGiven, Draft, Event, Heartbeat, MutesChanged, Seen, draft
from quicklook.core.params import Params
from quicklook.core.severity import Severity
from quicklook.core.sink import Sink, SinkContext
from quicklook.core.validation import suggest
from quicklook.io.configfiles import config_folders, find_config
from quicklook.io.history import FileHistory

log = logging.getLogger("quicklook.alerts")

_TURN_S = 0.5
_TICK_NS = 1_000_000_000
"""In a storm the machine looks at all that stands no more often than that."""
_RESTATE_NS = 86_400_000_000_000
"""So often the journal is told anew of all that stands: what it was told may be so old that it is removed."""
_CLEAN_S = 3600.0
_DAY_S = 86400.0
_SILENT_S = 30.0
"""A daemon whose last heartbeat is older than that is taken for dead."""
CHANNEL_DOWN = "channel_down"
_SYSTEM = Handling(hold_s=60, group="system")


class DeadMan(BaseModel):
    """An address outside that is asked for as long as the daemon lives: who listens there tells somebody when it hears nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(min_length=1, description="address, or where it is written (env:NAME, file:/path)")
    every_s: float = Field(60.0, ge=5)
    timeout_s: float = Field(10.0, gt=0, le=60)


class AlarmParams(Params):
    """Parameters of `alarms`."""

    rules: str = Field("default", description="rules: a name in configs/alerts, or a file")
    channels: dict[str, ChannelConfig] = Field({}, description="by which messages leave, by name")
    routes: dict[Severity, tuple[str, ...]] = Field({}, description="who is told of what a rule without channels raises, by severity")
    tag: str = Field("", description="the tag whose events count; by default that of the site")
    link: str = Field("", description="address of the live page, for links in messages")
    template: str = Field("", description="file with the template of messages; by default the one that is shipped")
    mark: str = Field("", max_length=40, description="put before every subject and text, as in a drill")
    dead_man: DeadMan | None = Field(None, description="an address outside that hears from the daemon for as long as it lives")
    keep_days: float = Field(365.0, ge=1, description="so long the audit trail and the messages that have left are kept")
    book: str = Field("", description="file of the book of alarms; by default alarms.sqlite in the output folder")


class Alarms(Sink[AlarmParams]):
    """Raises alarms by rules from what the journal says, keeps them until somebody knows of them, and has them told."""

    name = "alarms"
    kinds = (*KINDS, CommandGiven.kind)
    isolated = True

    def check(self) -> None:
        """Read rules, template and channels. Raises BadConfig."""
        self._rules()
        self._writer().check()
        self._check_routes()
        for name, config in self.params.channels.items():
            channel_of(name, config)
        if self.params.dead_man is not None:
            address = address_of("dead_man", self.params.dead_man.url)
            if not address.startswith(("http://", "https://")):
                raise BadConfig("the address of dead_man begins with http:// or https://")

    def open(self, context: SinkContext) -> None:
        """Open the book and the channels, and go on where it was."""
        rules = self._rules()
        self._book = AlarmBook(Path(self.params.book) if self.params.book else Path(context.out) / "alarms.sqlite")
        with self._book.reading() as connection:
            same = self._book.meta(connection, "epoch") == context.epoch
            self._seq = int(self._book.meta(connection, "seq") or 0) if same else 0
            self._ticked = int(self._book.meta(connection, "ticked") or 0)
            self._restated = int(self._book.meta(connection, "restated") or 0) if same else 0
            now = int(self._book.meta(connection, "now") or 0)
            flavors = json.loads(self._book.meta(connection, "flavors") or "{}")
        if not same:
            with self._book.transaction() as connection:
                self._book.forget_answers(connection)
        self._rules_now, self._observer, self._epoch, self._tag = rules, Observer(flavors), context.epoch, self.params.tag or context.tag
        self._load(now)
        self._retired = self._stale = False
        self._kept = (now, self._ticked, self._restated, False)
        made = {name: (config, channel_of(name, config)) for name, config in self.params.channels.items()}

        def trend(notice: Notice) -> Trend | None:
            of_frames = trend_of(notice, FileHistory(context.out), self._tag)
            return of_frames or hk_trend(notice.incident, context.hk_config, context.hk_store)

        def report(incident: Incident) -> str:
            return report_of(incident, Path(context.out), made=context.reports)

        def cause(incident: Incident) -> str:
            return likely_cause(incident, FileHistory(context.out), self._tag)

        self._outbox = Outbox(self._book, made, self._writer(report, cause), time.time_ns, trend)
        self._beat, self._pinged, self._cleaned = 0, 0.0, 0.0
        self._stop = threading.Event()
        # each channel by itself: one that hangs keeps nobody waiting
        self._threads = [threading.Thread(target=self._deliver, args=(name,), name=f"alarms-{name}", daemon=True) for name in made]
        self._threads.append(threading.Thread(target=self._attend, name="alarms-attendant", daemon=True))
        for thread in self._threads:
            thread.start()

    def _load(self, now: int) -> None:
        incidents, mutes = self._book.load()
        self._machine = Machine({**self._rules_now.handling, CHANNEL_DOWN: _SYSTEM}, incidents, mutes, now, self.params.routes)

    def accept(self, event: Event) -> Sequence[Draft]:
        """Take one event. Raises Transient where the book cannot be written now."""
        if event.seq <= self._seq:
            return self._book.answers(event.seq)
        if self._stale:  # what was folded was not written: back to what is
            now, self._ticked, self._restated, self._retired = self._kept
            self._load(now)
        self._kept, self._stale = (self._machine.now, self._ticked, self._restated, self._retired), True
        out, before = Outcome(), dict(self._machine.mutes)
        self._fold(event, out)
        answers = self._answers(out, before, event.time)
        if out.changes or out.notices or answers or event.kind == Seen.kind or self._book.differs(self._machine.incidents):
            self._write(event.seq, out, answers)
        self._stale = False
        return answers

    def close(self) -> None:
        """Let the outbox end its turn, and close the book."""
        self._stop.set()
        end = time.monotonic() + 5.0
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))
        self._book.close()

    # ---- events

    def _fold(self, event: Event, out: Outcome) -> None:
        if not self._retired:
            _add(out, self._machine.retire(event.time, {*self._rules_now.handling, CHANNEL_DOWN}))
            self._retired = True
        if event.kind == CommandGiven.kind:
            given = CommandGiven.model_validate(event.payload)
            _add(out, obey(self._machine, given, event.time, event.seq))
        elif event.tag == self._tag:
            for seen in self._observer(event):
                for signal in self._rules_now.signals(seen):
                    if self._counts(signal):
                        _add(out, self._machine.signal(event.time, signal))
        if event.kind == Heartbeat.kind:
            self._beat = event.time
            for signal in self._channel_signals():
                _add(out, self._machine.signal(event.time, signal))
        # not within a second of the last, unless the clock was set back
        if event.kind == Heartbeat.kind or (out.changes and not 0 <= event.time - self._ticked < _TICK_NS):
            self._ticked = event.time
            _add(out, self._machine.tick(event.time))

    def _counts(self, signal: Signal) -> bool:
        """Not what says that nothing is wrong where nothing was; and of frames not what is older than what is known: backlog comes last."""
        known = self._machine.incidents.get(signal.key)
        if known is None or known.ended is not None:
            return signal.active
        return not signal.frame or signal.facts.get("unit", "") >= known.facts.get("unit", "")

    def _channel_signals(self) -> list[Signal]:
        failing = {
            name: f"messages do not leave by channel {name} after {attempts} attempts: {error}"
            for name, (attempts, error) in self._outbox.failing().items()
        }
        gone = self._outbox.orphans()
        failing |= {name: f"{n} messages wait for channel {name}, which the site does not have any more" for name, n in gone.items()}
        standing = {i.key.removeprefix(f"{CHANNEL_DOWN}/") for i in self._machine.incidents.values() if i.rule == CHANNEL_DOWN}
        return [s for name in sorted({*failing, *standing}) if self._counts(s := _of_channel(name, failing.get(name, "")))]

    # ---- what comes of it

    def _answers(self, out: Outcome, mutes: Mapping[str, object], now: int) -> list[Draft]:
        by_key = {c.key: c for c in out.changes}
        changed = [_changed(c, self._machine.incidents.get(c.key)) for c in by_key.values()]
        also = {n.incident.key: n.incident for n in out.notices if n.incident.key not in by_key}
        restate = not 0 <= now - self._restated < _RESTATE_NS
        if restate:
            also |= {key: i for key, i in self._machine.incidents.items() if key not in by_key}
            self._restated = now
        changed += [AlarmChanged(name=key, alarm=_now(incident)) for key, incident in also.items()]
        drafts = [draft(one, tag=self._tag) for one in changed]
        if mutes != self._machine.mutes or (restate and mutes):
            standing = [MuteNow.model_validate(m.model_dump(exclude={"made"})) for m in self._machine.mutes.values()]
            drafts.append(draft(MutesChanged(mutes=standing), tag=self._tag))
        return drafts

    def _write(self, seq: int, out: Outcome, answers: Sequence[Draft]) -> None:
        machine = self._machine
        with self._book.transaction() as connection:
            self._book.save(connection, machine.incidents, machine.mutes)
            self._book.note(connection, out.changes)
            self._book.announce(connection, out.notices, time.time_ns(), self._who)
            self._book.answer(connection, seq, answers)
            times = {"now": str(machine.now), "ticked": str(self._ticked), "restated": str(self._restated)}
            self._book.put(connection, epoch=self._epoch, seq=str(seq), flavors=json.dumps(self._observer.flavors), **times)
        self._book.saved(machine.incidents, machine.mutes)
        self._seq = seq

    def _who(self, notice: Notice) -> Sequence[str]:
        """The channels of a notice that are there; where none of them is any more, those of its severity now."""
        known = [c for c in notice.channels if c in self.params.channels]
        return known if known or not notice.channels else self.params.routes.get(notice.incident.severity, ())

    # ---- telling

    def _deliver(self, channel: str) -> None:
        while not self._stop.wait(_TURN_S):
            self._try(lambda: self._outbox.turn(channel))

    def _attend(self) -> None:
        while not self._stop.wait(_TURN_S):
            self._try(self._ping)
            self._try(self._clean)

    @staticmethod
    def _try(work: Callable[[], object]) -> None:
        try:
            work()
        except Transient as error:
            log.warning("the outbox waits: %s", error)
        except Exception as error:
            log.exception("the outbox stumbled: %s", describe(error))

    def _clean(self) -> None:
        if time.monotonic() - self._cleaned < _CLEAN_S and self._cleaned:
            return
        self._cleaned = time.monotonic()
        if removed := self._outbox.clean(self.params.keep_days * _DAY_S):
            log.info("%d old lines were removed from the book of alarms", removed)

    def _ping(self) -> None:
        """Tell the outside that the daemon lives, while its heartbeats come: a journal that nobody writes is as silent as a daemon that is dead."""
        dead_man, now = self.params.dead_man, time.time()
        if dead_man is None or 0 <= now - self._pinged < dead_man.every_s or abs(now - self._beat / 1e9) > _SILENT_S:
            return
        self._pinged = now
        try:
            get(address_of("dead_man", dead_man.url), dead_man.timeout_s, "dead_man")
        except QuicklookError as error:
            log.warning("the outside does not hear that the daemon lives: %s", describe(error))

    # ---- configuration

    def _rules(self) -> Rules:
        return load_rules(find_config("alerts", self.params.rules), self.params.channels)

    def _check_routes(self) -> None:
        for severity, names in self.params.routes.items():
            for name in names:
                if name not in self.params.channels:
                    raise BadConfig(f"routes ({severity}): there is no channel {name!r}{suggest(name, list(self.params.channels), noun='channel')}")

    def _writer(self, report: Callable[[Incident], str] = lambda _: "", cause: Callable[[Incident], str] = lambda _: "") -> Writer:
        path = Path(self.params.template) if self.params.template else _shipped("alerts/message.txt.jinja")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(f"the template of messages {path} cannot be read: {describe(error)}") from error
        return Writer(text, self.params.link, self.params.mark, report, cause)


def _shipped(name: str) -> Path:
    return next(f / name for f in config_folders() if (f / name).is_file())


def _add(out: Outcome, more: Outcome) -> None:
    out.changes += more.changes
    out.notices += more.notices


def _of_channel(name: str, wrong: str) -> Signal:
    """Whether messages leave by a channel; `wrong` says why not, "" where they do."""
    return Signal(
        key=f"{CHANNEL_DOWN}/{name}",
        rule=CHANNEL_DOWN,
        active=bool(wrong),
        severity=Severity.ALARM,
        what=wrong,
        where=f"channel {name}",
        facts={"action": "Look at its address and at the server; what waits is sent when it is back."},
    )


def _changed(change: Change, incident: Incident | None) -> AlarmChanged:
    """How an alarm stands after its last change; one that is closed is known by its change alone."""
    if incident is None or incident.fingerprint != change.fingerprint:
        return AlarmChanged(
            name=change.key,
            alarm=AlarmNow(
                key=change.key, fingerprint=change.fingerprint, rule=change.key.partition("/")[0], state=State.CLOSED, severity=change.severity,
                worst=change.severity, frame=False, what="", began=change.time, ended=change.time, by=change.by, why=change.why,
            ),
        )  # fmt: skip
    return AlarmChanged(name=change.key, alarm=_now(incident, by=change.by, why=change.why))


def _now(incident: Incident, by: str = "", why: str = "") -> AlarmNow:
    return AlarmNow(
            key=incident.key, fingerprint=incident.fingerprint, rule=incident.rule, state=incident.state, severity=incident.severity,
            worst=incident.worst, frame=incident.frame, what=incident.what, where=incident.where, facts=incident.facts, began=incident.began,
            fired=incident.fired, ended=incident.ended, count=incident.count, by=by or incident.acknowledged_by, why=why,
            told=list(incident.channels), folded=incident.folded_into,
    )  # fmt: skip
