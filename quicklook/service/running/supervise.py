"""Words for the service manager: ready, alive, reloading, stopping. The protocol of systemd's sd_notify(3): datagrams to the socket in NOTIFY_SOCKET.

Without that variable nothing is sent. Nothing here raises: a service manager that does not listen costs no exposure.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

log = logging.getLogger("quicklook.supervise")

_BEATS = 3
"""So many signs of life in the time after which the service manager gives up waiting for one."""


@dataclass(slots=True)
class Notifier:
    """Tells a service manager at `address` ("": none) how the daemon is; it expects a sign of life every `watchdog_s` (0: none)."""

    address: str = ""
    watchdog_s: float = 0.0
    _next: float = 0.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """As systemd says it: NOTIFY_SOCKET, and WATCHDOG_USEC where WATCHDOG_PID is this process or absent."""
        address = environment.get("NOTIFY_SOCKET", "")
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        mine = usec.isdecimal() and pid in ("", str(os.getpid()))
        return cls(address=address if address[:1] in ("/", "@") else "", watchdog_s=int(usec) / 1e6 if mine else 0.0)

    def ready(self, status: str = "") -> None:
        """The daemon works, or works again after a reload."""
        self._send("READY=1", *([f"STATUS={status}"] if status else ()))

    def alive(self) -> None:
        """A sign of life, as often as is needed. Call it at every turn."""
        if self.watchdog_s and time.monotonic() >= self._next:
            self._next = time.monotonic() + self.watchdog_s / _BEATS
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` comes after it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The daemon ends."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self.address:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address  # @ stands for the abstract namespace
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.debug("the service manager did not take %s: %s", lines[0], error)
