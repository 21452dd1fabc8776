"""Configuration files by name or path.

Every package that registers itself under the entry-point group `quicklook.configs` has a folder with `instruments/`, `chains/`, `limits/`
and so on; a site may add folders of its own, which are searched first.
"""

from __future__ import annotations

import difflib
import importlib.util
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig, describe
from quicklook.core.registry import registered
from quicklook.core.yamlsource import parse_yaml

log = logging.getLogger("quicklook.config")

MAX_BYTES = 4 << 20
_told: set[str] = set()
SUFFIXES = (".yaml", ".yml")


def config_folders() -> tuple[Path, ...]:
    """Folders of configuration of the installed packages, our own first: another package adds names and takes none."""
    found: list[Path] = []
    for name, ref in sorted(registered("config").items(), key=lambda item: (item[0] != "default", item[0])):
        try:
            spec = importlib.util.find_spec(ref.target.partition(":")[0])
        except Exception as error:  # the parent of a module is imported to find it
            spec, why = None, describe(error)
        else:
            why = "it is not there"
        if spec is None and name not in _told:
            log.warning("configuration %r (%s, of %s) is left out: %s", name, ref.target, ref.distribution, why)
            _told.add(name)
        found += [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    own = Path(__file__).resolve().parents[2] / "configs"  # a checkout that is not installed
    if own not in [f.resolve() for f in found] and own.is_dir():
        found.insert(0, own)
    return tuple(found)


def read_config(path: str | Path) -> Document:
    """The configuration file at `path`. Raises BadConfig where it cannot be read or is no configuration."""
    path = Path(path)
    try:
        with open(path, "rb") as f:
            content = f.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise BadConfig(f"{path} is larger than {MAX_BYTES >> 20} MiB; it is no configuration")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadConfig(f"{path}:{line}: is not written in UTF-8 (byte {content[error.start]:#04x}); save it as UTF-8") from error
    return parse_yaml(text, _display(path))


def _display(path: Path) -> str:
    """A name of the file for messages: relative to the working folder where it lies in it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(path)


def is_path(name: str) -> bool:
    """Whether a configuration is named by its path, not by its name."""
    return name.endswith(SUFFIXES) or "/" in name


def find_config(kind: str, name_or_path: str | Path, extra: Iterable[str | Path] = ()) -> Document:
    """The configuration of `kind` (instruments, chains, limits, ...) of that name, or the file at that path.

    A name is looked for in the folders `extra`, then in those installed; an extra folder may hold `<kind>/<name>.yaml` or
    `<name>.yaml`. Raises BadConfig with the nearest names and the folders where it was looked for.
    """
    text = str(name_or_path)
    if is_path(text):
        return read_config(Path(text).expanduser())
    folders = list(_folders(kind, extra))
    for folder in folders:
        for suffix in SUFFIXES:
            if (folder / f"{text}{suffix}").is_file():
                return read_config(folder / f"{text}{suffix}")
    known = list_configs(kind, extra)
    near = difflib.get_close_matches(text, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
    raise BadConfig(f"no configuration {kind}/{text}.yaml; {hint} (looked in {', '.join(map(str, folders))})")


def list_configs(kind: str, extra: Iterable[str | Path] = ()) -> tuple[str, ...]:
    """Names of all configurations of a kind."""
    files = (f for folder in _folders(kind, extra) if folder.is_dir() for f in folder.iterdir())
    return tuple(sorted({f.stem for f in files if f.suffix in SUFFIXES and not f.name.startswith(".")}))


def _folders(kind: str, extra: Iterable[str | Path]) -> Iterator[Path]:
    for folder in map(Path, extra):
        yield folder / kind
        yield folder
    for folder in config_folders():
        yield folder / kind
