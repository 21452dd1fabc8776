"""Measures the metrics store: what an exposure of thirty cameras costs, and how fast histories come from many rows.

As a program: `python tests/benchmarks/metrics_store.py QA_FILE FOLDER [EXPOSURES]`. QA_FILE is the merged QA of one camera (``qa-r0-00000102.json`` of
`quicklook run` on a full-scale frame); each of the thirty cameras gets a copy. 2500 exposures are ten million metrics, and take some minutes: the first
few are written as events, as the daemon does, the others as copies of their rows.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path

from quicklook.core.events import Event, PartVerdict, QADone, Seen, draft
from quicklook.core.keys import Unit
from quicklook.core.results import PartResult
from quicklook.io.metricstore import MetricStore
from quicklook.io.metricstore.opening import open_store
from quicklook.io.metricstore.writing import Writer

CAMERAS = [f"{arm}{n}" for n in range(10) for arm in "brz"]
WRITTEN, BATCH = 5, 200
START_NS, STEP_NS = 1_641_081_600 * 10**9, 100 * 10**9
ASKED = ("camera = r0", "camera = r0 and amp = A", "", "value > 1e6")
_COLUMNS = "metric, time_ns, result, qa, axes, limits, n, status, worst, value, low, high, elements, statuses, limit_of, details"


def events_of(found: PartResult, number: int) -> list[Event]:
    """All that an exposure says."""
    unit = Unit(20220101, 100 + number)
    tags = {**found.tags, "start": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime((START_NS + number * STEP_NS) // 10**9))}
    drafts = [draft(Seen(file="x", size=1, parts=CAMERAS, tags=tags), unit=unit)]
    for camera in CAMERAS:
        drafts += [draft(QADone(**qa.model_dump()), unit=unit, part=camera) for qa in found.qas]
        said = PartVerdict(status=found.status, reasons=found.reasons, measured=found.measured, expected=found.expected, seconds=1.0)
        drafts.append(draft(said, unit=unit, part=camera))
    return [Event(**d.model_dump(), epoch="bench", seq=i + 1 + number * len(drafts), time=START_NS) for i, d in enumerate(drafts)]


def write(found: PartResult, path: Path) -> None:
    """Exposures as events: wall-clock and CPU seconds, and size."""
    engine = open_store(str(path), to_read=False)
    writer = Writer(engine)
    for number in range(WRITTEN):
        events = events_of(found, number)
        began, cpu = time.perf_counter(), time.process_time()
        for at in range(0, len(events), BATCH):
            assert writer.write(events[at : at + BATCH]) == []
        print(f"exposure {number}: {len(events)} events in {time.perf_counter() - began:.2f} s, {time.process_time() - cpu:.2f} s of CPU")
    engine.dispose()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    print(f"{path.stat().st_size / 1e6 / WRITTEN:.2f} MB an exposure")


def copy(path: Path, exposures: int) -> None:
    """Further exposures as copies of the rows of the first one."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA synchronous=OFF")
    results = database.execute("SELECT id, part FROM quicklook_results WHERE expid = 100 ORDER BY id").fetchall()
    last = database.execute("SELECT max(id) FROM quicklook_results").fetchone()[0]
    for number in range(WRITTEN, exposures):
        time_ns = START_NS + number * STEP_NS
        for old, part in results:
            last += 1
            row = (last, 20220101 + number // 1000, 100 + number, part, time_ns)
            made = "INSERT INTO quicklook_results (id, night, expid, part, time_ns, tag, revision, flavor, has_metrics, metrics_last) VALUES"
            database.execute(f"{made} (?, ?, ?, ?, ?, 'live', 0, 'science', 1, 1)", row)
            others = _COLUMNS.replace("time_ns, result", "?, ?")
            database.execute(f"INSERT INTO quicklook_values ({_COLUMNS}) SELECT {others} FROM quicklook_values WHERE metric IN ({METRICS}) "
                             "AND time_ns = ? AND result = ?", (time_ns, last, START_NS, old))  # fmt: skip
        if number % 100 == 0:
            database.commit()
    database.commit()
    print(f"{database.execute('SELECT count(*) FROM quicklook_values').fetchone()[0]} metrics, {path.stat().st_size / 1e6:.0f} MB")
    database.close()


METRICS = "SELECT id FROM quicklook_metrics"


def ask(path: Path) -> None:
    """Seconds of histories, the second time."""
    with MetricStore(path) as store:
        for name, where in [("read_noise", w) for w in ASKED] + [("lines_found", "camera = r0"), ("lines_found", "")]:
            store.history(name, where)
            began = time.perf_counter()
            rows = len(store.history(name, where))
            print(f"{name} where {where or '(all)'}: {rows} rows in {time.perf_counter() - began:.3f} s")


def main() -> None:
    """Measure, and print."""
    found = PartResult.model_validate(json.loads(Path(sys.argv[1]).read_text()))
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.sqlite"
    for old in folder.glob("metrics.sqlite*"):
        old.unlink()
    write(found, path)
    copy(path, int(sys.argv[3]) if len(sys.argv) > 3 else 100)
    ask(path)


if __name__ == "__main__":
    main()
