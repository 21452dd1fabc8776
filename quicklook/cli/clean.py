"""`quicklook clean`: intermediate products that are no longer needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quicklook.service.rerun.cleaning import Removable


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("clean")(clean)


def clean(
    out: Annotated[Path, typer.Argument(help="Output folder.", file_okay=False)],
    kind: Annotated[list[str], typer.Option("--kind", "-k", help="Kinds of products: preproc,sframe; may be repeated.")],
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Of this tag alone; may be repeated.")] = None,
    older_than: Annotated[float, typer.Option("--older-than", metavar="DAYS", help="Not changed for so many days.", min=0.0)] = 0.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="List, remove nothing.")] = False,
) -> None:
    """List intermediate products (preproc, psf, frame, sky, ...) with their sizes, ask, and remove them.

    Raw files, merged QA, verdicts, plots, calibrated spectra and calibrations are never removed. What is removed is lacking for --only-qa and
    --from-step afterwards.

    Exit status: 0 removed, or nothing to remove, or the answer was no; 2 it could not run, or a file could not be removed.
    """
    from quicklook.cli.past import counted
    from quicklook.core.errors import BadConfig
    from quicklook.service.rerun.cleaning import removable, remove

    kinds = [name.strip() for text in kind for name in text.split(",")]
    found = removable(out, kinds, tag or [], older_than)
    total = sum(r.size for r in found)
    for (of_tag, of_kind), sizes in sorted(_by_kind(found).items()):
        typer.echo(f"  {of_tag}  {of_kind}: {counted(len(sizes), 'file')}, {size_words(sum(sizes))}")
    typer.echo(f"{counted(len(found), 'file')}, {size_words(total)}, below {out}")
    if not found or dry_run:
        return
    if not yes:
        try:
            agreed = typer.confirm("Remove them?", default=False)
        except typer.Abort as error:
            raise BadConfig("nothing was removed: nobody answered", what_next="Give --yes where nobody can be asked.") from error
        if not agreed:
            typer.echo("nothing was removed")
            return
    freed, failed = remove(found)
    typer.echo(f"removed: {size_words(freed)}")
    for sentence in failed:
        typer.echo(sentence, err=True)
    if failed:
        raise typer.Exit(2)


def _by_kind(found: Sequence[Removable]) -> dict[tuple[str, str], list[int]]:
    sizes: dict[tuple[str, str], list[int]] = {}
    for one in found:
        sizes.setdefault((one.tag, one.kind), []).append(one.size)
    return sizes


def size_words(size: int) -> str:
    """Bytes for a person: 512 B, 1.2 MB, 3.4 GB."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
