"""`quicklook instrument new`: the description of an instrument proposed from example frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import one_of

if TYPE_CHECKING:
    from rich.console import Console

    from quicklook.io.propose import Proposal

group = typer.Typer(help="Descriptions of instruments.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group to the app."""
    app.add_typer(group, name="instrument")


@group.callback()
def _group() -> None:
    """Descriptions of instruments."""


@group.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the instrument.")],
    files: Annotated[list[Path], typer.Argument(help="Raw frames of all kinds: zeros, flats, arcs, science.")],
    out: Annotated[Path | None, typer.Option(help="File to write; default: NAME.yaml here.", dir_okay=False)] = None,
    longitude: Annotated[float | None, typer.Option(help="Longitude of the telescope, degree, east positive.", min=-180, max=360)] = None,
    camera: Annotated[list[str] | None, typer.Option(help="Name of the camera, where the header has none.")] = None,
    dispersion: Annotated[float | None, typer.Option(help="Angstrom per pixel, roughly.", min=0.001)] = None,
    centre: Annotated[float | None, typer.Option(help="Vacuum wavelength at the middle of the detector, Angstrom, roughly.", min=100)] = None,
    lamps: Annotated[str, typer.Option(help="Elements in the arc lamps, separated by commas, as in Hg,Cd,Ne.")] = "",
    apertures: Annotated[int | None, typer.Option(help="Apertures of a long slit; default: of five pixels each.", min=1)] = None,
    flip: Annotated[bool | None, typer.Option("--flip/--no-flip", help="Wavelength falls (rises) with the pixel; default: by the lamp.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Look at example frames, propose the YAML file of their instrument, and say what is not certain.

    Exit status: 0 written, 2 it could not be made.
    """
    from rich.console import Console

    from quicklook.core.errors import BadConfig
    from quicklook.io.atomic import atomic
    from quicklook.io.propose import Hints, propose

    path = out or Path(f"{name}.yaml")
    if path.exists() and not force:
        raise BadConfig(f"{path} is there; give another --out, or --force to replace it")
    elements = tuple(e.strip() for e in lamps.split(",") if e.strip())
    only = one_of(camera, "--camera")
    hints = Hints(longitude=longitude, camera=only, dispersion=dispersion, centre=centre, lamps=elements, apertures=apertures, flip=flip)
    proposal = propose(name, files, hints)
    with atomic(path) as file:
        file.write(proposal.text.encode())
    console = Console()
    show(console, proposal)
    console.print(f"written: {path}; use it with --instrument {path}", markup=False, highlight=False, soft_wrap=True)


def show(console: Console, proposal: Proposal) -> None:
    """The examples as the description reads them, what was measured, and what is not certain."""
    from rich.table import Table

    table = Table("file", "night", "exposure", "camera", "flavor", box=None)
    for row in proposal.rows:
        table.add_row(*(text.encode(errors="backslashreplace").decode() for text in (row.file, row.night, row.expid, row.camera, row.flavor)))
    console.print(table)
    for title, lines in (("measured", proposal.findings), ("left out", proposal.left_out), ("unsure", proposal.unsure)):
        for line in lines:
            console.print(f"{title}: {line}".encode(errors="backslashreplace").decode(), markup=False, highlight=False, soft_wrap=True)
