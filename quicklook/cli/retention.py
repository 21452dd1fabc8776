"""`quicklook retention`: remove old events from a journal, by hand."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from quicklook.cli.options import OutOption, SiteOption


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("retention")(retention)


def retention(
    site: SiteOption = None,
    out: OutOption = None,
    details_days: Annotated[float | None, typer.Option(help="What steps, QAs, plots and files said; 0: for ever.", min=0)] = None,
    facts_days: Annotated[float | None, typer.Option(help="Verdicts, decisions, receipts, commands, failures; 0: for ever.", min=0)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and remove nothing.")] = False,
    compact: Annotated[bool, typer.Option("--compact", help="Give the room back to the disk, too; no daemon may run.")] = False,
) -> None:
    """Remove events that are older than the site keeps them (`retention`). A daemon does this by itself, once a day.

    Results on disk, jobs, exposures and known raw files stay.
    """
    from pathlib import Path

    from quicklook.core.errors import BadConfig
    from quicklook.service.journal import retention as keeping
    from quicklook.service.journal.journal import Journal, daemon_lives, journal_path
    from quicklook.service.settings import RetentionSettings
    from quicklook.service.site import load_site

    settings, folder = RetentionSettings(), out or Path("quicklook-out")
    if site is not None:
        described = load_site(site, options={"out": str(out)} if out else {})
        settings, folder = described.file.retention, described.out
    given = {k: v for k, v in (("details_days", details_days), ("facts_days", facts_days)) if v is not None}
    settings = settings.model_copy(update=given)
    path = journal_path(folder)
    if not path.is_file():
        raise BadConfig(f"{folder} has no journal: no daemon has ever worked in it; give --site or --out of one that has")
    if compact and daemon_lives(folder):
        raise BadConfig(f"a daemon works in {folder}; stop it to make the journal smaller, or leave out --compact: it uses the room again")
    journal = Journal(path, time.time_ns, to_read=dry_run)
    try:
        counted = keeping.count_all(journal, settings) if dry_run else keeping.remove_all(journal, settings)
        if compact and not dry_run:
            journal.compact()
    finally:
        journal.close()
    word = "would be removed" if dry_run else "removed"
    typer.echo(f"{path}: {counted['details']} details and {counted['facts']} facts {word}; {path.stat().st_size / 1e6:.1f} MB")
