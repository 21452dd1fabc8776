"""The outbox: notices become messages, and messages are sent until they have arrived. What it knows is in the book; a restart goes on.

A message is written once and kept: every attempt sends the same bytes under the same id, so that a receiver which had it before a time-out knows it
again. Messages of a channel leave one after another: nobody hears that something is over before that it was there. One that is refused is tried again
like any other, for an endpoint that is set up wrongly, or is being started, refuses all; it is given up where the next one is taken.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa

from monitor.alerts import tables as t
from monitor.alerts.book import AlarmBook
from monitor.alerts.channels import Channel, ChannelConfig, PartlyRefused
from monitor.alerts.model import Notice, NoticeKind
from monitor.alerts.text import Message, Writer
from monitor.alerts.trend import Trend
from quicklook.core.errors import BadConfig, Transient, describe
from quicklook.core.severity import Severity

log = logging.getLogger("quicklook.alerts")

_S = 1_000_000_000
WAITING, REFUSED, SENT, GIVEN_UP = "waiting", "refused", "sent", "given_up"
_TO_SEND = t.MESSAGES.c.state.in_((WAITING, REFUSED))
_PAUSES_S = (2, 10, 30, 120, 600)
"""Pauses between attempts; the last one is repeated."""
_KEEP_TRYING_S = 3 * 86400
"""What has not arrived after so long is given up: who it was for has heard of it otherwise."""
_FEWEST = 50
"""But not before so many attempts: the clock may have jumped, or the daemon was off."""
_REFUSALS = 3
"""A message that was refused so often is perhaps wrong itself: the next one is tried too."""
_MOST_AT_ONCE = 10_000
"""So many notices are written down at once."""
_GATHER_S = 2
"""Notices wait so long for others."""
_STORM_S = 300
_CALM_S = (0, 0, 0, 10, 30, 60, 120)
"""After so many rounds of messages in the last five minutes the next round waits so long: a storm that goes on is few messages. What is worse than
all that was told in this time waits for nothing."""
_DIGEST_EVERY_S = 600
"""A channel that has had its share of messages gets digests at this distance."""


class Outbox:
    """Of a book, with its channels. `now_ns` gives the time, UTC; `trend` says how a value was before."""

    def __init__(
        self,
        book: AlarmBook,
        channels: Mapping[str, tuple[ChannelConfig, Channel]],
        writer: Writer,
        now_ns: Callable[[], int],
        trend: Callable[[Notice], Trend | None] = lambda _: None,
    ) -> None:
        self._book, self._channels, self._writer, self._now_ns, self._trend = book, channels, writer, now_ns, trend

    def turn(self, only: str | None = None) -> int:
        """Write the messages that are due, and send what waits, of all channels or of one; returns how many were sent.

        Raises Transient where the book cannot be used now.
        """
        names = [only] if only is not None else list(self._channels)
        for name in names:
            self._compose(name)
        return sum(self._send(name) for name in names)

    # ---- writing

    def _compose(self, name: str) -> None:
        now, (config, _) = self._now_ns(), self._channels[name]
        with self._book.reading() as connection:
            waiting = (t.NOTICES.c.channel == name, t.NOTICES.c.message.is_(None))
            oldest = connection.execute(sa.select(sa.func.min(t.NOTICES.c.made)).where(*waiting)).scalar()
            if oldest is None or 0 <= now - int(oldest) < _GATHER_S * _S or not self._may_write(connection, name, config, now):
                return
            if self._storm(connection, name, now):
                return
            rows = list(connection.execute(sa.select(t.NOTICES).where(*waiting).order_by(t.NOTICES.c.n).limit(_MOST_AT_ONCE)))
        groups: dict[str, list[sa.Row[tuple[object, ...]]]] = defaultdict(list)
        for row in rows:
            groups[row.group].append(row)
        batches = [rows] if len(groups) > config.digest_over else list(groups.values())
        with self._book.transaction() as connection:
            for batch in batches:
                for first in range(0, len(batch), config.most_alerts):
                    self._write(connection, name, batch[first : first + config.most_alerts], now)

    @staticmethod
    def _may_write(connection: sa.Connection, name: str, config: ChannelConfig, now: int) -> bool:
        # what is later than now was made before the clock was set back
        recently = (t.MESSAGES.c.channel == name, t.MESSAGES.c.made > now - 3600 * _S, t.MESSAGES.c.made <= now)
        recent = connection.execute(sa.select(sa.func.count(), sa.func.max(t.MESSAGES.c.made)).where(*recently)).one()
        return int(recent[0]) < config.per_hour or now - int(recent[1]) >= _DIGEST_EVERY_S * _S

    @staticmethod
    def _storm(connection: sa.Connection, name: str, now: int) -> bool:
        """Whether what waits is to wait for more: much was told just now, and nothing that waits is worse than that."""
        recently = (t.MESSAGES.c.channel == name, t.MESSAGES.c.made > now - _STORM_S * _S, t.MESSAGES.c.made <= now)
        rounds = list(connection.execute(sa.select(t.MESSAGES.c.made).where(*recently).distinct()).scalars())
        pause = _CALM_S[min(len(rounds), len(_CALM_S) - 1)]
        if not rounds or now - max(rounds) >= pause * _S:
            return False
        told = t.NOTICES.c.message.in_(sa.select(t.MESSAGES.c.id).where(*recently))
        waiting = (t.NOTICES.c.channel == name, t.NOTICES.c.message.is_(None))
        return _worst(connection, told) >= _worst(connection, *waiting)

    def _write(self, connection: sa.Connection, name: str, rows: Sequence[sa.Row[tuple[object, ...]]], now: int) -> None:
        notices = [Notice.model_validate_json(r.record) for r in rows]
        message = self._writer.write(name, notices, now, self._before)
        connection.execute(
            sa.insert(t.MESSAGES).values(
                id=message.id, channel=name, made=now, state=WAITING, attempts=0, next=now, error="", record=message.model_dump_json()
            )
        )
        connection.execute(sa.update(t.NOTICES).where(t.NOTICES.c.n.in_([r.n for r in rows])).values(message=message.id))

    def _before(self, notice: Notice) -> Trend | None:
        """How the value was before. It is an addition: whatever is wrong with the stored results, the message leaves without it."""
        try:
            return self._trend(notice)
        except Exception as error:
            log.warning("no trend of %s: %s", notice.incident.key, describe(error))
            return None

    # ---- sending

    def _send(self, name: str) -> int:
        sent = 0
        while rows := self._next(name):
            state = self._attempt(name, rows[0])
            if state == REFUSED and len(rows) > 1 and self._attempt(name, rows[1]) == SENT:
                self._give_up(name, rows[0])
                state = SENT
            if state in (WAITING, REFUSED):
                break
            sent += state == SENT
        return sent

    def _next(self, name: str) -> list[sa.Row[tuple[object, ...]]]:
        """The oldest message of a channel, if it is due. Behind one that is refused the next, if that is due: both are tried then, in their order."""
        with self._book.reading() as connection:
            first = sa.select(t.MESSAGES).where(t.MESSAGES.c.channel == name, _TO_SEND).order_by(sa.literal_column("rowid")).limit(2)
            rows = list(connection.execute(first))
        now = self._now_ns()
        if len(rows) > 1 and rows[0].attempts + 1 >= _REFUSALS and _due(rows[1], now):
            return rows if rows[0].state == REFUSED or _due(rows[0], now) else []
        return rows[:1] if rows and _due(rows[0], now) else []

    def _attempt(self, name: str, row: sa.Row[tuple[object, ...]]) -> str:
        """The state of a message after an attempt."""
        message = Message.model_validate_json(str(row.record))
        attempts, error, state = int(row.attempts) + 1, "", SENT
        try:
            self._channels[name][1].send(message)
        except PartlyRefused as refusal:
            error = describe(refusal)
        except (Transient, BadConfig) as trouble:
            error, state = describe(trouble), WAITING
        except Exception as refusal:  # BadData, and whatever a message that nobody thought of does to a library
            error, state = describe(refusal), REFUSED if attempts >= _REFUSALS else WAITING
        now = self._now_ns()
        if state != SENT and attempts >= _FEWEST and now - message.made > _KEEP_TRYING_S * _S:
            state = GIVEN_UP
        pause = _PAUSES_S[min(attempts, len(_PAUSES_S)) - 1]
        values = {"attempts": attempts, "error": error, "state": state, "next": now + pause * _S, "sent": now if state == SENT else None}
        with self._book.transaction() as connection:
            connection.execute(sa.update(t.MESSAGES).where(t.MESSAGES.c.id == message.id).values(values))
        level = logging.ERROR if state == GIVEN_UP else logging.WARNING if error else logging.INFO
        log.log(level, "message %s by channel %s: %s%s (%.120s)", message.id[:12], name, state, f", {error}" if error else "", message.subject)
        return state

    def _give_up(self, name: str, row: sa.Row[tuple[object, ...]]) -> None:
        """The channel takes others: it is this message that it refuses."""
        with self._book.transaction() as connection:
            connection.execute(sa.update(t.MESSAGES).where(t.MESSAGES.c.id == row.id).values(state=GIVEN_UP))
        log.error("message %s by channel %s is given up: it is refused, others are taken", str(row.id)[:12], name)

    # ---- how it stands

    def failing(self) -> dict[str, tuple[int, str]]:
        """Channels by which nothing arrives: attempts at the message that is next, and what the last one said."""
        tried = sa.select(t.MESSAGES.c.channel, t.MESSAGES.c.attempts, t.MESSAGES.c.error).where(_TO_SEND, t.MESSAGES.c.attempts >= _REFUSALS)
        with self._book.reading() as connection:
            return {r.channel: (r.attempts, r.error) for r in connection.execute(tried) if r.channel in self._channels}

    def orphans(self) -> dict[str, int]:
        """Channels that are not there any more, and how many messages wait for them."""
        untold = sa.select(t.NOTICES.c.channel, sa.func.count()).where(t.NOTICES.c.message.is_(None)).group_by(t.NOTICES.c.channel)
        unsent = sa.select(t.MESSAGES.c.channel, sa.func.count()).where(_TO_SEND).group_by(t.MESSAGES.c.channel)
        found: Counter[str] = Counter()
        with self._book.reading() as connection:
            for query in (untold, unsent):
                found.update({name: n for name, n in connection.execute(query) if name not in self._channels})
        return dict(found)

    def clean(self, keep_s: float) -> int:
        """Remove what is old, and give up what has waited for a channel that is not there for three days; returns how many were removed."""
        late = self._now_ns() - _KEEP_TRYING_S * _S
        with self._book.transaction() as connection:
            known = list(self._channels)
            gone = (t.MESSAGES.c.channel.not_in(known), _TO_SEND, t.MESSAGES.c.made < late)
            connection.execute(sa.update(t.MESSAGES).where(*gone).values(state=GIVEN_UP, error="its channel is not there any more"))
            connection.execute(sa.delete(t.NOTICES).where(t.NOTICES.c.channel.not_in(known), t.NOTICES.c.message.is_(None), t.NOTICES.c.made < late))
        return self._book.prune(self._now_ns() - round(keep_s * _S))


def _worst(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> Severity:
    """Of these notices; what is over does not count. The records are not read here: there may be thousands."""
    severity, kind = (sa.func.json_extract(t.NOTICES.c.record, path) for path in ("$.incident.severity", "$.kind"))
    found = connection.execute(sa.select(severity).where(*which, kind != str(NoticeKind.RESOLVED)).distinct()).scalars()
    return max(map(Severity, found), default=Severity.NONE)


def _due(row: sa.Row[tuple[object, ...]], now: int) -> bool:
    """What is due later than the longest pause was written down before the clock was set back."""
    return not now < row.next <= now + _PAUSES_S[-1] * _S
