"""`quicklook listen`: print what a daemon publishes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
) -> None:
    """Subscribe to a daemon and print its events: verdicts and their reasons, and with --topic whatever else it says."""
    from quicklook.client import Subscriber

    topics = topic or ["verdict/", "unit_verdict/", "refused/", "failed/"]
    with Subscriber(endpoint, topics, timeout) as messages:
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
    said = payload.get("status") or (payload.get("failure") or {}).get("message") or ""
    reasons = "".join(f"\n        {r}" for r in payload.get("reasons", []))
    return f"{head} {said}{reasons}".rstrip()


def _save(folder: Path, message: Message) -> None:
    event = message.event
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{(event.unit or 'none').replace('/', '-')}-{event.part}-{event.payload.get('name', 'plot')}.png".replace("/", "-")
    (folder / name).write_bytes(message.attachments[0])
