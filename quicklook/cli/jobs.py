"""`quicklook jobs`: what waits, runs, has failed and why; and failed work done again, or left for good."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import OutOption, SiteOption, TagOption, words_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quicklook.core.keys import Unit
    from quicklook.service.journal.jobview import JobView
    from quicklook.service.journal.journal import Journal


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("jobs")(jobs)


def jobs(
    exposure: Annotated[str, typer.Argument(help="NIGHT/EXPID: of this exposure alone, with earlier revisions.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Those that have failed, each with its reason.")] = False,
    state: Annotated[list[str] | None, typer.Option("--state", help="Those in this state; may be repeated.")] = None,
    requeue: Annotated[bool, typer.Option("--requeue", help="Do again what has failed (of the exposure; without: all): a new revision.")] = False,
    ignore: Annotated[bool, typer.Option("--ignore", help="What has failed or waits of it is not to be done; say why with --reason.")] = False,
    camera: Annotated[
        list[str] | None, typer.Option("--camera", help="With --ignore: these cameras alone: b0,r0; may be repeated.", callback=words_of)
    ] = None,
    reason: Annotated[str, typer.Option(help="With --ignore: why.")] = "",
    by: Annotated[str | None, typer.Option(help="Who does it; default: your user name.")] = None,
    site: SiteOption = None,
    out: OutOption = None,
    tag: TagOption = None,
    limit: Annotated[int, typer.Option(help="So many at most, the newest exposures first.", min=1)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    store: Annotated[str | None, typer.Option(help="The store of a script in place of a daemon: a file, or the URL of a database.")] = None,
    jobclass: Annotated[list[str] | None, typer.Option("--class", help="With --store: jobs of this class; may be repeated.")] = None,
    where: Annotated[list[str] | None, typer.Option(metavar="TAG=VALUE", help="With --store: jobs with this tag; may be repeated.")] = None,
    number: Annotated[list[int] | None, typer.Option("--id", help="With --store: this job; may be repeated.")] = None,
    new_state: Annotated[str | None, typer.Option("--set", metavar="STATE", help="With --store: give them this state.")] = None,
) -> None:
    """Show the jobs of a daemon, one for each camera of each exposure; have failed ones done again.

    It works on the journal in the output folder, whether the daemon runs or not: one that runs goes on with it within a second.
    """
    from quicklook.core.errors import BadConfig
    from quicklook.core.keys import Unit
    from quicklook.service.journal import jobview

    wanted = {"failed", *(state or ())} if failed else set(state or ())
    _check_options(store, exposure, jobclass, where, number, new_state, camera, requeue=requeue, ignore=ignore)
    if store is not None:
        from quicklook.cli.storejobs import handle

        handle(store, jobclass or (), wanted, where or (), number or (), new_state, limit, as_json=as_json)
        return
    if strange := wanted - set(jobview.STATES):
        raise BadConfig(f"there is no state {', '.join(sorted(strange))}; there are: {', '.join(jobview.STATES)}")
    try:
        unit = Unit.parse(exposure) if exposure else None
    except ValueError as error:
        raise BadConfig(str(error)) from error
    folder, own_tag, unit_s = _place(site, out)
    journal = _journal(folder, to_read=not (requeue or ignore))
    try:
        if requeue:
            _requeue(journal, folder, tag or own_tag, unit, unit_s, by)
        elif ignore:
            _ignore(journal, folder, tag or own_tag, unit, camera or [], by, reason, unit_s)
        else:
            with journal.reading() as connection:
                found = jobview.list_jobs(connection, tag=tag, states=wanted, unit=unit, limit=limit)
                counts = jobview.counts(connection, tag)
            typer.echo(jobview.as_json(found)) if as_json else _show(found, counts)
    finally:
        journal.close()


def _check_options(
    store: str | None, exposure: str, jobclass: object, where: object, number: object, new_state: object, camera: object, *,
    requeue: bool, ignore: bool,
) -> None:  # fmt: skip
    """Options that say nothing together are refused: one that is silently left out would have done what nobody wanted."""
    from quicklook.core.errors import BadConfig

    of_store = {"--class": jobclass, "--where": where, "--id": number, "--set": new_state}
    of_daemon = {"--requeue": requeue, "--ignore": ignore, "--camera": camera, exposure: exposure}
    if strange := [name for name, given in (of_daemon if store is not None else of_store).items() if given]:
        other = "is for the jobs of a daemon, not for --store" if store is not None else "goes with --store"
        raise BadConfig(f"{', '.join(strange)}: this {other}", what_next="Leave it out; `quicklook jobs --help` says what goes with what.")
    if requeue and ignore:
        raise BadConfig("--requeue and --ignore: one or the other", what_next="Say whether it is to be done again or not.")
    if camera and not ignore:
        raise BadConfig("--camera goes with --ignore", what_next="`quicklook ctl rerun NIGHT/EXPID CAMERA` processes one camera again.")


def _place(site: Path | None, out: Path | None) -> tuple[Path, str, float]:
    """Output folder, tag, and how long an exposure may take, s."""
    from quicklook.service.settings import WatchSettings
    from quicklook.service.site import load_site

    if site is None:
        return out or Path("quicklook-out"), "live", WatchSettings().unit_s
    described = load_site(site, options={"out": str(out)} if out else {})
    return described.out, described.file.tag, described.file.watch.unit_s


def _journal(folder: Path, *, to_read: bool) -> Journal:
    from quicklook.core.errors import BadConfig
    from quicklook.service.journal.journal import Journal, journal_path

    path = journal_path(folder)
    if not path.is_file():
        raise BadConfig(f"{folder} has no journal: no daemon has ever worked in it; give --site or --out of one that has")
    return Journal(path, time.time_ns, to_read=to_read)


def _requeue(journal: Journal, folder: Path, tag: str, unit: Unit | None, unit_s: float, by: str | None) -> None:
    from quicklook.service.journal import jobview
    from quicklook.service.journal.journal import daemon_lives
    from quicklook.service.publishing.commands import who
    from quicklook.service.rerun.rerunning import requeue_failed

    done = requeue_failed(journal, folder, tag, unit, unit_s=unit_s)
    jobview.note(journal, tag, "requeue", {"unit": str(unit)} if unit else {}, by or who(), done.said)
    typer.echo("\n".join(done.jobs))
    typer.echo(done.said if daemon_lives(folder) else f"{done.said}, as soon as the daemon runs")


def _ignore(
    journal: Journal, folder: Path, tag: str, unit: Unit | None, cameras: list[str], by: str | None, reason: str, unit_s: float
) -> None:
    from quicklook.core.errors import BadConfig
    from quicklook.service.journal import jobview
    from quicklook.service.publishing.commands import who

    if unit is None or not reason:
        raise BadConfig("name the exposure (NIGHT/EXPID) whose work is to be left, and say why with --reason")
    person = by or who()
    parts = jobview.ignore(journal, folder, tag, unit, cameras, person, reason, unit_s=unit_s)
    said = f"{unit}: {', '.join(parts)} ignored"
    jobview.note(journal, tag, "ignore", {"unit": str(unit), "reason": reason}, person, said)
    typer.echo(said)


def _show(found: Sequence[JobView], counts: dict[str, int]) -> None:
    from quicklook.cli.options import wide_console

    console = wide_console()
    if found:
        console.print(_table(found))
    for job in found:
        if job.failure is not None and job.state != "done":
            console.print(f"{_name(job)}: {job.failure.message}\n  {job.failure.what_next}", markup=False, highlight=False)
    of_all = ", ".join(f"{n} {state}" for state, n in counts.items()) or "no jobs"
    console.print(f"{len(found)} shown; in the journal: {of_all}", markup=False, highlight=False)


def _name(job: JobView) -> str:
    return f"{job.builder} of {job.part}" if job.builder else f"{job.unit} {job.part}"


def _table(found: Sequence[JobView]) -> RenderableType:
    from rich.table import Column, Table

    from quicklook.cli.view import status_text

    table = Table(Column("exposure", no_wrap=True), Column("camera", no_wrap=True), "rev", "tag", "flavor", "state", "tries", "visits", "verdict")
    for job in found:
        verdict = status_text(job.status) if job.status else "not yet"
        what = f"build {job.builder}" if job.builder else job.flavor
        table.add_row(job.unit, job.part, str(job.revision), job.tag, what, _state(job), str(job.attempts), str(job.visits), verdict)
    return table


def _state(job: JobView) -> str:
    if job.wait_s is not None:
        return f"{job.state}, again in {job.wait_s:.0f} s"
    if job.lease_s is not None and job.owner:
        return f"{job.state}, {job.owner}" if job.lease_s > 0 else f"{job.state}, but {job.owner} has died"
    return job.state
