"""What an import costs: plugins import their kernels when they run, and commands that run nothing load nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from quicklook.core.registry import registered

COMPILED = {"numba", "llvmlite", "matplotlib"}
HEAVY = COMPILED | {"scipy", "astropy", "fitsio", "zmq", "sqlalchemy"}


def loaded_by(code: str, folder: Path) -> set[str]:
    """Names of the top packages that a new Python has loaded after running the code."""
    report = folder / "modules.json"
    after = f"\nimport atexit, json, sys\natexit.register(lambda: open({str(report)!r}, 'w').write(json.dumps(sorted(m.split('.')[0] for m in sys.modules))))\n"
    done = subprocess.run([sys.executable, "-c", after + code], capture_output=True, text=True, timeout=300, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return set(json.loads(report.read_text()))


def test_importing_plugins_loads_no_compiler_and_no_plotting(tmp_path: Path) -> None:
    modules = [ref.target.partition(":")[0] for kind in ("algorithm", "qa", "reader") for ref in registered(kind).values()]
    assert modules
    found = loaded_by("\n".join(f"import {m}" for m in modules), tmp_path) & COMPILED
    if found:
        guilty = {m: sorted(loaded_by(f"import {m}", tmp_path) & COMPILED) for m in modules}
        pytest.fail(f"import kernels inside the method that runs them: { ({m: g for m, g in guilty.items() if g}) }")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["list"], ["list", "sinks"], ["list", "instruments"], ["list", "chains"], ["--version"]],
    ids=" ".join,
)
def test_commands_that_run_nothing_load_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = f"import sys\nsys.argv = {['quicklook', *arguments]!r}\nfrom quicklook.cli.main import main\ntry:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    assert not loaded_by(code, tmp_path) & HEAVY


def test_the_client_loads_what_a_listener_needs_and_no_more(tmp_path: Path) -> None:
    assert not loaded_by("import quicklook.client", tmp_path) & (HEAVY - {"zmq"})


def test_a_heavy_import_would_be_seen(tmp_path: Path) -> None:
    assert loaded_by("import sqlalchemy", tmp_path) & HEAVY == {"sqlalchemy"}
