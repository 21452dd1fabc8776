"""Sources of a configuration, made: each plugin with its parameters, opened where it was."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from monitor.hk.loading import HkConfig
from quicklook.core.errors import BadConfig
from quicklook.core.housekeeping import HkSource, SourceContext
from quicklook.core.params import Params
from quicklook.core.registry import find
from quicklook.core.validation import validate


def make_source(config: HkConfig, name: str, more: Mapping[str, Any] | None = None) -> HkSource[Any]:
    """The source of that name, not opened; `more` are parameters in place of those written. Raises BadConfig, with file and line."""
    spec, doc = config.file.sources[name], config.document
    where = doc.where(("sources", name))
    try:
        plugin = find("hk_source", spec.plugin).load()
    except BadConfig as error:
        raise BadConfig(f"{where}: {error}") from error
    if not (isinstance(plugin, type) and issubclass(plugin, HkSource)):
        raise BadConfig(f"{where}: {spec.plugin!r} is registered as a source of housekeeping and is none")
    params: type[Params] = plugin.params_type
    return plugin(validate(params, doc, ("sources", name, "params"), {**spec.params, **(more or {})}))


def context_of(config: HkConfig, name: str, positions: Mapping[str, str]) -> SourceContext:
    """What the source of that name is told when it is opened."""
    missing = frozenset(m.lower() for m in config.file.defaults.missing)
    words, numbers = config.text_channels, config.number_channels
    return SourceContext(source=name, positions=positions, text_channels=words, number_channels=numbers, missing=missing)


def sources_for(config: HkConfig, path: Path, name: str = "") -> list[tuple[str, HkSource[Any]]]:
    """The sources that read a file, or the files of a folder, in a replay: the one named, or those whose `match` (or file pattern) fits.

    Raises BadConfig where none does, or of a file more than one.
    """
    if not path.exists():
        raise BadConfig(f"there is no file or folder {path}")
    if name and name not in config.file.sources:
        raise BadConfig(f"no source is called {name!r}; this configuration has {', '.join(config.file.sources)}")
    fitting = [name] if name else [n for n in config.file.sources if _fits(config, n, path)]
    if not fitting or (path.is_file() and len(fitting) > 1):
        which = f"{', '.join(fitting)} all do" if fitting else f"none of {', '.join(config.file.sources)} does"
        raise BadConfig(f"which source reads {path}? by its name {which}; name one with --source")
    return [(n, _reading(config, n, path)) for n in fitting]


def _fits(config: HkConfig, name: str, path: Path) -> bool:
    if not make_source(config, name).file_param:
        return False
    pattern = _pattern(config, name)
    return fnmatch(path.name, pattern) if path.is_file() else any(True for _ in path.rglob(pattern))


def _pattern(config: HkConfig, name: str) -> str:
    """The pattern of the names, without folders, of the files that a source reads."""
    spec = config.file.sources[name]
    return spec.match or str(spec.params.get("path", "")).rpartition("/")[2] or "*"


def _reading(config: HkConfig, name: str, path: Path) -> HkSource[Any]:
    source = make_source(config, name)
    if not source.file_param:
        raise BadConfig(f"source {name} ({config.file.sources[name].plugin}) reads no files")
    plain = str(path) if path.is_file() else f"{glob.escape(str(path))}/**/{_pattern(config, name)}"
    return make_source(config, name, {source.file_param: plain, **({"scan_s": 1e-6} if hasattr(source.params, "scan_s") else {})})
