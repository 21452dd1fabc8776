"""`quicklook ledger`: the books of a night, held against the files."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import InstrumentOption, OutOption, RawOption, SiteOption, TagOption

if TYPE_CHECKING:
    from rich.console import Console

    from quicklook.service.arrival.patience import Look
    from quicklook.service.journal.ledger import Ledger, LedgerLine
    from quicklook.service.site import Site

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("ledger")(ledger)


def ledger(
    night: Annotated[int | None, typer.Option("--night", help="YYYYMMDD; default: the last night that the journal has.")] = None,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    raw: RawOption = None,
    out: OutOption = None,
    tag: TagOption = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare the checksums of all that was written, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Reconcile a night: exposures and cameras expected, seen and processed, against the raw files and the results on disk.

    It names raw files that were never seen or were refused, exposures without a verdict, cameras that never came or have failed, results that are
    missing. Exit status: 0 where nothing of the kind is found, else 1; 3 where there was nothing to reconcile, or the journal has forgotten what was
    written (see `retention`), so that nothing can be said; 2 where a file system hangs, which is named.
    """
    from quicklook.cli.options import site_of
    from quicklook.service.arrival.patience import Patience

    described, patience = site_of(site, instrument=instrument, raw=raw, out=out, tag=tag), Patience()
    made = patience.run(partial(_made, described, night, verify, patience.look), described.out)
    typer.echo(made.model_dump_json(indent=1)) if as_json else _show(made)
    if not (made.reconciled and made.compared):
        raise typer.Exit(3 if made.reconciled else 1)


def _made(described: Site, night: int | None, verify: bool, look: Look) -> Ledger:
    from quicklook.core.errors import BadConfig
    from quicklook.io.reader import open_reader
    from quicklook.service.journal.journal import Journal, journal_path
    from quicklook.service.journal.ledger import latest_night, ledger_of

    path = journal_path(described.out)
    if not path.is_file():
        raise BadConfig(f"{described.out} has no journal: no daemon has ever worked in it; give --site or --out of one that has")
    look(described.raw)
    if not described.raw.is_dir():
        raise BadConfig(f"there is no folder {described.raw} of raw files; mount it, or name another one with --raw")
    look(path)
    journal = Journal(path, time.time_ns, to_read=True)
    try:
        chosen = latest_night(journal, described.file.tag) if night is None else night
        reader, filed = open_reader(described.instrument), "files" in described.file.sinks
        return ledger_of(journal, described.out, described.raw, reader, chosen, described.file.tag, verify=verify, filed=filed, look=look)
    finally:
        journal.close()


def _show(made: Ledger) -> None:
    from quicklook.cli.options import wide_console

    console = wide_console()
    if made.exposures:
        _table(console, made.exposures)
    for line in made.exposures:
        for problem in line.problems:
            console.print(f"{line.unit}: {problem}", markup=False, highlight=False, soft_wrap=True)
    for path, problem in list(made.stray.items())[:_SHOWN]:
        console.print(f"{path}: {problem}", markup=False, highlight=False, soft_wrap=True)
    if len(made.stray) > _SHOWN:
        console.print(f"... and {len(made.stray) - _SHOWN} files more; --json has all", markup=False, highlight=False)
    console.print(_sums(made), markup=False, highlight=False, soft_wrap=True)


def _table(console: Console, lines: list[LedgerLine]) -> None:
    from rich.table import Column, Table

    from quicklook.cli.view import status_text

    table = Table(Column("exposure", no_wrap=True), "rev", "flavor", "verdict", "expected", "seen", "processed", "products", "problems")
    for line in lines:
        verdict = status_text(line.status) if line.status else "none"
        counts = (len(line.expected), len(line.seen), len(line.processed), line.products, len(line.problems))
        table.add_row(line.unit, str(line.revision), line.flavor, verdict, *map(str, counts))
    console.print(table)


def _sums(made: Ledger) -> str:
    t = made.totals
    lines = [
        f"Night {made.night:08d}, tag {made.tag}: {t['exposures']} exposures, {t['with_verdict']} with a verdict; {t['raw_files']} raw files.",
        f"Cameras: {t['cameras_expected']} expected, {t['cameras_seen']} seen, {t['cameras_processed']} processed, {t['cameras_failed']} failed,"
        f" {t['cameras_ignored']} ignored, {t['cameras_waiting']} waiting. Files written for them: {t['products']}.",
    ]
    if t["products_removed"]:
        lines.append(f"{t['products_removed']} intermediate products are gone; they can be made again.")
    if made.gone:
        lines.append(f"The raw files of {made.gone} exposures are not there any more: moved to an archive, perhaps, or not mounted.")
    if made.missing_numbers:
        lines.append(f"Exposure numbers between the first and the last without an exposure: {_ranges(made.missing_numbers)}.")
    lines.append(_conclusion(made))
    return "\n".join(lines)


def _conclusion(made: Ledger) -> str:
    if not made.reconciled:
        return f"NOT RECONCILED: {made.totals['problems']} problems."
    if made.compared:
        return "Reconciled."
    if n := made.totals["cameras_unknown"]:
        forgotten = f"the journal has forgotten what was written for {n} cameras (see `retention`)"
        return f"NOT RECONCILED as far as files go: {forgotten}; all else is in order."
    return "NOTHING TO RECONCILE: neither an exposure nor a raw file of this night is known. Is it the right night, tag and folder?"


def _ranges(numbers: list[int]) -> str:
    """As in 3-5, 9."""
    spans: list[list[int]] = []
    for n in numbers:
        if spans and n == spans[-1][1] + 1:
            spans[-1][1] = n
        else:
            spans.append([n, n])
    words = [str(a) if a == b else f"{a}-{b}" for a, b in spans]
    return ", ".join(words[:_SHOWN]) + (", ..." if len(words) > _SHOWN else "")
