"""The daemon as a program: signals, the service manager, the folder of the run."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable

from quicklook.core.errors import BadConfig, QuicklookError, Transient
from quicklook.core.events import CommandGiven, draft
from quicklook.service.daemon import Daemon
from quicklook.service.running.runfolder import RunFolder, keep_configuration
from quicklook.service.running.supervise import Notifier
from quicklook.service.site import Site

log = logging.getLogger("quicklook.daemon")


class Running:
    """Runs a daemon until it is told to stop (SIGTERM, SIGINT, a command), or, where `idle_s` is given, has had nothing to do for so long.

    SIGHUP: the configuration is read again and checked; a bad one is refused, and the old one goes on.
    """

    def __init__(self, daemon: Daemon, reread: Callable[[], Site], run: RunFolder, *, idle_s: float | None = None) -> None:
        self._daemon, self._run, self._idle_s = daemon, run, idle_s
        daemon.reloading.reread = reread
        self._notifier = Notifier.from_environment()
        self._site: Site | None = None
        self._changes = daemon.reloading.changes
        self._last_busy = time.monotonic()

    def go(self) -> None:
        """Work until the end. Call it in the main thread. Raises what the daemon raises at its start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)
        try:
            self._daemon.run(self._until)
        except QuicklookError as error:
            log.error("run %s ends: %s. %s", self._run.path.name, error, error.what_next)
            raise
        except Exception:
            log.exception("run %s ends by a fault of the program", self._run.path.name)
            raise
        finally:
            self._notifier.stopping()
        log.info("run %s has ended", self._run.path.name)

    def _until(self) -> bool:
        """Called at every turn; whether it is time to end."""
        if self._daemon.site is not self._site:
            self._begun()
        elif self._daemon.reloading.changes != self._changes:
            self._notifier.ready("the last reload could not be used; see the log")
        self._changes = self._daemon.reloading.changes
        self._notifier.alive()
        if self._idle_s is None:
            return False
        if not self._daemon.idle:
            self._last_busy = time.monotonic()
        return time.monotonic() - self._last_busy > self._idle_s

    def _begun(self) -> None:
        """The daemon works by another configuration than before, or has just begun."""
        self._site = self._daemon.site
        try:
            kept = keep_configuration(self._run, self._site)
        except (Transient, BadConfig) as error:
            log.warning("the configuration of this run is not kept: %s", error)
        else:
            log.info("run %s works by %s, kept as %s", self._run.path.name, self._site.source, kept)
        self._notifier.ready(f"watching {self._site.file.raw}")

    def _stop(self, number: int, _frame: object) -> None:
        log.info("%s: the daemon stops", signal.Signals(number).name)
        self._notifier.stopping()
        self._daemon.ask_to_stop()

    def _hang_up(self, _number: int, _frame: object) -> None:
        # not here: the signal comes in the middle of anything, a transaction of the journal too
        threading.Thread(target=self._reload, name="reload", daemon=True).start()

    def _reload(self) -> None:
        self._notifier.reloading()
        try:
            said, done = self._daemon.reload(), True
        except QuicklookError as error:
            said, done = f"{error}", False
            log.error("the configuration is refused, the old one goes on: %s", error)
            self._notifier.ready("the last reload was refused; see the log")
        except Exception:
            log.exception("the configuration could not be read again, the old one goes on")
            self._notifier.ready("the last reload has failed; see the log")
            return
        else:
            log.info("%s", said)
        try:
            given = CommandGiven(name="reload", by="SIGHUP", via="signal", done=done, said=said)
            self._daemon.journal.append([draft(given, tag=self._daemon.site.file.tag)])
        except Transient as error:
            log.warning("the reload is not in the journal: %s", error)
