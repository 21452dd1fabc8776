"""`quicklook override`: change a verdict, by name and reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import InstrumentOption, OutOption, SiteOption, TagOption, site_of

if TYPE_CHECKING:
    from quicklook.core.keys import Unit
    from quicklook.core.results import Override
    from quicklook.service.site import Site


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("override")(override)


def override(
    exposure: Annotated[str, typer.Argument(help="[NIGHT/]EXPID, as in 20220101/102, or 102 where one night alone has it.")],
    camera: Annotated[str | None, typer.Argument(help="Camera; without one the verdict of the exposure as a whole.")] = None,
    status: Annotated[str, typer.Option(help="What the verdict shall be: NORMAL, WARNING, ALARM or UNKNOWN.")] = "",
    by: Annotated[str, typer.Option(help="Who changes it.")] = "",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    out: OutOption = None,
    tag: TagOption = None,
) -> None:
    """Change the verdict of a camera or an exposure: a new revision with who and why in it; the earlier one is kept beside it.

    Nothing is measured again; sums and the decision are made again. A daemon that has the exposure tells of it like of any other verdict.
    Exit status: that of the exposure's new verdict (0 NORMAL or WARNING, 1 ALARM, 3 UNKNOWN), 2 if nothing was changed.
    """
    from rich.console import Console
    from rich.text import Text

    from quicklook.cli.card import show_card
    from quicklook.cli.view import reasons_block, status_text
    from quicklook.core.status import exit_status
    from quicklook.service.journal.journal import journal_path
    from quicklook.service.verdicts.overriding import Place
    from quicklook.service.verdicts.overriding import override as overrule

    change = _change(camera or "", status, by, reason)
    described = site_of(site, instrument=instrument, out=out, tag=tag)
    unit = _unit(exposure, described)
    place = Place(out=described.out, tag=described.file.tag, unit=unit, journal=journal_path(described.out))
    done = overrule(place, change, described.decisions(), described.instrument.cameras.expected)
    console = Console()
    for name, verdict in (("was", done.before), ("is", done.after)):
        head = Text(f"{unit} {name} (revision {verdict.revision}): ")
        console.print(head.append_text(status_text(verdict.status)), soft_wrap=True)
        if verdict.reasons:
            console.print(Text(reasons_block(verdict.reasons)), soft_wrap=True)
    if done.card is not None:
        show_card(console, done.card)
    where = "files and journal" if done.in_journal else "files alone: no daemon has this exposure in its journal, so nobody is told"
    console.print(Text(f"  changed in {where}", style="dim"), soft_wrap=True)
    raise typer.Exit(exit_status([(done.after.status, False)]))


def _unit(text: str, site: Site) -> Unit:
    """The exposure that is meant; a number alone is looked for among the results."""
    from quicklook.core.errors import BadConfig
    from quicklook.core.keys import Unit
    from quicklook.io.history import FileHistory
    from quicklook.service.verdicts.explain import find_unit

    if text.isdecimal():
        return find_unit(FileHistory(site.out), site.file.tag, text)
    try:
        return Unit.parse(text)
    except ValueError as error:
        raise BadConfig(str(error)) from error


def _change(camera: str, status: str, by: str, reason: str) -> Override:
    """The change without what it was before. Raises BadConfig for a status that is none, and without a name or a reason."""
    import time

    from quicklook.core.errors import BadConfig
    from quicklook.core.results import Override
    from quicklook.core.status import Status

    if status.upper() not in Status.__members__:
        raise BadConfig(f"--status {status or 'is missing'}: write one of {', '.join(Status)}", what_next="Say what the verdict shall be.")
    if not by.strip() or not reason.strip():
        raise BadConfig("an override says who and why: give --by NAME and --reason TEXT", what_next="Say both.")
    new = Status(status.upper())
    return Override(part=camera, was=new, status=new, by=by.strip(), reason=" ".join(reason.split()), time=time.time_ns())
