"""The example package, installed beside the project for the tests of this folder alone."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from example_package import lay_out

from quicklook.core import registry

Quicklook = Callable[..., subprocess.CompletedProcess[str]]
CONTRACT = Path(__file__).resolve().parents[1] / "contract"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed package."""
    return lay_out(tmp_path_factory.mktemp("thirdparty") / "site")


@pytest.fixture(scope="session")
def quicklook(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Quicklook:
    """The command, in a process of its own that finds the package."""
    home = tmp_path_factory.mktemp("work")

    def call(*arguments: str | Path, package: bool = True, cwd: Path = home) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("QUICKLOOK_SITE")}
        env |= {"PYTHONPATH": str(installed) if package else "", "COLUMNS": "200", "NO_COLOR": "1"}
        code = "from quicklook.cli.main import main; main()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=300, check=False)

    return call


@pytest.fixture
def plugins(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is found in this process too."""
    monkeypatch.syspath_prepend(str(installed))
    registry.registered.cache_clear()
    yield
    registry.registered.cache_clear()
    for name in [m for m in sys.modules if m.split(".")[0] == "quicklook_example"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(autouse=True)
def _contract_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CONTRACT))
