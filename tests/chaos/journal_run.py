"""How long what is asked of a journal takes when there are very many jobs in it.

    python tests/chaos/journal_run.py --exposures 4000 --page docs/reference/endurance.md

The journal is made up: exposures of thirty cameras, 200 a night, each camera with a dozen events; 500 jobs wait.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from endurance_page import machine, write_section

from quicklook.core.events import Decided, Draft, PartVerdict, ProductWritten, QADone, Receipt, Started, StepDone, UnitDone
from quicklook.core.keys import Unit
from quicklook.service.journal import jobs, jobview
from quicklook.service.journal.journal import EVENTS, FILES, JOBS, POSITIONS, UNITS, Journal, journal_path
from quicklook.service.journal.ledger import latest_night, ledger_of
from quicklook.service.publishing.snapshot import state_of
from quicklook.service.publishing.vitals import Vitals

CAMERAS = tuple(f"{arm}{n}" for arm in "brz" for n in range(10))
A_NIGHT, WAITING, QAS = 200, 500, 6
TAG, MINUTE_NS = "live", 60 * 10**9
LIMIT_MS = 50.0
_METRIC = {"name": "m", "unit": "electron", "doc": "A number that says something of the image.", "values": [1.0] * 4, "statuses": ["NORMAL"] * 4}
PAYLOADS: dict[str, dict[str, Any]] = {
    Started.kind: {"chain": "science"},
    StepDone.kind: {"name": "preproc", "algorithm": "preproc", "seconds": 0.1, "failure": None},
    QADone.kind: {"name": "read_noise", "status": "NORMAL", "reasons": [], "metrics": [_METRIC] * 3, "seconds": 0.01, "plots": []},
    PartVerdict.kind: {"status": "NORMAL", "reasons": [], "measured": 20, "expected": 20, "seconds": 0.6},
    ProductWritten.kind: {"name": "frame", "path": "live/frame.fits.gz", "size": 1, "sha256": "0" * 64},
    UnitDone.kind: {"status": "NORMAL", "reasons": [], "measured": 30, "expected": 30, "qas": []},
    Decided.kind: {"decision": "go_on", "why": "all is well"},
    Receipt.kind: {"seconds_to_verdict": 3.2},
}
OF_A_CAMERA = (Started.kind, StepDone.kind, StepDone.kind, *[QADone.kind] * QAS, PartVerdict.kind, ProductWritten.kind, ProductWritten.kind)
OF_AN_EXPOSURE = (UnitDone.kind, Decided.kind, Receipt.kind)


class NoFiles:
    """A reader for a folder without raw files."""

    def accepts(self, _path: Path) -> bool:
        return False


def _events(unit: object, at_ns: int, first: int) -> Iterator[dict[str, Any]]:
    kinds: list[tuple[str | None, str]] = [(camera, kind) for camera in CAMERAS for kind in OF_A_CAMERA]
    kinds += [(None, kind) for kind in OF_AN_EXPOSURE]
    for seq, (part, kind) in enumerate(kinds, first):
        common = {"seq": seq, "time": at_ns, "kind": kind, "unit": unit, "part": part, "tag": TAG, "revision": 0, "schema_version": 1}
        yield {**common, "payload": json.dumps(PAYLOADS[kind])}


def fill(journal: Journal, exposures: int) -> int:
    """Make up so many exposures, the last of which wait; how many events they have."""
    now, last = time.time_ns(), 0
    for first in range(0, exposures, A_NIGHT):
        with journal.transaction() as connection:
            for n in range(first, min(first + A_NIGHT, exposures)):
                done = n < exposures - -(-WAITING // len(CAMERAS))
                last = _add(connection, n, now - (exposures - n) * MINUTE_NS, last, done=done)
    with journal.transaction() as connection:
        connection.execute(sa.insert(POSITIONS), {"sink": "files", "seq": last})
    with journal.engine.execution_options(bare=True).connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return last


def _add(connection: sa.Connection, n: int, at_ns: int, last: int, *, done: bool) -> int:
    """One exposure; the number of the last event."""
    night = date(2026, 1, 1) + timedelta(days=n // A_NIGHT)
    whole = {"unit": str(Unit(int(f"{night:%Y%m%d}"), n + 1)), "tag": TAG, "revision": 0, "path": f"/raw/{n}.fits.fz"}
    state = {"state": "done", "announced": True, "status": "NORMAL"} if done else {"state": "open", "announced": False, "status": None}
    job = {**whole, "flavor": "science", "attempts": 1, "not_before_ns": 0, "reasons": "[]", **state}
    connection.execute(sa.insert(JOBS), [{**job, "part": camera} for camera in CAMERAS])
    times = {"closed_ns": at_ns, "seen_ns": at_ns, "deadline_ns": at_ns + 10**18, "verdict_ns": at_ns if done else None}
    connection.execute(sa.insert(UNITS), {**whole, "expected": json.dumps(CAMERAS), "tags": '{"flavor": "science"}', **times})
    connection.execute(sa.insert(FILES), {"path": whole["path"], "tag": TAG, "size": 1, "mtime_ns": 1, "state": "taken"})
    rows = list(_events(whole["unit"], at_ns, last + 1)) if done else []
    if rows:
        connection.execute(sa.insert(EVENTS), rows)
    return last + len(rows)


def asked(journal: Journal, out: Path) -> dict[str, Callable[[], object]]:
    """What is measured, by its name in the page."""
    vitals, raw = Vitals(journal, TAG, out), out / "raw"
    raw.mkdir(exist_ok=True)

    def reading(ask: Callable[[sa.Connection], object]) -> Callable[[], object]:
        def do() -> object:
            with journal.reading() as connection:
                return ask(connection)

        return do

    def next_job() -> None:
        with journal.transaction() as connection:
            jobs.take_next(connection, TAG, time.time_ns())

    def append() -> None:
        journal.append([Draft(kind=Started.kind, tag=TAG, payload=PAYLOADS[Started.kind])])

    return {
        "heartbeat, every 5 s": lambda: vitals.beat(workers=2, pids=[], sinks=["files"]),
        "the next job is taken": next_job,
        "an event is appended": append,
        "exposures that may be complete, at every turn": reading(lambda c: jobs.perhaps_due(c, TAG)),
        "snapshot for a late subscriber, `quicklook status`": lambda: state_of(journal, units=20, tag=TAG),
        "`quicklook jobs`": reading(lambda c: (jobview.list_jobs(c, tag=TAG, limit=50), jobview.counts(c, TAG))),
        "`quicklook jobs --failed`": reading(lambda c: jobview.list_jobs(c, tag=TAG, states=["failed"], limit=50)),
        "500 events for one who has missed them": lambda: journal.events(journal.last_seq() - 500, limit=500),
        "`quicklook ledger` of a night (6,000 cameras; without files)": lambda: ledger_of(
            journal, out, raw, NoFiles(), latest_night(journal, TAG), TAG  # type: ignore[arg-type]
        ),
    }


def measure(folder: Path, exposures: int, times: int = 7) -> tuple[dict[str, tuple[float, float]], int, float]:
    """The least of so many times of each (ms), by the clock and of the processor, the number of events, and the size of the journal (MB)."""
    with closing(Journal(journal_path(folder), time.time_ns)) as journal:
        events = fill(journal, exposures)
        out = {name: _least([_ms(ask) for _ in range(times)]) for name, ask in asked(journal, folder).items()}
    return out, events, journal_path(folder).stat().st_size / 1e6


def _ms(ask: Callable[[], object]) -> tuple[float, float]:
    begun, worked = time.perf_counter(), time.process_time()
    ask()
    return 1e3 * (time.perf_counter() - begun), 1e3 * (time.process_time() - worked)


def _least(times: list[tuple[float, float]]) -> tuple[float, float]:
    return min(t for t, _ in times), min(t for _, t in times)


def report(exposures: int, command: str, measured: tuple[dict[str, tuple[float, float]], int, float]) -> str:
    """The section of the page."""
    found, events, size = measured
    jobs_of = f"{exposures * len(CAMERAS):,} jobs, {WAITING} of which wait, and {events:,} events: {size:,.0f} MB"
    lines = [f"`{command}`", "", machine(), "", f"{jobs_of}. The least of seven times, ms: on a machine with other work the processor's is what counts."]
    lines += ["", "| | by the clock | of the processor |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {clock:.1f} | {processor:.1f} |" for name, (clock, processor) in found.items())])


def main() -> int:
    """Measure; 1 where something that others wait for takes too long (the ledger of a night goes with the night)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exposures", type=int, default=4000)
    parser.add_argument("--page", type=Path, help="page whose section on the journal is written anew")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="journal-"))
    try:
        measured = measure(folder, args.exposures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = report(args.exposures, f"python tests/chaos/journal_run.py --exposures {args.exposures}", measured)
    print(text)
    if args.page:
        write_section(args.page, "journal", text)
    return int(any(processor > LIMIT_MS for name, (_, processor) in measured[0].items() if "ledger" not in name))


if __name__ == "__main__":
    sys.exit(main())
