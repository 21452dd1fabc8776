"""`quicklook listen`: print what a daemon publishes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.ctl import KeysOption, keys_of

if TYPE_CHECKING:
    from quicklook.client import Message


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("listen")(listen)


def listen(
    endpoint: Annotated[str, typer.Option(help="Where the daemon publishes.")] = "tcp://127.0.0.1:5556",
    topic: Annotated[list[str] | None, typer.Option(help="Topics (how kind/part/name begins), such as verdict/ or qa/r0/.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON event a line.")] = False,
    save: Annotated[Path | None, typer.Option(help="Folder for attached plots.", file_okay=False)] = None,
    count: Annotated[int | None, typer.Option(help="End after so many events.")] = None,
    timeout: Annotated[float | None, typer.Option(help="End when nothing has come for so many seconds.")] = None,
    since: Annotated[str, typer.Option(help="now, or the number of the last event that you have (0: from the first one).")] = "now",
    replay: Annotated[str | None, typer.Option(help="Where missed events are asked for; default: the next port; empty: nowhere.")] = None,
    keys: KeysOption = None,
) -> None:
    """Subscribe to a daemon and print its events: verdicts, their reasons, what to do; and with --topic whatever else it says.

    What is missed (the connection breaks, this is too slow) is asked for by itself, so that everything comes in order and once.
    """
    from quicklook.client import Subscriber

    topics = topic or ["verdict/", "unit_verdict/", "decision/", "override/", "test/", "command/", "refused/", "failed/"]
    start = int(since) if since.isdecimal() else since
    with Subscriber(endpoint, topics, timeout, replay=replay, since=start, keys=keys_of(keys), attachments=save is not None) as messages:
        for number, message in enumerate(messages, start=1):
            typer.echo(message.event.model_dump_json() if as_json else _line(message))
            if save is not None and message.attachments:
                _save(save, message)
            if count is not None and number >= count:
                return


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
    name = f"{(event.unit or 'none').replace('/', '-')}-{event.part}-{event.payload.get('name', 'plot')}.png".replace("/", "-")
    (folder / name).write_bytes(message.attachments[0])
