"""`quicklook top`: the state of things now, in a terminal, as it changes."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quicklook.cli.ctl import KeysOption, keys_of
from quicklook.cli.options import OutOption, SiteOption

if TYPE_CHECKING:
    from rich.console import Console

    from quicklook.cli.topmodel import Now
    from quicklook.client import ClientKeys, State, Subscriber

_TURN_S = 0.25
_STATE_S = 1.0
"""So often at most the daemon is asked how things are, when something has changed; else every two seconds."""
_REST_S = 2.0
_CONDITIONS_BACK, _EXPOSURES_BACK = 2_000_000, 20_000
"""Events that are looked through at the start: those of two busy nights (alarms are told anew every day), and of the last exposures."""
_CATCH_UP_S = 10.0
_BATCH = 1000
_UNITS = 20
_LINES = 200
_UP, _DOWN, _QUIT = ("k", "\x1b[A", "\x1bOA"), ("j", "\x1b[B", "\x1bOB"), ("q", "Q", "\x03", "\x04")


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("top")(top)


def top(
    site: SiteOption = None,
    out: OutOption = None,
    endpoint: Annotated[str | None, typer.Option(help="Where the daemon publishes; default: as in the site, or tcp://127.0.0.1:5556.")] = None,
    replay: Annotated[str | None, typer.Option(help="Where it is asked; default: the next port.")] = None,
    keys: KeysOption = None,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end, for scripts.")] = False,
) -> None:
    """Watch a daemon in a terminal: the latest exposure and what to do, its cameras, queue, latencies, alarms, housekeeping.

    Keys: up and down (or k and j) look at other exposures, q ends. Where no sign of life comes for 15 s it is STALE. With --once the exit
    status is 0 where the daemon lives, 3 where it does not.
    """
    from rich.console import Console

    from quicklook.cli.topmodel import Now

    address, asked, folder = _where(site, out, endpoint, replay)
    now, console = Now(), Console()
    with Source(address, asked, keys_of(keys), now, folder) as source:
        if once:
            _show_once(console, source)
            return
        if not console.is_terminal:
            from quicklook.core.errors import BadConfig

            raise BadConfig("this is no terminal", what_next="Give --once, or run it in a terminal.")
        _watch(console, source)


def _where(site: Path | None, out: Path | None, endpoint: str | None, replay: str | None) -> tuple[str, str, Path | None]:
    """Where the daemon publishes and where it is asked, and the output folder, if one is known. Raises BadConfig."""
    from quicklook.client import DEFAULT_ENDPOINT
    from quicklook.core.wire import replay_endpoint
    from quicklook.service.site import load_site

    given: dict[str, Any] = {}
    if site is not None:
        described = load_site(site, options={"out": str(out)} if out else {})
        given, out = described.file.sinks.get("zmq", {}), described.out
    address = endpoint or str(given.get("endpoint", DEFAULT_ENDPOINT)).replace("//*:", "//127.0.0.1:")
    told = str(given.get("replay", "auto")) if endpoint is None else "auto"
    asked = replay or (replay_endpoint(address) if told in ("auto", "") else told.replace("//*:", "//127.0.0.1:"))
    return address, asked, out


class Source:
    """Follows a daemon: asks it for its state, and hears its events. Where it does not answer, its journal says how things stood."""

    def __init__(self, endpoint: str, replay: str, keys: ClientKeys | None, now: Now, folder: Path | None) -> None:
        self.now, self.trouble = now, ""
        self._endpoint, self._replay, self._keys, self._folder = endpoint, replay, keys, folder
        self._stack = ExitStack()
        self._heard: list[Subscriber] = []
        self._asked = float("-inf")
        self._changed = False

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def turn(self, seconds: float) -> None:
        """Take what comes in so many seconds, and ask for the state where it is time."""
        end, since = time.monotonic() + seconds, time.monotonic() - self._asked
        if since > (_STATE_S if self._changed else _REST_S):
            self._ask()
        while (left := end - time.monotonic()) > 0:
            if not self._heard:
                time.sleep(left)
            for each in self._heard:
                self._receive(each, min(left, 0.1))

    def _receive(self, each: Subscriber, seconds: float) -> bool:
        """Take the next message, if there is one."""
        message = each.receive(seconds)
        if message is not None:
            self.now.take(message.event, None if message.replayed else time.monotonic())
            self._changed = self._changed or message.event.kind != "heartbeat"
        return message is not None

    def _ask(self) -> None:
        from quicklook.client import fetch_state
        from quicklook.core.errors import Transient

        try:
            state = fetch_state(self._replay, units=_UNITS, keys=self._keys, timeout_s=1.0)
        except Transient:
            self.trouble = f"Nothing answers at {self._replay}."
            if self.now.state is None:
                self._from_journal()
        else:
            self.trouble = ""
            self.now.show(state, time.time_ns(), time.monotonic())
            if not self._heard:
                self._listen(state)
        self._asked, self._changed = time.monotonic(), False

    def _listen(self, state: State) -> None:
        from quicklook.cli.topmodel import CONDITIONS, EXPOSURES
        from quicklook.client import Subscriber

        for kinds, back in ((CONDITIONS, _CONDITIONS_BACK), (EXPOSURES, _EXPOSURES_BACK)):
            topics = [f"{kind}/" for kind in kinds]
            given: dict[str, Any] = {"replay": self._replay, "since": max(0, state.seq - back), "epoch": state.epoch, "keys": self._keys}
            self._heard.append(self._stack.enter_context(Subscriber(self._endpoint, topics, attachments=False, **given)))
        end = time.monotonic() + _CATCH_UP_S
        for each in self._heard:  # what was said before
            while (self._receive(each, 0.0 if each.position[1] >= state.seq else 1.0) or each.position[1] < state.seq) and time.monotonic() < end:
                pass
        self.now.read = self._heard[0].position[1] >= state.seq

    def _from_journal(self) -> None:
        """How things stood, as the journal has it: alarms that stand are still to be seen where the daemon is gone."""
        from quicklook.cli.topmodel import CONDITIONS, EXPOSURES
        from quicklook.service.journal.journal import Journal, journal_path
        from quicklook.service.publishing.snapshot import state_of

        if self._folder is None or not journal_path(self._folder).is_file():
            return
        journal = Journal(journal_path(self._folder), time.time_ns, to_read=True)
        try:
            state = state_of(journal, units=_UNITS)
            self.now.show(state, time.time_ns(), time.monotonic())
            for kinds, back in ((CONDITIONS, _CONDITIONS_BACK), (EXPOSURES, _EXPOSURES_BACK)):
                after = max(0, state.seq - back)
                while events := journal.events(after, limit=_BATCH, kinds=kinds):
                    for event in events:
                        self.now.take(event)
                    after = events[-1].seq
            self.now.read = True
        finally:
            journal.close()


def _show_once(console: Console, source: Source) -> None:
    from quicklook.cli.topmodel import SILENT_S
    from quicklook.cli.topview import view

    source.turn(_TURN_S)
    now_ns, clock_s = time.time_ns(), time.monotonic()
    console.print(view(source.now, width=console.width, height=_LINES, now_ns=now_ns, clock_s=clock_s, trouble=source.trouble))
    age = source.now.age_s(clock_s)
    if source.trouble or age is None or age > SILENT_S:
        raise typer.Exit(3)


def _watch(console: Console, source: Source) -> None:
    """Show it until somebody ends it."""
    from rich.live import Live

    from quicklook.cli.topview import view

    with _keyboard() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            source.turn(_TURN_S)
            for key in pressed():
                if key in _QUIT:
                    return
                source.now.choose(1 if key in _DOWN else -1 if key in _UP else 0)
            size = console.size
            now_ns, clock_s = time.time_ns(), time.monotonic()
            shown = view(source.now, width=size.width, height=size.height, now_ns=now_ns, clock_s=clock_s, trouble=source.trouble)
            live.update(shown, refresh=True)


@contextmanager
def _keyboard() -> Iterator[Any]:
    """What gives the keys that were pressed since it was asked last; none where nobody types."""
    import os

    if not sys.stdin.isatty():
        yield list
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    descriptor = sys.stdin.fileno()

    def pressed() -> list[str]:
        text = ""
        while select.select([descriptor], [], [], 0)[0] and (read := os.read(descriptor, 64)):
            text += read.decode(errors="replace")
        return _split(text)

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _split(text: str) -> list[str]:
    """Single keys, and arrows as they come."""
    out = []
    while text:
        long = next((k for k in (*_UP, *_DOWN) if len(k) > 1 and text.startswith(k)), text[0])
        out.append(long)
        text = text[len(long) :]
    return out
