"""The folder of a run of the daemon, ``<out>/runs/<id>-<label>``: its log, its configuration with every default, the versions of everything.

An id is the time of its start (UTC) and the number of the process. ``<out>/runs/latest`` is a link to the last one.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from quicklook.core.errors import BadConfig
from quicklook.core.provenance import versions
from quicklook.io.atomic import atomic, write_json
from quicklook.service.running.runlog import LogFormat
from quicklook.service.site import Site

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_LATEST = "latest"
_KEPT = 10
"""So many folders of runs that never began are kept: who starts the daemon again every few seconds would fill the disk with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A run: its id, its label ("" without one), its folder."""

    id: str
    label: str
    path: Path

    def log_file(self, form: LogFormat) -> Path:
        """Where its log goes."""
        return self.path / ("log.jsonl" if form == "json" else "log.txt")


def check_label(label: str) -> None:
    """Raises BadConfig for a label that is no name of a file."""
    if label and not _LABEL.match(label):
        raise BadConfig(f"the label {label!r} is to be a name: letters, digits, '.', '_' and '-', 64 at most", what_next="Give another --label.")


def begin_run(out: Path, label: str = "") -> RunFolder:
    """Make the folder of a run that begins now. Raises BadConfig for a label that is no name of a file, or a folder that cannot be made."""
    check_label(label)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"
    path = out / "runs" / (f"{name}-{label}" if label else name)
    _forget_failed(path.parent)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfig(f"{path} cannot be made: {error.strerror}; give access or name another output folder") from error
    with suppress(OSError):  # a convenience for people
        link = path.with_name(f".{_LATEST}.{os.getpid()}")
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(path.with_name(_LATEST))
    return RunFolder(id=name, label=label, path=path)


def _forget_failed(runs: Path) -> None:
    """Remove the folders of all but the last runs that have ended before they worked: they have a log, and no configuration."""
    with suppress(OSError):
        failed = sorted(p for p in runs.iterdir() if p.is_dir() and not p.is_symlink() and not (p / "site.yaml").exists())
        for path in failed[:-_KEPT]:
            shutil.rmtree(path, ignore_errors=True)


def latest_run(out: Path) -> RunFolder | None:
    """The run that began last in an output folder; while a daemon works there, its own."""
    with suppress(OSError):
        path = (out / "runs" / _LATEST).resolve(strict=True)
        stamp, _, rest = path.name.partition("-")
        number, _, label = rest.partition("-")
        return RunFolder(id=f"{stamp}-{number}", label=label, path=path)
    return None


def keep_configuration(run: RunFolder, site: Site) -> Path:
    """Write what the run works by: the site with every default, as YAML that can be used again, its chains, the versions. Returns the site's file.

    The copy of another configuration, after a reload, has a number: ``site-1.yaml``. Raises as `quicklook.io.atomic.atomic` does.
    """
    number = sum(1 for _ in run.path.glob("site*.yaml"))
    end = f"-{number}" if number else ""
    path = run.path / f"site{end}.yaml"
    overrides = "".join(f"# -c {o.text}\n" for o in site.overrides)
    _write(path, f"# from {site.source}\n{overrides}{_yaml([site.file.model_dump(mode='json')])}")
    _write(run.path / f"chains{end}.yaml", _yaml([chain.expand() for chain in site.chains().values()]))
    write_json(run.path / f"run{end}.json", _facts(run, site))
    return path


def _write(path: Path, text: str) -> None:
    with atomic(path) as file:
        file.write(text.encode())


def _yaml(documents: list[dict[str, Any]]) -> str:
    return str(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True))


def _facts(run: RunFolder, site: Site) -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = ""
    limits = site.limits()
    return {
        "id": run.id,
        "label": run.label,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "user": user,
        "site": site.source,
        "instrument": site.instrument.name,
        "chains": {flavor or "_default": {"name": c.name, "sha256": c.sha256} for flavor, c in site.chains().items()},
        "limits_sha256": limits.sha256,
        "versions": versions(),
    }
