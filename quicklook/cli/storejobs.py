"""`quicklook jobs --store`: the jobs of scripts, in a store of their own."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import typer

from quicklook.core.errors import BadConfig
from quicklook.service.journal.jobstore import JobLocked, JobState, JobStore, StoredJob


def handle(
    url: str,
    classes: Sequence[str],
    states: Collection[str],
    tags: Sequence[str],
    ids: Collection[int],
    new_state: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Show the jobs that are chosen, or give them another state. Raises BadConfig for what is no state."""
    for name in (*states, *([new_state] if new_state else [])):
        if name not in set(JobState):
            raise BadConfig(f"there is no state {name!r} in a job store; there are: {', '.join(JobState)}")
    if new_state and not (classes or states or tags or ids):
        raise BadConfig("which jobs? choose them with --id, --class, --state, --failed or --where")
    with JobStore(url, make=False) as store:
        found = store.get(list(classes) or None, states=states or None, tags=_tags(tags), limit=None if ids or new_state else limit)
        found = [job for job in found if not ids or job.id in ids]
        if new_state:
            _change(store, found, JobState(new_state))
        elif as_json:
            typer.echo(json.dumps([asdict(job) for job in found], indent=1))
        else:
            _show(found)


def _tags(words: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if wrong := [name for name, sign, _ in pairs if not (name and sign)]:
        raise BadConfig(f"--where {wrong[0]}: write TAG=VALUE, as in camera=r0")
    return {name: value for name, _, value in pairs}


def _change(store: JobStore, found: Sequence[StoredJob], state: JobState) -> None:
    held = 0
    for job in found:
        try:
            with store.locked(job, owner="quicklook jobs") as mine:
                mine.state = state
        except JobLocked as error:
            held += 1
            typer.echo(f"{error}", err=True)
    typer.echo(f"{len(found) - held} jobs are {state} now" + (f"; {held} are held, and stay as they are" if held else ""))


def _show(found: Sequence[StoredJob]) -> None:
    from rich.console import Console
    from rich.table import Table

    console, table, now = Console(), Table("id", "class", "tags", "state", "visits", "last visit", "held by", "reason"), time.time_ns()
    for job in found:
        words = " ".join(f"{k}={v}" for k, v in job.tags.items())
        holder = job.owner or ""
        if job.owner and job.lease_ns < now:
            holder = f"{job.owner} (its lease is over)"
        table.add_row(str(job.id), job.jobclass, words, job.state, str(job.visits), _when(job.visited_ns), holder, job.reason)
    if found:
        console.print(table)
    console.print(f"{len(found)} jobs", highlight=False)


def _when(time_ns: int | None) -> str:
    return "" if time_ns is None else f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}Z"
