"""What all tests share: where the project lies, and the data that are not part of it."""

from __future__ import annotations

from pathlib import Path

import pytest


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
