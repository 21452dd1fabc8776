"""The soak: one daemon takes some thousand small exposures; what its memory and that of its workers does meanwhile.

    python tests/chaos/soak_run.py --exposures 2000 --page docs/reference/endurance.md
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from chaos_check import complaints
from chaos_site import ChaosSite, wait_for
from endurance_page import machine, write_section

SETTLING = 200
"""So many exposures are not looked at: caches fill, allocators find their size."""
_AHEAD = 6
FLAT_MB = 0.5
"""A slope of memory below this, per 1000 exposures, and less than twice its error, is called flat."""
_BLOCKS = 12


def own_memory_mb(pid: int) -> float:
    """Memory of a process that no file backs (RssAnon of /proc/PID/status), 1e6 bytes; NaN where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return float("nan")
    kb = [int(line.split()[1]) for line in lines if line.startswith("RssAnon:")]
    return kb[0] * 1.024e-3 if kb else float("nan")


def count_of(pid: int, what: str) -> float:
    """How many file handles (`fd`) or threads (`task`) a process has; NaN where it is gone."""
    try:
        return float(len(os.listdir(f"/proc/{pid}/{what}")))
    except OSError:
        return float("nan")


def size_mb(path: Path) -> float:
    """Size of a file, 1e6 bytes; NaN where there is none."""
    return path.stat().st_size / 1e6 if path.exists() else float("nan")


@dataclass
class Soak:
    """What was seen: exposures done, seconds, memory in MB of the daemon and of its workers together, at each sample.

    `handles` and `threads` are those of the daemon, `log_mb` the size of the write-ahead log of the journal, `files` how many were written in all.
    """

    done: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    daemon: list[float] = field(default_factory=list)
    workers: list[float] = field(default_factory=list)
    handles: list[float] = field(default_factory=list)
    threads: list[float] = field(default_factory=list)
    log_mb: list[float] = field(default_factory=list)
    replaced: int = 0
    files: int = 0
    complaints: list[str] = field(default_factory=list)

    def after(self, settling: int) -> tuple[np.ndarray, np.ndarray]:
        """Exposures and seconds of the samples after the first `settling` exposures."""
        late = np.array(self.done) > settling
        return np.array(self.done, float)[late], np.array(self.seconds)[late]


