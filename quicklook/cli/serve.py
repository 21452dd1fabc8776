"""`quicklook serve`: the live page, without the daemon or beside it."""

from __future__ import annotations

from typing import Annotated

import typer

from quicklook.cli.options import CalibOption, InstrumentOption, OutOption, RawOption, SiteOption, TagOption


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("serve")(serve)


def serve(
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    raw: RawOption = None,
    calib: CalibOption = None,
    out: OutOption = None,
    tag: TagOption = None,
    host: Annotated[str | None, typer.Option(help="Address; off this machine reading needs the token, too. Default: as the site says.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0: any that is free. Default: as the site says.", min=0, max=65535)] = None,
    openapi: Annotated[bool, typer.Option("--openapi", help="Print the description of the JSON API, and end.")] = False,
) -> None:
    """Serve the live page of an output folder, whether a daemon works there or not. Ends at Ctrl-C or SIGTERM.

    A daemon serves it by itself, on this machine alone. Reading is open there; actions, and any other address, need the token of the daemon.
    """
    import json
    import logging

    from quicklook.core.hosting import web_server

    if openapi:
        typer.echo(json.dumps(web_server().openapi(), indent=1))
        return
    from dataclasses import replace

    from quicklook.cli.options import site_of
    from quicklook.service.hosting.host import JournalHost
    from quicklook.service.hosting.page import serving_of
    from quicklook.service.running.runlog import set_up

    described = site_of(site, instrument=instrument, raw=raw, calib=calib, out=out, tag=tag)
    set_up("console", logging.INFO)
    shown = JournalHost(described)
    serving = replace(serving_of(described, host, port), started=lambda address: typer.echo(f"The page is at {address}"))
    try:
        web_server().serve(shown, serving)
    finally:
        shown.close()
