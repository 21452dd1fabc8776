"""Secrets that a setting names: what cannot be one is refused, and nothing is open for want of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from quicklook.core.errors import BadConfig
from quicklook.io.credentials import secret_of


def test_a_file_that_only_its_owner_reads_has_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc\n")
    path.chmod(0o600)
    assert secret_of(f"file:{path}", "token") == "abc"
    path.chmod(0o644)
    with pytest.raises(BadConfig, match="others"):
        secret_of(f"file:{path}", "token")


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe\x00"])
def test_a_file_without_one_is_no_secret(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BadConfig, match="token"):
        secret_of(f"file:{path}", "token")


@pytest.mark.parametrize("place", ["/nowhere/token", "/a\x00b", "/"])
def test_a_file_that_cannot_be_read_is_said(place: str) -> None:
    with pytest.raises(BadConfig):
        secret_of(f"file:{place}", "token")
