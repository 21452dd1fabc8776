"""`quicklook validate`: check configuration without running anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import BadAmpsOption, CalibOption, InstrumentOption, RawOption, SetOption, SiteOption, site_of

if TYPE_CHECKING:
    from quicklook.core.builder import Builder
    from quicklook.core.chain import Chain
    from quicklook.service.site import Site


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("validate")(validate)


def validate(
    chain: Annotated[str | None, typer.Argument(help="Chain: a name or a file; default: all chains of the site.")] = None,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    raw: RawOption = None,
    calib: CalibOption = None,
    sets: SetOption = None,
    badamps: BadAmpsOption = None,
    session_file: Annotated[str | None, typer.Option("--session", help="Session: a name or a file, in place of that of the site.")] = None,
    expand: Annotated[bool, typer.Option("--expand", help="Write out the chain with every default.")] = False,
) -> None:
    """Check a site: instrument, chains with every branch of conditional parameters, builders, limits, sinks, calibrations, the session.

    Exit status 0 if all of it can be used, else 2 with file, path and line of what cannot.
    """
    import yaml

    from quicklook.service.publishing.sinks import make_sink
    from quicklook.service.sessions.sessionplan import plan_session

    if site is None and instrument is None:
        instrument = "desi"
    described = site_of(site, sets, badamps, instrument=instrument, raw=raw, calib=calib, session={"file": session_file} if session_file else None)
    described.check()
    chains = {"": described.chain(chain)} if chain else described.chains()
    limits, decisions = described.limits(), described.decisions()
    for name, params in described.file.sinks.items():
        make_sink(name, params, described.document)
    _check_folders(described)
    builders = {name: described.builder(name) for name in described.file.build}
    described.build_plans(builders)
    session = plan_session(described).session if described.file.session.file else None
    if expand:
        each = {c.name: c.expand() for c in chains.values()} | {f"builder {b.name}": b.expand() for b in builders.values()}
        typer.echo(yaml.safe_dump_all(each.values(), sort_keys=False, allow_unicode=True), nl=False)
        return
    typer.echo(f"instrument {described.instrument.name}: {len(limits.limits)} limits")
    for line in (*_chain_lines(chains), *_builder_lines(builders)):
        typer.echo(line)
    if session is not None:
        named = ", ".join(f"{t.name} ({t.expected})" for t in session.tests)
        typer.echo(f"session {session.session}: {len(session.tests)} tests (exposures): {named}")
    if decisions is not None:
        typer.echo(f"decisions {decisions.decisions}: {len(decisions.rules)} rules, goals {', '.join(decisions.goals) or 'none'}")
    typer.echo("good")


def _check_folders(described: Site) -> None:
    """Raises BadConfig where one is not there, the index of calibrations cannot be read, or nothing of what is adopted can be written into it."""
    from quicklook.core.errors import BadConfig
    from quicklook.io.calib import INDEX, open_index
    from quicklook.io.calibwrite import check_writable

    for folder, what in ((described.file.raw, "raw"), (described.file.calib, "calib")):
        if folder and not Path(folder).is_dir():
            raise BadConfig(f"{described.document.where((what,))}: there is no folder {folder}")
    if described.file.calib and (Path(described.file.calib) / INDEX).is_file():
        open_index(described.file.calib).entries()
    try:
        check_writable(described.file.adopt.kinds)
    except BadConfig as error:
        raise BadConfig(f"{described.document.where(('adopt', 'kinds'))}: {error}") from error


def _chain_lines(chains: Mapping[str, Chain]) -> Iterator[str]:
    for flavor, chain in chains.items():
        steps = ", ".join(s.name for s in chain.steps)
        n = len(chain.qas) + len(chain.unit_qas)
        yield f"chain {chain.name} for {flavor or 'every other flavor'}: steps {steps}; {n} QAs; config {chain.sha256[:12]}"


def _builder_lines(builders: Mapping[str, Builder]) -> Iterator[str]:
    for builder in builders.values():
        steps = ", ".join(s.name for s in builder.group.steps[1:])
        yield f"builder {builder.name} from {' or '.join(builder.flavors)}: steps {steps}"
