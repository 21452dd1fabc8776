"""A small site with a real daemon that serves its page: simulated exposures, a log of housekeeping that grows, alarms kept."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

CAMERAS = ("r0", "z0")
NIGHT = 20220101
HK: dict[str, Any] = {
    "defaults": {"stale_after_s": 8, "stale_severity": "WARNING"},
    "sources": {"cryostat": {"plugin": "text", "params": {"path": "hk/cryostat.txt", "delimiter": "tab", "time": "time", "time_format": "iso"}, "silent_after_s": 20}},
    "channels": [{"name": "ccd_*", "unit": "degC", "plausible": [-200, 100]}, {"name": "pressure", "unit": "mbar"}],
    "limits": [
        {"name": "ccd_cold", "channels": "ccd_*", "unit": "degC", "performance": [-125, -115], "survival": [-140, -90],
         "reason": "Dark current holds at -120 degC alone.", "action": "Look at the cooler."},
        {"name": "vacuum", "channels": "pressure", "unit": "mbar", "performance": [None, 1.0e-4],
         "reason": "The cold plate collects what is left.", "action": "Look at the pump."},
    ],
}  # fmt: skip


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class WebNight:
    """A site in a folder. `prepare`, `start`, `expose` as often as wanted, `stop`."""

    folder: Path
    port: int = field(default_factory=free_port)
    housekeeping: bool = True
    daemon: subprocess.Popen[bytes] | None = None
    plan: list[Any] = field(default_factory=list)
    instruments: Any = None
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.folder / "out" / "command.token").read_text().strip()

    def prepare(self, count: int = 8) -> None:
        """Calibrations, plan, site file."""
        from quicklook.sim import plan_night, sim_instruments, write_calibrations

        self.instruments = sim_instruments(CAMERAS, scale="small", seed=7)
        self.plan = plan_night(NIGHT, count, cameras=CAMERAS, seed=7)
        write_calibrations(self.folder, self.instruments)
        for name in ("raw", "hk"):
            (self.folder / name).mkdir(exist_ok=True)
        site: dict[str, Any] = {
            "instrument": "desi", "cameras": list(CAMERAS), "raw": "raw", "calib": "calib", "out": "out", "web": {"port": self.port},
            "watch": {"settle_s": 0.1},
            "sinks": {"files": {}, "metrics": {}, "render": {}, "alarms": {}, "zmq": {"endpoint": f"ipc://{self.folder}/events.ipc"}},
        }  # fmt: skip
        if self.housekeeping:
            (self.folder / "hk.yaml").write_text(yaml.safe_dump(HK, sort_keys=False).replace("hk/cryostat.txt", str(self.folder / "hk" / "cryostat.txt")))
            site["housekeeping"] = {"config": "./hk.yaml", "every_s": 0.5}
            self.sample()
            threading.Thread(target=self._keep_sampling, daemon=True).start()
        (self.folder / "site.yaml").write_text(yaml.safe_dump(site, sort_keys=False))

    def sample(self, ccd: float = -120.2, pressure: float = 3e-6) -> None:
        """One more row of housekeeping."""
        path = self.folder / "hk" / "cryostat.txt"
        if not path.exists():
            path.write_text("time\tccd_r0\tccd_z0\tpressure\n" + "".join(_past()))
        with path.open("a") as file:
            file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}\t{ccd}\t{ccd - 0.7}\t{pressure}\n")

    def _keep_sampling(self) -> None:
        while not self._ended.wait(1.0):
            self.sample()

    def start(self) -> None:
        """Start the daemon; it serves its page at once, and takes frames when its workers are warm."""
        log = (self.folder / "daemon.log").open("ab")
        environment = {**os.environ, "QUICKLOOK_WEB": "on"}
        command = [sys.executable, "-m", "quicklook", "watch", "--site", str(self.folder / "site.yaml")]
        self.daemon = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        log.close()

    def expose(self, number: int) -> str:
        """The next exposure of the plan arrives; its key."""
        from quicklook.sim import write_exposure

        planned = self.plan[number]
        write_exposure(self.folder, planned, self.instruments)
        return f"{planned.night:08d}/{planned.expid:08d}"

    def kill(self) -> None:
        """As a machine does that runs out of memory."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait(60)
        self.daemon = None

    def stop(self) -> None:
        """End it in good order."""
        self._ended.set()
        if self.daemon is None:
            return
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(60)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait(60)
        self.daemon = None


def until(what: Callable[[], Any], seconds: float, about: str = "") -> Any:
    """What `what` gives as soon as that is true; AssertionError after so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError):
            if found := what():
                return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {about or what}")


def _past() -> Iterator[str]:
    """Rows of the last hour."""
    now = datetime.now(UTC)
    for n in range(330, 1, -1):
        ccd = -120.2 + 0.6 * math.sin(n / 25)
        yield f"{now - timedelta(seconds=10 * n):%Y-%m-%dT%H:%M:%S.%f}\t{ccd:.3f}\t{ccd - 0.7:.3f}\t{3e-6 * (1 + n / 300):.3g}\n"
