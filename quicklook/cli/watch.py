"""`quicklook watch`: the daemon."""

from __future__ import annotations

import logging
import signal
import time
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import BadAmpsOption, CalibOption, InstrumentOption, OutOption, RawOption, SetOption, SiteOption, TagOption, site_of

if TYPE_CHECKING:
    from quicklook.service.site import Site


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("watch")(watch)


def watch(
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    raw: RawOption = None,
    calib: CalibOption = None,
    out: OutOption = None,
    tag: TagOption = None,
    sets: SetOption = None,
    badamps: BadAmpsOption = None,
    endpoint: Annotated[str | None, typer.Option(help="Where events are published, tcp://127.0.0.1:PORT.")] = None,
    idle: Annotated[float | None, typer.Option(help="End when nothing has arrived or run for so many seconds.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Watch a folder, process every exposure that arrives, publish its verdict within seconds. Ends at Ctrl-C or SIGTERM."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from quicklook.service.daemon import Daemon

    def described() -> Site:
        made = site_of(site, sets, badamps, instrument=instrument, raw=raw, calib=calib, out=out, tag=tag)
        return made.with_sink_param("zmq", "endpoint", endpoint) if endpoint else made

    daemon = Daemon(described())
    daemon.reloading.reread = described
    stopped = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    last_busy = time.monotonic()

    def until() -> bool:
        nonlocal last_busy
        if idle is None:
            return stopped
        if not daemon.idle:
            last_busy = time.monotonic()
        return stopped or time.monotonic() - last_busy > idle

    daemon.run(until)
