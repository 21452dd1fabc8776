"""How the daemon is doing, for its heartbeat: what waits and runs, how long verdicts take, memory, room on the disk.

Heartbeats are kept in the journal for an hour.
"""

from __future__ import annotations

import logging
import os
import shutil
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

import sqlalchemy as sa

from quicklook.core.events import LAIN_S, Heartbeat, Receipt, draft
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import EVENTS, Journal

log = logging.getLogger("quicklook.daemon")

LATEST = 20
"""So many of the last exposures say how long a verdict takes."""
HEARTBEATS_KEPT_S = 3600.0
_PRUNE_EVERY = 60
_PAGE = os.sysconf("SC_PAGE_SIZE")


def memory_mb(pids: Iterable[int]) -> float | None:
    """Memory of processes in MB (1e6 bytes), without files that they have mapped, which all share; None where the system does not tell."""
    total = 0
    for pid in pids:
        try:
            resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
            total += (int(resident) - int(shared)) * _PAGE
        except FileNotFoundError:
            continue  # it has just ended
        except (OSError, IndexError, ValueError):
            return None
    return round(total / 1e6, 1)


class Vitals:
    """Writes heartbeats of a daemon that works under a tag into an output folder."""

    def __init__(self, journal: Journal, tag: str, out: Path, claim: jobs.Claim | None = None) -> None:
        self._journal, self._tag, self._out, self._claim = journal, tag, out, claim or jobs.Claim()
        self._beats = 0

    def beat(
        self, *, workers: int, pids: Iterable[int], sinks: Iterable[str], arriving: int = 0, raw_trouble: str = "", work_trouble: str = ""
    ) -> None:
        """Write one, renew the leases of jobs that run, drop heartbeats that are older than an hour now and then. Raises what the journal raises."""
        with self._journal.reading() as connection:
            count = jobs.counts(connection, self._tag)
            seconds = _last_latencies(connection, self._tag)
        last = self._journal.last_seq()
        told = Heartbeat(
            workers=workers,
            waiting=count.get(jobs.OPEN, 0),
            running=count.get(jobs.RUNNING, 0),
            done=count.get(jobs.DONE, 0),
            failed=count.get(jobs.FAILED, 0),
            sinks={name: last - self._journal.position(name) for name in sinks},
            latency_s=latencies(seconds),
            memory_mb=_known({"daemon": memory_mb([os.getpid()]), "workers": memory_mb(pids)}),
            disk_free_gb=self._free_gb(),
            arriving=arriving,
            raw_trouble=raw_trouble,
            work_trouble=work_trouble,
        )
        with self._journal.transaction() as connection:
            beat = self._journal.append([draft(told, tag=self._tag)], connection)[0]
            jobs.renew_leases(connection, self._tag, self._claim, beat.time)
            if self._beats % _PRUNE_EVERY == 0:
                prune(connection, beat.time - int(HEARTBEATS_KEPT_S * 1e9))
        self._beats += 1

    def _free_gb(self) -> float | None:
        try:
            return round(shutil.disk_usage(self._out).free / 1e9, 2)
        except OSError as error:
            log.debug("how much room %s has is not known: %s", self._out, error)
            return None


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _last_latencies(connection: sa.Connection, tag: str) -> list[float]:
    """Seconds to the verdict, of the last exposures: from the last byte of a file, or from when it was seen where it had lain there for long."""
    seconds, seen, closed = (sa.func.json_extract(EVENTS.c.payload, f"$.{name}") for name in ("seconds_to_verdict", "times.seen", "times.closed"))
    query = sa.select(seconds, seen, closed).where(EVENTS.c.kind == Receipt.kind, EVENTS.c.tag == tag).order_by(EVENTS.c.seq.desc()).limit(LATEST)
    return [float(took) - _lain_s(seen_ns, closed_ns) for took, seen_ns, closed_ns in connection.execute(query) if took is not None]


def _lain_s(seen_ns: int | None, closed_ns: int | None) -> float:
    lain_s = (seen_ns - closed_ns) / 1e9 if seen_ns and closed_ns else 0.0
    return lain_s if lain_s > LAIN_S else 0.0


def latencies(seconds: list[float]) -> dict[str, float]:
    """Median, 95 % quantile (of the sample: the smallest that 95 % do not exceed) and number; empty without any."""
    if not seconds:
        return {}
    rank = -(-95 * len(seconds) // 100)
    return {"median": round(statistics.median(seconds), 3), "p95": round(sorted(seconds)[rank - 1], 3), "n": float(len(seconds))}


def prune(connection: sa.Connection, before_ns: int) -> int:
    """Remove heartbeats that are older; their numbers are not given again, and the replay socket says that nothing is missing. Returns how many."""
    return connection.execute(sa.delete(EVENTS).where(EVENTS.c.kind == Heartbeat.kind, EVENTS.c.time < before_ns)).rowcount
