"""`quicklook bundle`: all that an expert needs of an exposure, in one archive that opens offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import OutOption, SiteOption, TagOption

if TYPE_CHECKING:
    from quicklook.core.keys import Unit
    from quicklook.service.reporting.place import ReportPlace

_SHOWN = 12
"""So many things that were left out are named; the archive names them all."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("bundle")(bundle)


def bundle(
    exposure: Annotated[str, typer.Argument(help="[NIGHT/]EXPID, as in 20220101/102.")],
    camera: Annotated[list[str] | None, typer.Option("--camera", help="Of this camera alone, or of several: b0,r0; may be repeated.")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="The archive (.zip), or a folder for it; default: the present folder.")] = None,
    most_mb: Annotated[float, typer.Option("--most-mb", min=1, max=4000, help="At most so large, 1e6 bytes; it says what was left out.")] = 20.0,
    window: Annotated[float, typer.Option("--window", min=0, max=86400, help="Housekeeping of so many seconds before and after.")] = 900.0,
    site: SiteOption = None,
    out: OutOption = None,
    tag: TagOption = None,
) -> None:
    """Put into one archive: the report as HTML, metrics, raw cut-outs around what was found, plots, housekeeping, configuration without secrets,
    versions, log, and the command to do it again.

    Exit status: 0 it is written, 2 there is no such exposure, or it cannot be written.
    """
    from quicklook.cli.options import place_of
    from quicklook.core.reporting import reporter
    from quicklook.io.history import FileHistory
    from quicklook.service.reporting.bundle import BundleWish, write_bundle
    from quicklook.service.reporting.place import ReportPlace
    from quicklook.service.verdicts.explain import find_unit

    folder, of_site = place_of(site, out)
    place = ReportPlace(folder.absolute(), tag or of_site)
    unit = find_unit(FileHistory(place.out), place.tag, exposure)
    name = f"incident-{unit.night:08d}-{unit.expid:08d}.zip"
    path = Path(name) if to is None else to / name if to.is_dir() or to.suffix != ".zip" else to
    cameras = frozenset(c.strip() for text in camera or () for c in text.split(",") if c.strip())
    _check(place, unit, cameras)
    try:
        left_out = write_bundle(reporter(), place, unit, path, BundleWish(cameras=cameras, most_bytes=int(most_mb * 1e6), window_s=window))
    finally:
        place.close()
    typer.echo(f"{path}  ({path.stat().st_size / 1e6:.2f} MB)")
    for text in left_out[:_SHOWN]:
        typer.echo(f"  left out: {text}")
    if len(left_out) > _SHOWN:
        typer.echo(f"  left out: {len(left_out) - _SHOWN} more; its README.txt names them")


def _check(place: ReportPlace, unit: Unit, cameras: frozenset[str]) -> None:
    """Raises BadConfig for a camera that the exposure has no result of."""
    from quicklook.core.errors import BadConfig
    from quicklook.core.history import Selection
    from quicklook.io.history import FileHistory

    if not cameras:
        return
    there = sorted(r.part for r in FileHistory(place.out).results(Selection(tag=place.tag, units=frozenset({unit}))))
    if unknown := sorted(cameras - {*there}):
        raise BadConfig(f"exposure {unit} has no results of {', '.join(unknown)}; it has: {', '.join(there) or 'none'}")
