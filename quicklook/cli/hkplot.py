"""`quicklook hk plot`: channels over time, with limits as bands, gaps, and where limits were passed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quicklook.cli.options import SiteOption


def plot(
    channels: Annotated[list[str], typer.Argument(help="Channels, or patterns such as 'CCD*'.")],
    config: Annotated[str, typer.Option("--config", help="Configuration of housekeeping; default: that of the site.")] = "",
    site: SiteOption = None,
    path: Annotated[Path | None, typer.Option("--path", help="A store of samples, a log, or a folder of logs; default: the site's store.")] = None,
    since: Annotated[str, typer.Option("--since", help="From this time, UTC, as 2020-02-19T03:00; default: all.")] = "",
    until: Annotated[str, typer.Option("--until", help="Up to this time, UTC.")] = "",
    out: Annotated[Path, typer.Option("--out", help="File to write: .png or .pdf.", dir_okay=False)] = Path("housekeeping.png"),
    source: Annotated[str, typer.Option("--source", help="Source of the configuration that reads the log.")] = "",
) -> None:
    """Draw channels over time: their limits as bands, gaps in the data, values that are none, where limits were passed.

    Exit status: 0, 3 if no channel has samples there, 2 it could not run.
    """
    from quicklook.api import hk_config, housekeeping
    from quicklook.cli.hk import parsed_span
    from quicklook.core.errors import BadConfig
    from quicklook.io.atomic import atomic
    from quicklook.service.site import load_site

    described = load_site(site) if site is not None else None
    name = config or (described.file.housekeeping.config if described is not None else "")
    place = path or (Path(described.file.housekeeping.store or described.out / "hk.sqlite") if described is not None else None)
    if not name or place is None:
        raise BadConfig("what is to be drawn? give --site, or --config NAME and --path STORE|LOG|FOLDER")
    if out.suffix not in (".png", ".pdf"):
        raise BadConfig(f"--out {out}: write a name that ends in .png or .pdf")
    start, stop = parsed_span(since, until)
    drawn = housekeeping().picture(hk_config(name), place, channels, start=start, stop=stop, source=source, form=out.suffix[1:])
    if drawn is None:
        typer.echo("no channel of that name has samples there")
        raise typer.Exit(3)
    with atomic(out) as file:
        file.write(drawn)
    typer.echo(str(out))
