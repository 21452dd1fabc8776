"""Housekeeping of a daemon elsewhere: how it stands now, as the daemon says when it is asked; else by the changes of state that it has published."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from quicklook.cli.ctl import keys_of
from quicklook.core.events import Heartbeat, HkChanged
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.housekeeping_watch import HkRow
from quicklook.core.severity import Severity
from quicklook.core.wire import HkNow, HkRequest

if TYPE_CHECKING:
    from quicklook.client import Message

_FIRST_S = 10.0
"""So long the events of before are waited for."""
_SILENT_S = 15.0
_ASK_S = 5.0
"""It is asked so often for values: a thousand channels are 160 kB."""
_AGAIN_S = 60.0
"""And so often where it has none to give."""
_ANSWER_S = 3.0
_WELL = (HkState.NORMAL, HkState.OFF)


class RemoteView:
    """See `quicklook.core.housekeeping_watch.HkView`. It asks for all changes that the journal has, follows those that come, and asks for values."""

    def __init__(self, endpoint: str, replay: str | None, keys: Path | None) -> None:
        from quicklook.client import Subscriber
        from quicklook.client.asking import Asker
        from quicklook.client.ordering import replay_of

        self._endpoint, self._changes, self._caught_up = endpoint, dict[str, HkChange](), False
        self._events = Subscriber(endpoint, ["hk/", "heartbeat/"], replay=replay, since=0, keys=keys_of(keys), attachments=False)
        self._asker = Asker(replay_of(endpoint, replay, 0), keys_of(keys))
        self._now: HkNow | None = None
        self._had, self._ask_at, self._asked = 0.0, 0.0, 0

    def rows(self, now: float) -> tuple[HkRow, ...]:
        """What stands now, as old as the last answer; where none comes, what every subject was at its last change."""
        end = time.monotonic() + (0.2 if self._caught_up else _FIRST_S)
        while (message := self._events.receive(max(0.0, end - time.monotonic()))) is not None:
            self._take(message, now)
            if self._caught_up:
                end = min(end, time.monotonic() + 0.2)
        if self._caught_up and time.monotonic() >= self._ask_at:
            self._ask()
        live = self._live()
        # of what is no channel (the watch itself, a source, the store) the changes alone tell
        told = self._changes.values() if live is None else [c for c in self._changes.values() if not c.channel and c.state not in _WELL]
        known = {r.name for r in live or ()}
        rows = [*(live or ()), *(self._row(c, now) for c in told if c.subject not in known)]
        if self._events.silence_s > _SILENT_S or not self._caught_up:
            why = f"no sign of life from {self._endpoint}: how things stand now is not known"
            rows.append(HkRow(name="the daemon", state=HkState.UNKNOWN, severity=Severity.ALARM, age_s=self._events.silence_s, why=why))
        return tuple(sorted(rows, key=lambda r: r.rank))

    def _take(self, message: Message, now: float) -> None:
        payload = message.payload
        if isinstance(payload, HkChanged):
            self._changes |= {c.subject: c for c in payload.changes}
        elif isinstance(payload, Heartbeat) and now - message.event.time / 1e9 < _SILENT_S:
            self._caught_up = True

    def _ask(self) -> None:
        self._asked += 1
        answer = self._asker.hk(HkRequest(id=self._asked), _ANSWER_S)
        got = isinstance(answer, HkNow)
        self._ask_at = time.monotonic() + (_ASK_S if got else _AGAIN_S)
        if isinstance(answer, HkNow):
            self._now, self._had = answer, time.monotonic()

    def _live(self) -> tuple[HkRow, ...] | None:
        """The rows of the last answer with ages as of now; None where that is too old to say how things stand."""
        waited = time.monotonic() - self._had
        if self._now is None or waited > _SILENT_S:
            return None
        return tuple(replace(r, age_s=None if r.age_s is None else r.age_s + waited) for r in self._now.rows)

    def _row(self, change: HkChange, now: float) -> HkRow:
        bound = "" if change.bound is None else f"{change.limit}: {change.direction} {change.bound:.6g}"
        return HkRow(
            name=change.subject, state=change.state, severity=change.severity, value=change.value, text=change.text, unit=change.unit,
            age_s=max(0.0, now - change.time), since=change.since, limit=bound or change.limit, why=change.text or change.cause,
        )  # fmt: skip

    def note(self) -> str:
        """What it is."""
        if self._live() is None or self._now is None:
            return f"at {self._endpoint}: values and ages are those of the last change"
        more = f"; {self._now.left_out} more are not shown" if self._now.left_out else ""
        return f"at {self._endpoint}: {self._now.note}{more}"

    def close(self) -> None:
        """Close the sockets."""
        self._events.close()
        self._asker.close()
