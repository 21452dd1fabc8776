"""A site of small simulated exposures for tests of endurance: a daemon as a program, one who writes exposures, one who listens."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from quicklook.client import Subscriber
from quicklook.service.journal.journal import journal_path
from quicklook.sim import SimInstrument, WriteOptions, plan_exposure, sim_instruments, write_calibrations, write_exposure

NIGHT = 20220101
FIRST = 1001
SITE = """\
instrument: desi
cameras: [{cameras}]
raw: raw
calib: calib
out: out
plots: {plots}
products: [preproc]
chains: {{_default: raw}}
watch: {{settle_s: 0.1, rescan_s: 2, companion_s: 5, unit_s: 86400}}
work: {{workers: {workers}, attempts: 10}}
sinks: {{files: {{}}, {render}zmq: {{endpoint: "ipc://{endpoint}"}}}}
"""


def wait_for(condition: Callable[[], object], seconds: float, pause_s: float = 0.1) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(pause_s)
    return bool(held)


class ChaosSite:
    """The folders of a site, and its daemon, which is started and killed as a program."""

    def __init__(self, folder: Path, cameras: Sequence[str] = ("b0", "r0"), *, seed: int = 4, plots: bool = False, workers: int = 2) -> None:
        self.folder, self.cameras = folder, tuple(cameras)
        self.instruments: tuple[SimInstrument, ...] = tuple(sim_instruments(self.cameras, scale="tiny", seed=seed))
        self.endpoint = f"ipc://{folder}/e.ipc"
        self._daemon: subprocess.Popen[bytes] | None = None
        write_calibrations(folder, self.instruments)
        (folder / "raw").mkdir()
        render = "render: {}, " if plots else ""
        text = SITE.format(
            cameras=", ".join(self.cameras), endpoint=f"{folder}/e.ipc", plots="true" if plots else "false", render=render, workers=workers
        )
        (folder / "site.yaml").write_text(text)

    # ---- the daemon

    def start(self) -> None:
        """Start the daemon. Its words go to the file `log`."""
        command = [sys.executable, "-m", "quicklook", "watch", "--site", str(self.folder / "site.yaml")]
        with (self.folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(command, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self._daemon is not None
        return self._daemon.pid

    @property
    def lives(self) -> bool:
        """Whether the daemon runs."""
        return self._daemon is not None and self._daemon.poll() is None

    def workers(self) -> list[int]:
        """Process numbers of the children of the daemon."""
        try:
            return [int(p) for p in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait(30)

    def end(self, seconds: float = 30.0) -> int:
        """Stop the daemon in good order; its exit status."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGTERM)
        return self._daemon.wait(seconds)

    def log(self) -> str:
        """What the daemons have said."""
        return (self.folder / "log").read_text(errors="replace")

    # ---- exposures

    def write(self, n: int) -> int:
        """Write the n-th exposure, in one of the ways in which files come; its number."""
        planned = plan_exposure("science" if n % 5 == 4 else "zero", FIRST + n, night=NIGHT)
        write_exposure(self.folder, planned, self.instruments, WriteOptions(truth=False, slow_seconds=0.4 if n % 7 == 3 else 0.0))
        return planned.expid

    # ---- the journal

    def ask(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Rows of the journal, which is only read; none before it is there."""
        path = journal_path(self.folder / "out")
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            try:
                return connection.execute(query, values).fetchall()
            except sqlite3.OperationalError:  # before its tables are made
                return []

    def count(self, kind: str) -> int:
        """Events of a kind."""
        rows = self.ask("select count(*) from events where kind = ?", kind)
        return int(str(rows[0][0])) if rows else 0

    def last_seq(self) -> int:
        """The number of the last event."""
        rows = self.ask("select coalesce(max(seq), 0) from events")
        return int(str(rows[0][0])) if rows else 0


class Listener(threading.Thread):
    """Listens with the client, from the first event on, and keeps the numbers it was given."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self.seqs: list[int] = []
        self.gaps = 0
        self._endpoint, self._stop_asked = endpoint, threading.Event()

    def run(self) -> None:
        """Listen until `stop`."""
        with Subscriber(self._endpoint, since=0, attachments=False) as events:
            while not self._stop_asked.is_set():
                message = events.receive(0.2)
                if message is not None:
                    self.seqs.append(message.event.seq)
                self.gaps = events.gaps

    def stop(self) -> None:
        """End."""
        self._stop_asked.set()
        self.join(30)
