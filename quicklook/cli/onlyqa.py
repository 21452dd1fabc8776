"""`quicklook run --only-qa NAME`: QAs alone, on stored products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from quicklook.api import Session
    from quicklook.core.keys import Unit
    from quicklook.core.results import MetricResult, PartResult
    from quicklook.service.rerun.onlyqa import Remeasured


def run_only(
    console: Console, session: Session, names: Sequence[str], paths: Sequence[Path], camera: Sequence[str] | None, chain: str, *, dry: bool
) -> int:
    """Measure again what the names say, in every camera that is wanted of the files, show what changes, write it; the exit status."""
    from rich.text import Text

    from quicklook.cli.card import show_card
    from quicklook.cli.run import cameras_of, note_in_store
    from quicklook.cli.view import status_text
    from quicklook.core.status import exit_status
    from quicklook.service.rerun.onlyqa import select

    done: dict[Unit, list[Remeasured]] = {}
    judged = []
    for path in paths:
        peek = session.peek(path)
        of_steps, _ = select(session.chain(chain or session.site.chain_name(peek.flavor)), names)
        of_unit = done.setdefault(peek.unit, [])
        for name in cameras_of(peek, camera, path) if of_steps else ():
            of_unit.append(session.measure_stored(names, path, name, chain=chain))
            _show(console, of_unit[-1])
    for unit, parts in done.items():
        whole = session.conclude_stored(unit, parts, names, chain=chain, write=not dry)
        head = Text(f"{unit} (revision {whole.after.revision}): ").append_text(status_text(whole.before.status if whole.before else None))
        console.print(head.append(" -> ").append_text(status_text(whole.after.status)), soft_wrap=True)
        if whole.card is not None:
            show_card(console, whole.card)
        judged += [(p.after.status, False) for p in parts] or [(whole.after.status, False)]
    if not dry:
        note_in_store(console, session, done)
    said = "  nothing was written (--dry)" if dry else "  written to files; a daemon that has the exposure is not told"
    console.print(Text(said, style="dim"), soft_wrap=True)
    return exit_status(judged)


def _show(console: Console, done: Remeasured) -> None:
    """The metrics of these QAs, before and after, and the verdict."""
    from rich.table import Table
    from rich.text import Text

    from quicklook.cli.view import reasons_block, status_text

    after = done.after
    table = Table(title=Text(f"{after.night:08d}/{after.expid:08d}  camera {after.part}"), title_justify="left", title_style="bold", pad_edge=False)
    for title in ("QA", "metric", "stored", "now", "status"):
        table.add_column(title)
    for row in _rows(done):
        table.add_row(*row)
    console.print(table)
    head = Text("  verdict: ").append_text(status_text(done.before.status)).append(" -> ").append_text(status_text(after.status))
    console.print(head)
    if after.reasons:
        console.print(Text(reasons_block(after.reasons)), soft_wrap=True)
    for note in done.notes:
        console.print(Text(f"  note: {note}", style="yellow"), soft_wrap=True)


def _rows(done: Remeasured) -> Iterator[tuple[Text, ...]]:
    from rich.text import Text

    from quicklook.cli.view import status_text, values_text

    old, new = _metrics(done.before), _metrics(done.after)
    for qa in (q for q in done.after.qas if q.name in done.names):
        if qa.not_applicable or qa.failure is not None:
            why = f"does not apply: {qa.not_applicable}" if qa.not_applicable else qa.failure.message if qa.failure else ""
            yield Text(qa.name), Text(""), Text(""), Text(why), status_text(qa.status)
        for metric in (m for m in qa.metrics if qa.failure is None):
            before = old.get((qa.name, metric.name))
            was = values_text(before) if before is not None else "-"
            now = values_text(new[qa.name, metric.name])
            status = status_text(metric.status)
            if before is None or before.status is not metric.status:
                status = status_text(before.status if before else None).append(" -> ").append_text(status)
            yield Text(qa.name), Text(metric.name), Text(was), Text("the same" if now == was else now), status


def _metrics(result: PartResult) -> dict[tuple[str, str], MetricResult]:
    return {(q.name, m.name): m for q in result.qas for m in q.metrics}
