"""`quicklook export`: results in the form of other programs: spectra on one wavelength grid, the merged QA in DESI's structure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from quicklook.cli.options import CamerasOption, InstrumentOption, OutOption, SiteOption, TagOption

_DEFAULT = "spectra"


class _WithDefault(TyperGroup):
    """`export FILES --out FOLDER` is `export spectra FILES --out FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


group = typer.Typer(cls=_WithDefault, help="Export spectra (the default) or the merged QA.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group to the app."""
    app.add_typer(group, name="export")


@group.command(_DEFAULT)
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


@group.command("qa")
def export_qa(
    exposure: Annotated[str, typer.Argument(help="[NIGHT/]EXPID, as in 20220101/102.")],
    camera: CamerasOption = None,
    to: Annotated[Path | None, typer.Option(help="Folder for a file of each camera; default: print them.", file_okay=False)] = None,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    out: OutOption = None,
    tag: TagOption = None,
) -> None:
    """Export the merged QA in the structure of DESI's quick-look: NIGHT, EXPID, CAMERA, FLAVOR, GENERAL_INFO, TASKS.

    With --to a file for each camera (ql-mergedQA-r0-00000102.json), else JSON on the terminal: an object, or a list of several.
    UNKNOWN stays UNKNOWN; what does not apply is left out and named in GENERAL_INFO. Exit status: 0, 2 where there is no such result, or one
    of those that are wanted cannot be read.
    """
    import json

    from quicklook.cli.past import described
    from quicklook.core.errors import BadConfig, BadData
    from quicklook.core.history import Selection
    from quicklook.io.atomic import write_json
    from quicklook.io.desiqa import desi_name, to_desi
    from quicklook.io.history import FileHistory
    from quicklook.service.verdicts.explain import find_unit

    place = described(site, instrument, out, tag)
    history = FileHistory(place.out)
    unit = find_unit(history, place.file.tag, exposure)
    results = {r.part: r for r in history.results(Selection(tag=place.file.tag, units=frozenset({unit})))}
    wanted = camera or list(results)
    # a camera whose result is damaged must not be missed in silence
    damaged = [why for why in history.skipped if not camera or any(f"/qa-{c}-" in why for c in wanted)]
    if damaged:
        raise BadData("; ".join(damaged), what_next="Process the exposure again, or name the other cameras with --camera.")
    absent = [c for c in wanted if c not in results]
    if absent or not wanted:
        raise BadConfig(f"exposure {unit} has no results of {', '.join(absent) or 'any camera'}; it has: {', '.join(results) or 'none'}")
    if to is None:
        made = [to_desi(results[name]) for name in wanted]
        typer.echo(json.dumps(made if len(made) > 1 else made[0], allow_nan=False, ensure_ascii=False, indent=1))
        return
    for name in wanted:
        write_json(to / desi_name(results[name]), to_desi(results[name]))
        typer.echo(str(to / desi_name(results[name])))
