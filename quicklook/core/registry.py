"""Plugins by entry point: found by name without being imported."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from quicklook.core.errors import BadConfig, describe

GROUPS: Mapping[str, str] = {
    "algorithm": "quicklook.algorithms",
    "qa": "quicklook.qas",
    "reader": "quicklook.readers",
    "sink": "quicklook.sinks",
    "hk_source": "quicklook.hk_sources",
    "monitor": "quicklook.monitors",
    "config": "quicklook.configs",
    "command": "quicklook.commands",
}
"""Kinds of plugins and the entry-point group of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRef:
    """A registered plugin, not imported: kind, name, the object as ``module:attribute``, and the distribution it comes from."""

    kind: str
    name: str
    target: str
    distribution: str
    version: str

    def load(self) -> Any:
        """Import it. Raises BadConfig, with the package it comes from, if its module cannot be imported."""
        try:
            return EntryPoint(self.name, self.target, GROUPS[self.kind]).load()
        except (Exception, SystemExit) as error:  # a package of somebody else may raise anything when it is imported
            raise BadConfig(f"{self.kind} {self.name!r} ({self.target}, of {self.distribution}) cannot be imported: {describe(error)}") from error


def _refs(kind: str, found: Iterable[EntryPoint]) -> dict[str, PluginRef]:
    out: dict[str, PluginRef] = {}
    for point in sorted(found, key=lambda p: p.name):
        dist = point.dist
        name, version = (dist.name, dist.version) if dist else ("?", "?")
        ref = PluginRef(kind=kind, name=point.name, target=point.value, distribution=name, version=version)
        other = out.get(point.name)
        if other and other.target != ref.target:
            raise BadConfig(f"two packages register the {kind} {point.name!r}: {other.distribution} and {ref.distribution}; remove one of them")
        out[point.name] = ref
    return out


@functools.cache
def registered(kind: str) -> Mapping[str, PluginRef]:
    """All plugins of a kind (a key of `GROUPS`) by name. Raises BadConfig where two packages claim one name."""
    return _refs(kind, entry_points(group=GROUPS[kind]))


def find(kind: str, name: str) -> PluginRef:
    """The plugin of that kind and name. Raises BadConfig with the nearest names."""
    known = registered(kind)
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
    raise BadConfig(f"no {kind} is called {name!r}; {hint}")
