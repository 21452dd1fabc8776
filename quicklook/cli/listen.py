"""`quicklook listen`: print what a daemon publishes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.ctl import KeysOption, keys_of

if TYPE_CHECKING:
    from quicklook.client import Message, Subscriber

SILENT_S = 15.0
"""A daemon that lives says something every 5 s."""
_LOOK_S = 1.0


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("listen")(listen)


def listen(
    endpoint: Annotated[str, typer.Option(help="Where the daemon publishes.")] = "tcp://127.0.0.1:5556",
    topic: Annotated[list[str] | None, typer.Option(help="Topics (how kind/part/name begins), such as verdict/ or qa/r0/.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON event a line.")] = False,
    save: Annotated[Path | None, typer.Option(help="Folder for attached plots.", file_okay=False)] = None,
    count: Annotated[int | None, typer.Option(help="End after so many events.", min=1)] = None,
    timeout: Annotated[float | None, typer.Option(help="End when nothing has come for so many seconds.", min=0.0)] = None,
    since: Annotated[
        str, typer.Option(help="now, snapshot (from the state of now on), or the number of the last event that you have (0: from the first one).")
    ] = "now",
    epoch: Annotated[
        str | None, typer.Option(help="Journal that the number is of, as events say; where the daemon has begun another, all of that comes.")
    ] = None,
    replay: Annotated[str | None, typer.Option(help="Where missed events are asked for; default: the next port; empty: nowhere.")] = None,
    keys: KeysOption = None,
) -> None:
    """Subscribe to a daemon and print its events: verdicts, their reasons, what to do; and with --topic whatever else it says.

    What is missed (the connection breaks, this is too slow) is asked for by itself, so that everything comes in order and once. Where no sign
    of life comes for 15 s it is said, on the error output.

    Exit status: 0, 3 where fewer events than --count have come in time, 2 it could not run.
    """
    from quicklook.client import Subscriber

    topics = topic or ["verdict/", "unit_verdict/", "decision/", "override/", "test/", "command/", "refused/", "failed/"]
    _doubt(topics)
    start = int(since) if since.isdecimal() else since
    number = 0
    with Subscriber(
        endpoint, topics, replay=replay, since=start, epoch=epoch, keys=keys_of(keys), attachments=save is not None
    ) as events:
        for number, message in enumerate(_received(events, endpoint, timeout, told=replay != ""), start=1):
            typer.echo(message.event.model_dump_json() if as_json else _line(message))
            if save is not None and message.attachments:
                _save(save, message)
            if number == count:
                return
    raise typer.Exit(3 if count is not None and number < count else 0)


def _doubt(topics: Sequence[str]) -> None:
    """Say which topics no known event has: another version may have them, but more likely they are misspelt."""
    from quicklook.core.events import PAYLOADS
    from quicklook.core.validation import suggest

    for topic in topics:
        kind, slash, _ = topic.partition("/")
        if not any(known == kind or (not slash and known.startswith(kind)) for known in PAYLOADS):
            typer.echo(f"--topic {topic}: no event of kind {kind!r} is known{suggest(kind, sorted(PAYLOADS), noun='kinds')}", err=True)


def _received(events: Subscriber, endpoint: str, timeout_s: float | None, *, told: bool) -> Iterator[Message]:
    """Messages until none has come for so long; with `told` it is said when the daemon falls silent, and when it is heard again."""
    silent, since = False, time.monotonic()
    while timeout_s is None or time.monotonic() - since <= timeout_s:
        left = _LOOK_S if timeout_s is None else min(_LOOK_S, max(0.0, since + timeout_s - time.monotonic()))
        message = events.receive(left)
        if told and silent is not (events.silence_s > SILENT_S):
            silent = not silent
            words = f"no sign of life from {endpoint} for {SILENT_S:.0f} s: is a daemon publishing there, and are --keys needed?"
            typer.echo(words if silent else f"{endpoint} is heard again", err=True)
        if message is not None:
            yield message
            since = time.monotonic()


def _line(message: Message) -> str:
    event = message.event
    head = f"{event.seq:6d}  {event.topic:32s} {event.unit or '':18s}"
    payload = event.payload
    if event.kind in ("decision", "override"):
        return "\n".join((head, *_words(message)))
    said = payload.get("status") or payload.get("said") or (payload.get("failure") or {}).get("message") or ""
    reasons = "".join(f"\n        {r}" for r in payload.get("reasons", []))
    return f"{head} {said}{reasons}".rstrip()


def _words(message: Message) -> Iterator[str]:
    """A decision as a block, an override as a sentence."""
    from quicklook.cli.card import WORDS, card_lines
    from quicklook.core.decision import DecisionCard
    from quicklook.core.results import Override

    payload = message.event.payload
    if message.event.kind == "override":
        yield f"        {Override.model_validate(payload).sentence}"
        return
    card = DecisionCard.model_validate(payload)
    yield f"        {WORDS[card.decision]}: {card.why}   {card.status}"
    yield from (f"      {line}".replace("\n", "\n      ") for line in card_lines(card))


def _save(folder: Path, message: Message) -> None:
    event = message.event
    folder.mkdir(parents=True, exist_ok=True)
    words = (event.tag, event.unit or "none", event.part or "whole", event.payload.get("name", "plot"), f"rev{event.revision}")
    name = f"{'-'.join(map(str, words))}.png".replace("/", "-")
    (folder / name).write_bytes(message.attachments[0])
