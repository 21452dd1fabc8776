"""What all tests share: where the project lies, and the data that are not part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("QUICKLOOK_WEB", "off")
"""Daemons of tests serve no page, unless a test is about that."""

# `make test` says the same of the same code, on a busy machine too; `make test-long` looks for examples that nobody has tried
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("QUICKLOOK_EXAMPLES", "steady"))

LONGEST_FIRST = (
    "contract/test_plugin_contract.py",
    "service/test_watcher.py",
    "core/test_compiled.py",
    "service/test_housekeeping.py",
    "monitor/mirror/test_mirror_ssh.py",
    "service/test_watcher_hangs.py",
    "monitor/hk/test_checker_restart.py",
    "service/test_publish.py",
    "service/test_session_hard.py",
    "browser/test_story.py",
    "hostile/test_hostile_files.py",
    "service/test_processes.py",
    "service/test_executors.py",
    "cli/test_cli_revisions.py",
    "validation/test_truth.py",
    "validation/test_self_calibration.py",
    "monitor/web/test_web_views.py",
    "service/test_daemon_troubles.py",
    "service/test_executors_daemon.py",
    "chaos/test_chaos.py",
    "service/test_daemon.py",
    "docs/test_docs.py",
    "thirdparty/test_example_command.py",
    "cli/test_cli.py",
)
"""A file of tests goes to one worker as a whole: the longest are begun first, so that no worker has one left when all others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    here, place = Path(__file__).parent, {name: i for i, name in enumerate(LONGEST_FIRST)}
    if gone := [name for name in place if not (here / name).is_file()]:
        raise pytest.UsageError(f"LONGEST_FIRST in tests/conftest.py names files that are not there: {gone}")
    items.sort(key=lambda item: place.get(os.path.relpath(item.path, here), len(place)))


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The root of the project."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data(repo_root: Path) -> Path:
    """The folder of real data beside the project; the test is skipped where it is absent."""
    folder = repo_root.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data (../shared/data) are not here")
    return folder


@pytest.fixture(scope="session")
def shared_validation(repo_root: Path) -> Path:
    """The folder of the validation kit beside the project; the test is skipped where it is absent."""
    folder = repo_root.parent / "shared" / "validation"
    if not folder.is_dir():
        pytest.skip("the validation kit (../shared/validation) is not here")
    return folder
