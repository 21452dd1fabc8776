"""`quicklook export`: products on one wavelength grid for all fibres, for programs that take no other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("export")(export)


def export(
    files: Annotated[list[Path], typer.Argument(help="Frame (frame-, sframe-, cframe-) and sky files.", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder; files keep their names.", file_okay=False)],
) -> None:
    """Write spectra and sky models on the DESI grid (0.8 Angstrom) with a resolution matrix, as desispec.io and redrock read them."""
    from quicklook.core.errors import BadConfig
    from quicklook.io.commongrid import export_product

    for path in files:
        if path.parent.resolve() == out.resolve():
            raise BadConfig(f"{path} would be overwritten: give another folder with --out")
        typer.echo(str(export_product(path, out)))
