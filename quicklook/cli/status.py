"""`quicklook status`: what a daemon does now, what is expected, done, failed, and how long it takes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.ctl import KeysOption, keys_of
from quicklook.cli.options import OutOption, SiteOption, TagOption
from quicklook.cli.sessionview import session_line, session_table, span

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quicklook.core.wire import State

_OLD_S = 15.0
_SHOWN = 12
_REFUSED_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("status")(status)


def status(
    site: SiteOption = None,
    out: OutOption = None,
    tag: TagOption = None,
    replay: Annotated[str | None, typer.Option(help="Ask a daemon elsewhere, at its replay socket, tcp://HOST:PORT.")] = None,
    keys: KeysOption = None,
    units: Annotated[int, typer.Option(help="So many exposures, the latest first.", min=0, max=200)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what a daemon does now: exposures and cameras expected, seen, running, done, failed, progress and remaining time.

    It reads the journal in the output folder, whether the daemon runs or not. Exit status: 0 where the daemon lives, 3 where it does not.
    """
    if replay:
        state, lives = _asked(replay, keys, units), True
    else:
        state, lives = _read(_folder(site, out), tag, units)
    age = _age_s(state)
    lives = lives and age is not None and age <= _OLD_S
    if as_json:
        typer.echo(state.model_dump_json(indent=1))
    else:
        show(state, lives=lives)
    if not lives:
        raise typer.Exit(3)


def _asked(replay: str, keys: Path | None, units: int) -> State:
    from quicklook.client import fetch_state

    return fetch_state(replay, units=units, keys=keys_of(keys))


def _folder(site: Path | None, out: Path | None) -> Path:
    from quicklook.service.site import load_site

    return out or (load_site(site).out if site is not None else Path("quicklook-out"))


def _read(folder: Path, tag: str | None, units: int) -> tuple[State, bool]:
    """The state as the journal of a folder has it, and whether a daemon works in it."""
    from quicklook.core.errors import BadConfig
    from quicklook.service.journal.journal import Journal, daemon_lives, journal_path
    from quicklook.service.publishing.snapshot import state_of

    path = journal_path(folder)
    if not path.is_file():
        raise BadConfig(f"{folder} has no journal: no daemon has ever worked in it; give --site or --out of one that has")
    journal = Journal(path, time.time_ns, to_read=True)
    try:
        return state_of(journal, units=units, tag=tag), daemon_lives(folder)
    finally:
        journal.close()


def _age_s(state: State) -> float | None:
    """Seconds since the last sign of life; None without any."""
    return None if state.heartbeat_time is None else max(0.0, (time.time_ns() - state.heartbeat_time) / 1e9)


def show(state: State, *, lives: bool = True) -> None:
    """Print a state; `lives`: a daemon works by it now."""
    from rich.console import Console

    console = Console()
    for line in (_life(state, lives), *_raw(state), _work(state, lives), _night(state), *_refused(state)):
        console.print(line, markup=False, highlight=False)
    if state.session is not None:
        console.print(session_line(state.session), markup=False, highlight=False)
        console.print(session_table(state.session))
    if state.units:
        console.print(_table(state))


def _life(state: State, lives: bool) -> str:
    age, beat = _age_s(state), state.heartbeat
    if age is None or beat is None:
        return "No daemon has ever given a sign of life here."
    word = f"The daemon lives (sign of life {age:.0f} s ago)" if lives else f"THE DAEMON DOES NOT RUN: its last sign of life is {span(age)} old"
    facts = [f"{beat.workers} workers" if beat.workers or not lives else "no worker is ready yet (the first time on a machine they compile)"]
    facts += [f"{name} {value:.0f} MB" for name, value in beat.memory_mb.items()]
    if beat.disk_free_gb is not None:
        facts.append(f"{beat.disk_free_gb:.1f} GB free on disk")
    if late := [f"{name} {n}" for name, n in beat.sinks.items() if n > 1]:
        facts.append(f"events not yet told: {', '.join(late)}")
    return f"{word}: {', '.join(facts)}."


def _raw(state: State) -> list[str]:
    """What is wrong with the folder of raw files, or keeps the work from being handed out, if anything is."""
    beat = state.heartbeat
    said = (("RAW FILES ARE NOT SEEN", beat.raw_trouble), ("NO WORK IS HANDED OUT", beat.work_trouble)) if beat is not None else ()
    return [f"{what}: {why}." for what, why in said if why]


def _work(state: State, lives: bool) -> str:
    """What a daemon that does not run had begun is done by the next one: nothing runs, and nobody knows when it will be done."""
    queue, running = state.queue, "running" if lives else "begun and not ended"
    words = [f"{queue.get(key, 0)} {name}" for key, name in (("open", "waiting"), ("running", running), ("done", "done"), ("failed", "failed"))]
    line = f"Cameras under tag {state.tag}: {', '.join(words)}"
    if state.heartbeat is not None and state.heartbeat.arriving:
        line += f"; raw files arriving: {state.heartbeat.arriving}"
    if state.remaining_s and lives:
        line += f"; about {span(state.remaining_s)} remain"
    if state.heartbeat is not None and (latency := state.heartbeat.latency_s):
        last = f"(last {latency['n']:.0f} exposures)"
        line += f". From last byte to verdict: median {latency['median']:.1f} s, 95 % within {latency['p95']:.1f} s {last}"
    return f"{line}."


def _night(state: State) -> str:
    if not state.night:
        return "No exposure has arrived."
    verdicts = ", ".join(f"{n} {name}" for name, n in sorted(state.statuses.items())) or "none"
    line = f"Night {state.night}: {state.exposures} exposures seen, {state.concluded} concluded, verdicts: {verdicts}"
    if state.progress is not None:
        line += f"; {100 * state.progress:.0f} % of the cameras done"
    if state.expected:
        named = ", ".join(state.expected[:_SHOWN])
        line += f". Expected and not there: {named}{', ...' if len(state.expected) > _SHOWN else ''}"
    return f"{line}."


def _refused(state: State) -> list[str]:
    said = [f"Not taken: {one}" for one in state.refused[:_REFUSED_SHOWN]]
    more = len(state.refused) - len(said)
    return [*said, f"Not taken: {more} more; see the log, or `quicklook ledger`"] if more else said


def _table(state: State) -> RenderableType:
    from rich.table import Table

    from quicklook.cli.view import status_text

    table = Table("exposure", "rev", "flavor", "verdict", "what to do", "cameras")
    for unit in state.units:
        parts: dict[str, int] = {}
        for part in unit.parts.values():
            parts[part.state] = parts.get(part.state, 0) + 1
        words = ", ".join(f"{n} {name}" for name, n in parts.items())
        verdict = status_text(unit.status) if unit.status else "not yet"
        table.add_row(unit.unit, str(unit.revision), unit.flavor, verdict, (unit.decision or "").replace("_", " "), words)
    return table
