"""The live page beside the daemon: a process of its own, which ends with it, so that a slow browser or a fault there costs the frames nothing."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import sqlalchemy as sa

from quicklook.core.errors import QuicklookError, describe
from quicklook.core.hosting import Serving, web_server
from quicklook.core.registry import registered
from quicklook.io.atomic import atomic
from quicklook.service.hosting.host import JournalHost
from quicklook.service.running import runlog
from quicklook.service.running.attending import Surroundings
from quicklook.service.site import Site
from quicklook.service.verdicts.concluding import Conclusion

log = logging.getLogger("quicklook.web")

SWITCH = "QUICKLOOK_WEB"
"""Where this variable is ``off`` in its environment, a daemon serves no page."""
FURTHER = 20
_NICE = 5
_END_S = 1.5
_AGAIN_S = (2.0, 10.0, 60.0)
_HEALTHY_S = 120.0


def address_path(out: Path) -> Path:
    """The file that has the address of the page as long as a daemon serves one."""
    return out / "page.url"


def serving_of(site: Site, host: str | None = None, port: int | None = None) -> Serving:
    """How a site wants it; a port that is given here is that one and no other."""
    web = site.file.web
    return Serving(
        host=host or web.host, port=web.port if port is None else port, names=web.names, further=FURTHER if port is None and web.port else 0
    )


class Page:
    """The process that serves the page of a daemon: started, looked after, started again where it ends."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._spawning = multiprocessing.get_context("spawn")
        self._failures, self._not_before, self._since = 0, 0.0, 0.0
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._start()

    def _start(self) -> None:
        ours, theirs = self._spawning.Pipe()
        process = self._spawning.Process(target=page_main, args=(self._site, theirs), daemon=True, name="quicklook-web")
        process.start()
        theirs.close()
        self._process, self._pipe, self._since = process, ours, time.monotonic()

    @property
    def pid(self) -> int | None:
        """Number of its process; None where none runs."""
        return self._process.pid if self._process is not None else None

    def turn(self) -> None:
        """Hear where it is; start it again where it has ended, later each time."""
        if self._process is None:
            if time.monotonic() >= self._not_before:
                self._start()
            return
        self._hear()
        if self._process.is_alive():
            return
        self._process.join(0.1)
        if time.monotonic() - self._since > _HEALTHY_S:
            self._failures = 0
        wait_s = _AGAIN_S[min(self._failures, len(_AGAIN_S) - 1)]
        log.log(
            logging.ERROR if self._failures == 0 else logging.INFO,
            "the process of the page has ended with status %s; it is started again in %g s, and the frames go on", self._process.exitcode, wait_s,
        )  # fmt: skip
        self._failures, self._not_before = self._failures + 1, time.monotonic() + wait_s
        self._forget()

    def _hear(self) -> None:
        try:
            while self._pipe is not None and self._pipe.poll():
                address = str(self._pipe.recv())
                log.info("the page is at %s", address)
                with atomic(address_path(self._site.out), sync=False) as file:
                    file.write(f"{address}\n".encode())
        except (EOFError, OSError, QuicklookError) as error:
            log.debug("the page: %s", describe(error))

    def closed(self, connection: sa.Connection, done: Conclusion) -> None:
        """Nothing: it reads the journal."""

    @property
    def idle(self) -> bool:
        """Nobody waits for it."""
        return True

    def close(self) -> None:
        """End it; one that does not end is killed."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            self._process.join(_END_S)
            if self._process.is_alive():
                self._process.kill()
                self._process.join(2.0)
        self._forget()
        address_path(self._site.out).unlink(missing_ok=True)

    def _forget(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        self._process, self._pipe = None, None


def page_main(site: Site, pipe: Connection) -> None:
    """Body of the process: serve until the daemon has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runlog.inherit()
    os.nice(_NICE)
    gone = threading.Event()
    threading.Thread(target=_end_with_parent, args=(pipe, gone), daemon=True, name="parent").start()
    host = JournalHost(site)
    plain = serving_of(site)
    serving = Serving(host=plain.host, port=plain.port, further=plain.further, names=plain.names, started=pipe.send, stop=gone.is_set)
    try:
        web_server().serve(host, serving)
    except QuicklookError as error:
        log.warning("there is no page: %s. %s", error, error.what_next)
        gone.wait()  # not to be tried again and again
    finally:
        host.close()


def _end_with_parent(pipe: Connection, gone: threading.Event) -> None:
    """The pipe ends when the daemon does, however it does."""
    with suppress(EOFError, OSError):
        pipe.recv()
    gone.set()
    time.sleep(_END_S)
    os._exit(0)


def page_of(around: Surroundings) -> Page | None:
    """For a site that wants the page, where it is not switched off and there is one; else None."""
    web = around.site.file.web
    if not web.enabled or os.environ.get(SWITCH, "").lower() in ("off", "0", "no"):
        return None
    if "web" not in registered("monitor"):
        log.info("no page is installed")
        return None
    return Page(around.site)