def slope(x: np.ndarray, y: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Slope of a straight line by least squares through the means of twelve parts of the samples, and its standard error from their scatter about it.

    Neighbouring samples are not independent: memory goes up and down over many exposures. NaN below one sample a part.
    """
    values = np.asarray(y, float)
    good = np.isfinite(values)
    x, values = x[good], values[good]
    if len(x) < _BLOCKS or np.ptp(x) == 0:
        return float("nan"), float("nan")
    x, values = (np.array([part.mean() for part in np.array_split(a, _BLOCKS)]) for a in (x, values))
    dx = x - x.mean()
    best = float(dx @ values / (dx @ dx))
    left = values - values.mean() - best * dx
    return best, float(np.sqrt(left @ left / (len(x) - 2) / (dx @ dx)))


def soak(folder: Path, exposures: int, *, limit_s: float, plots: bool = False) -> Soak:
    """Run it: exposures come as fast as they are worked off."""
    site, out = ChaosSite(folder, plots=plots), Soak()
    site.start()
    start, expids, workers = time.monotonic(), list[int](), set[int]()
    try:
        while (done := site.count("unit_verdict")) < exposures and time.monotonic() - start < limit_s:
            while len(expids) < min(exposures, done + _AHEAD):
                expids.append(site.write(len(expids)))
            pids = site.workers()
            fresh = set(pids) - workers
            out.replaced += len(fresh) if workers and done else 0
            workers |= fresh
            if done and not (out.done and out.done[-1] == done):
                out.done.append(done)
                out.seconds.append(time.monotonic() - start)
                out.daemon.append(own_memory_mb(site.pid))
                out.workers.append(float(np.nansum([own_memory_mb(p) for p in pids])))
                out.handles.append(count_of(site.pid, "fd"))
                out.threads.append(count_of(site.pid, "task"))
                out.log_mb.append(size_mb(folder / "out" / "journal.sqlite-wal"))
            time.sleep(0.2)
        if site.count("unit_verdict") < exposures:
            out.complaints.append(f"{site.count('unit_verdict')} of {exposures} exposures after {limit_s:g} s")
        wait_for(lambda: not site.ask("select 1 from jobs where state in ('open', 'running') limit 1"), 60)
    finally:
        status = site.end()
    out.files = sum(len(files) for _, _, files in os.walk(folder / "out" / "live"))
    out.complaints += [*([f"the daemon ended with status {status}"] if status else []), *complaints(site, expids)]
    return out


def report(out: Soak, exposures: int, command: str) -> str:
    """The section of the page."""
    settling = SETTLING if exposures > 2 * SETTLING else exposures // 3
    done, seconds = out.after(settling)
    lines = [
        f"`{command}`", "", machine(), "",
        f"{out.done[-1] if out.done else 0} exposures of two cameras in {out.seconds[-1] / 60 if out.seconds else 0:.1f} minutes;"
        f" {len(done)} samples after the first {settling}. Memory is what belongs to the processes alone (RssAnon); errors are one standard deviation.", "",
        "| | at the beginning of it, MB | at the end, MB | MB per 1000 exposures | MB per hour |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, values in (("daemon", out.daemon), ("workers, together", out.workers)):
        late = np.array(values)[len(values) - len(done) :] if len(done) else np.array([np.nan])
        few = max(1, len(late) // 10)
        per_1000, per_hour = slope(done / 1000, late), slope(seconds / 3600, late)
        ends = f"{np.nanmedian(late[:few]):.1f} | {np.nanmedian(late[-few:]):.1f}"
        lines.append(f"| {name} | {ends} | {per_1000[0]:+.2f} ± {per_1000[1]:.2f} | {per_hour[0]:+.1f} ± {per_hour[1]:.1f} |")
        if name == "daemon":
            flat = verdict_on(*per_1000)
    lines += ["", f"The daemon {flat}: flat is a slope below {FLAT_MB:g} MB per 1000 exposures that is less than twice its error from 0.", "", *_bounds(out, settling)]
    lines += ["", f"Workers replaced: {out.replaced}. Complaints: {len(out.complaints)}.", *(f"- {c}" for c in out.complaints[:20])]
    return "\n".join(lines)


def verdict_on(per_1000: float, error: float) -> str:
    """Whether memory is flat, in words."""
    if not np.isfinite(per_1000):
        return "was not measured for long enough"
    told, small = abs(per_1000) >= 2 * error, abs(per_1000) < FLAT_MB
    return "is flat" if small and not told else "grows so little that it is below the bound, and can be told from 0" if small else "is not flat"


def _bounds(out: Soak, settling: int) -> list[str]:
    """Handles, threads, the log of the journal, files: what else could fill up."""
    if not out.done:
        return []
    first = next((i for i, n in enumerate(out.done) if n > settling), 0)
    spans = [f"{name} {min(v[first:]):.0f} to {max(v[first:]):.0f}" for name, v in (("file handles", out.handles), ("threads", out.threads))]
    return [f"Of the daemon after the first {settling}: {', '.join(spans)}. The write-ahead log of the journal had {np.nanmax(out.log_mb):.1f} MB at most;"
            f" {out.files / out.done[-1]:.1f} files were written for each exposure."]  # fmt: skip


def main() -> int:
    """Run it at the size that is asked for; 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exposures", type=int, default=2000)
    parser.add_argument("--limit-s", type=float, default=7200.0)
    parser.add_argument("--plots", action="store_true", help="draw plots too")
    parser.add_argument("--page", type=Path, help="page whose section on the soak is written anew")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        out = soak(folder, args.exposures, limit_s=args.limit_s, plots=args.plots)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = report(out, args.exposures, f"python tests/chaos/soak_run.py --exposures {args.exposures}{' --plots' if args.plots else ''}")
    print(text)
    if args.page:
        write_section(args.page, "soak", text)
    return 1 if out.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
