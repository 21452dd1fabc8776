"""The chaos test: exposures arrive while the daemon and its workers are killed with SIGKILL at random points.

    python tests/chaos/chaos_run.py --exposures 200 --kills 60 --seed 1

Everything random comes from the seed; when exactly a kill falls depends on the machine, as it should.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chaos_check import complaints
from chaos_site import ChaosSite, Listener, wait_for
from endurance_page import machine, write_section


@dataclass
class Outcome:
    """What has come of it."""

    exposures: int
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    events: int = 0
    heard: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


class Chaos:
    """One run in a folder."""

    def __init__(
        self, folder: Path, *, exposures: int, kills: int, seed: int, pause_s: float = 0.3, limit_s: float = 600.0, workers: int = 2
    ) -> None:
        self.site = ChaosSite(folder, workers=workers)
        self.outcome = Outcome(exposures=exposures)
        self._kills, self._pause_s, self._limit_s = kills, pause_s, limit_s
        self._dice = random.Random(seed)
        self._expids: list[int] = []

    def run(self) -> Outcome:
        """Write, kill, wait until every exposure has its verdict, and look at what is there."""
        start, out = time.monotonic(), self.outcome
        listener = Listener(self.site.endpoint)
        writer = threading.Thread(target=self._write, daemon=True)
        self.site.start()
        listener.start()
        writer.start()
        try:
            wait_for(lambda: self.site.count("verdict"), self._limit_s)  # kernels that nobody has compiled yet take minutes
            for _ in range(self._kills):
                if self._done or time.monotonic() - start > self._limit_s:
                    break
                self._strike()
            writer.join(self._limit_s)
            left_s = max(30.0, self._limit_s - (time.monotonic() - start))
            if not wait_for(lambda: self._over, left_s):
                out.complaints.append(f"after {time.monotonic() - start:.0f} s {self.site.count('unit_verdict')} of {out.exposures} have a verdict")
            wait_for(lambda: listener.seqs and listener.seqs[-1] >= self.site.last_seq() - 1, 20)
            wait_for(lambda: self.site.workers(), 60)  # a daemon that is just being started ends by the signal, as any program does
        finally:
            listener.stop()
            status = self.site.end() if self.site.lives else -1
        out.seconds, out.events, out.heard = time.monotonic() - start, self.site.last_seq(), len(listener.seqs)
        out.statuses.update(str(s) for (s,) in self.site.ask("select json_extract(payload, '$.status') from events where kind = 'unit_verdict'"))
        out.complaints += [*([f"the daemon ended with status {status}"] if status else []), *_heard(listener), *complaints(self.site, self._expids)]
        return out

    @property
    def _over(self) -> bool:
        if not self.site.lives:
            self.site.start()  # it must never end by itself, which its log would tell
            self.outcome.complaints.append("the daemon had ended by itself")
        open_jobs = self.site.ask("select 1 from jobs where state in ('open', 'running') limit 1")
        return self._done and not open_jobs

    @property
    def _done(self) -> bool:
        return self.site.count("unit_verdict") >= self.outcome.exposures

    def _progress(self) -> int:
        """Events that tell of work."""
        rows = self.site.ask("select count(*) from events where kind not in ('heartbeat', 'seen')")
        return int(str(rows[0][0])) if rows else 0

    def _write(self) -> None:
        for n in range(self.outcome.exposures):
            self._expids.append(self.site.write(n))
            time.sleep(self._pause_s * random.random())

    def _strike(self) -> None:
        """Wait for some progress, or for a random moment of a start, then kill the daemon, or one of its workers, or all of them."""
        target = self._dice.choices(["daemon", "worker", "all"], [5, 4, 1])[0]
        wanted, early, nap_s = self._progress() + self._dice.randrange(1, 80), self._dice.random() < 0.2, self._dice.uniform(0.0, 0.5)
        wait_for(lambda: self._progress() >= wanted or self._done, self._dice.uniform(0, 5) if early else 120, 0.02)
        time.sleep(nap_s)
        workers = self.site.workers()
        if target != "worker":
            self.site.kill()
        for pid in workers if target == "all" else self._dice.sample(workers, min(len(workers), target == "worker")):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if target != "worker":
            self.site.start()
        self.outcome.kills[target] += bool(workers or target != "worker")


def _heard(listener: Listener) -> list[str]:
    seqs = listener.seqs
    wrong = [] if seqs == list(range(1, len(seqs) + 1)) else [f"the subscriber was given {len(seqs)} events that do not number from 1 without gap"]
    return [*wrong, *([f"the subscriber missed {listener.gaps} events"] if listener.gaps else []), *(["it heard nothing"] if not seqs else [])]


def report(out: Outcome, command: str) -> str:
    """The section of the page."""
    lines = [
        f"`{command}`", "", machine(), "",
        "| | |", "|---|---|",
        f"| exposures, of two cameras | {out.exposures} |",
        f"| kills by SIGKILL | {sum(out.kills.values())}: {', '.join(f'{n} of {what}' for what, n in sorted(out.kills.items()))} |",
        f"| minutes | {out.seconds / 60:.1f} |",
        f"| verdicts of exposures | {sum(out.statuses.values())}: {', '.join(f'{n} {s}' for s, n in sorted(out.statuses.items()))} |",
        f"| events in the journal, heard by the subscriber | {out.events}, {out.heard} |",
        f"| complaints | {len(out.complaints)} |",
    ]  # fmt: skip
    return "\n".join([*lines, *(f"\n- {c}" for c in out.complaints[:20])])


def main() -> int:
    """Run it at the size that is asked for; 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exposures", type=int, default=200)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=3600.0)
    parser.add_argument("--page", type=Path, help="page whose section on chaos is written anew")
    parser.add_argument("--keep", type=Path, help="folder to work in, kept; default: a temporary one")
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    out = Chaos(folder, exposures=args.exposures, kills=args.kills, seed=args.seed, limit_s=args.limit_s).run()
    text = report(out, f"python tests/chaos/chaos_run.py --exposures {args.exposures} --kills {args.kills} --seed {args.seed}")
    print(text)
    if args.page:
        write_section(args.page, "chaos", text)
    if not args.keep and not out.complaints:
        shutil.rmtree(folder)
    elif out.complaints:
        print(f"what is there is kept in {folder}", file=sys.stderr)
    return 1 if out.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
