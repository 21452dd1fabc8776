"""`quicklook list`: what is installed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class What(StrEnum):
    """What can be listed."""

    plugins = "plugins"
    algorithms = "algorithms"
    qas = "qas"
    readers = "readers"
    sinks = "sinks"
    instruments = "instruments"
    chains = "chains"
    builders = "builders"
    limits = "limits"
    plots = "plots"
    metrics = "metrics"
    faults = "faults"
    sessions = "sessions"
    analyses = "analyses"
    flags = "flags"
    hk_sources = "hk-sources"
    hk = "hk"


_KINDS = {
    "algorithms": ("algorithm",),
    "qas": ("qa",),
    "readers": ("reader",),
    "sinks": ("sink",),
    "hk-sources": ("hk_source",),
    "plugins": ("algorithm", "qa", "reader", "sink", "hk_source"),
}


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("list")(show)


def show(
    what: Annotated[What, typer.Argument(help="What to list.")] = What.plugins,
    long: Annotated[bool, typer.Option("--long", "-l", help="With descriptions; of plugins with parameters and defaults too (loads them).")] = False,
) -> None:
    """List plugins, instruments, chains, builders of calibrations, limits, metrics, sessions, their analyses and flags, or the simulator's faults."""
    if what.value in _KINDS:
        _plugins(_KINDS[what.value], long)
    elif what is What.metrics:
        _metrics()
    elif what is What.limits:
        _limits()
    elif what is What.flags:
        _flags()
    elif what is What.faults:
        from quicklook.sim.faults import FAULTS

        for name, fault in FAULTS.items():
            typer.echo(f"{name:20s} {fault.description}")
    else:
        from quicklook.io.configfiles import list_configs

        for name in list_configs(what.value):
            typer.echo(f"{name:20s} {_doc(what.value, name)}".rstrip() if long else name)


def _doc(kind: str, name: str) -> str:
    """What a configuration says that it is for; of a session its tests too."""
    from quicklook.io.configfiles import find_config

    found = find_config(kind, name)
    tests = found.get(("tests",), ()) if kind == "sessions" else ()
    of = ", ".join(str(t.get("name", "")) for t in tests if isinstance(t, dict)) if isinstance(tests, list) else ""
    doc = found.get(("doc",), "")
    return " ".join(str(doc if isinstance(doc, str) else "").split()) + (f" Tests: {of}" if of else "")


def _plugins(kinds: tuple[str, ...], long: bool) -> None:
    from quicklook.core.registry import registered

    for kind in kinds:
        for ref in registered(kind).values():
            typer.echo(f"{kind:10s} {ref.name:20s} {ref.target:44s} {ref.distribution} {ref.version}")
            if long:
                _parameters(ref.load())


def _parameters(plugin: object) -> None:
    doc = (getattr(plugin, "__doc__", "") or "").strip().splitlines()
    typer.echo(f"           {doc[0] if doc else ''}")
    get = getattr(plugin, "get_default_config", None)
    for name, default, description in get() if get else []:
        typer.echo(f"             {name} = {default}    {description}")


def _metrics() -> None:
    from quicklook.service.site import declared_metrics

    for metric in declared_metrics().values():
        over = f" over {', '.join(metric.dims)}" if metric.dims else ""
        typer.echo(f"{metric.name:22s} {'[' + metric.unit + ']' if metric.unit else '':14s}{metric.doc}{over}")


def _flags() -> None:
    """Every flag of every file of flags that is installed, with what it says, under the name of its file."""
    from quicklook.core.flags import load_flags
    from quicklook.io.configfiles import find_config, list_configs
    from quicklook.service.sessions.sessionplan import series_names
    from quicklook.service.site import declared_metrics

    metrics = declared_metrics()
    for name in list_configs("flags"):
        typer.echo(name)
        for flag in load_flags([find_config("flags", name)], metrics, series_names(metrics)).flags:
            typer.echo(f"  {flag.name:17s} {flag.doc}")


def _limits() -> None:
    """Every limit of every file of limits that is installed, under the name of its file."""
    from quicklook.cli.limits import line_of
    from quicklook.core.limits import read_limits
    from quicklook.io.configfiles import find_config, list_configs

    for name in list_configs("limits"):
        typer.echo(name)
        for limit in read_limits(find_config("limits", name)):
            typer.echo(f"  {line_of(limit)}")
