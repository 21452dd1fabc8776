"""`quicklook watch`: the daemon."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import BadAmpsOption, CalibOption, InstrumentOption, OutOption, RawOption, SetOption, SiteOption, TagOption, site_of

if TYPE_CHECKING:
    from quicklook.service.running.runlog import LogFormat
    from quicklook.service.site import Site


class LogForm(StrEnum):
    """Forms of the log."""

    CONSOLE = "console"
    JSON = "json"


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
    label: Annotated[str, typer.Option(help="Name of this run, beside its id, in OUT/runs.")] = "",
    log_format: Annotated[LogForm, typer.Option("--log-format", help="Logs for people, or as a JSON object a line.")] = LogForm.CONSOLE,
    session: Annotated[str | None, typer.Option("--session", help="Wait for the tests of this session: a name or a file.")] = None,
    start_expid: Annotated[
        int | None, typer.Option("--start-expid", min=0, help="With --session: exposures before are of an aborted sequence.")
    ] = None,
    todo: Annotated[
        list[str] | None, typer.Option("--todo", metavar="TEST:SUBTASK=no", help="With --session: switch a sub-task, as in BIAS01:prep=no.")
    ] = None,
    check_only: Annotated[bool, typer.Option("--check-only", help="With --session: of every test only init and check are done.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="With --session: begin a new run, though the last one is not over.")] = False,
    until_done: Annotated[bool, typer.Option("--until-done", help="With --session: end when all tests are over.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Watch a folder, process every exposure that arrives, publish its verdict within seconds. Ends at Ctrl-C or SIGTERM.

    Each run has a folder, OUT/runs/ID-LABEL, with its log, a copy of its configuration and the versions of everything. SIGHUP: the configuration
    is read again; a bad one is refused, and the old one goes on. Exit status 2 where it could not begin, or ended by --idle without
    a folder of raw files that it could look into.
    """
    from quicklook.core.errors import BadConfig
    from quicklook.service.daemon import Daemon
    from quicklook.service.journal.journal import take_lock
    from quicklook.service.running.runfolder import begin_run, check_label
    from quicklook.service.running.runlog import set_up
    from quicklook.service.running.running import Running

    def described(anew: bool = False) -> Site:
        made = site_of(site, sets, badamps, instrument=instrument, raw=raw, calib=calib, out=out, tag=tag)
        made = made.with_session(session, start_expid, todo or (), check_only=check_only, until_done=until_done, fresh=anew, label=label)
        return made.with_sink_param("zmq", "endpoint", endpoint) if endpoint else made

    check_label(label)
    first = described(fresh)
    take_lock(first.out).close()  # a second daemon is refused before it has a folder
    run = begin_run(first.out, label)
    form: LogFormat = "json" if log_format is LogForm.JSON else "console"
    set_up(form, logging.DEBUG if verbose else logging.INFO, run.log_file(form), most=int(1e6 * first.file.disk.log_mb))
    daemon = Daemon(first)
    Running(daemon, described, run, idle_s=idle).go()
    if not daemon.stopping and (why := daemon.blind):
        what_next = "Mount it, make it or give access to it, or name another folder."
        raise BadConfig(f"it ends since nothing arrives, but nothing could be seen: {why}", what_next=what_next)
