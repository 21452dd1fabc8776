"""Exposure numbers written back into a session, and read from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from quicklook.core.errors import BadConfig
from quicklook.core.keys import Unit
from quicklook.service.rerun.found import found_of, read_found, write_found

SESSION = """\
# The tests of tonight.
tests:
  - name: BIAS01      # ten zeros
    count: 10
"""
A, B, C = (Unit(20220101, n) for n in (100, 101, 102))


def test_the_rest_of_the_file_stays_as_it_is_written(tmp_path: Path) -> None:
    session = tmp_path / "session.yaml"
    session.write_text(SESSION)
    assert read_found(session) == {}
    write_found(session, {"BIAS01": [A, B]})
    write_found(session, {"DARK01": [C]})
    write_found(session, {"BIAS01": [B]})
    assert session.read_text() == SESSION + "\nfound:\n  BIAS01: [20220101/00000101]\n  DARK01: [20220101/00000102]\n"
    assert read_found(session) == {"BIAS01": (B,), "DARK01": (C,)}
    assert found_of(session, ["DARK01", "BIAS01"]) == {C: "DARK01", B: "BIAS01"}


def test_a_key_that_stands_before_others_is_moved(tmp_path: Path) -> None:
    session = tmp_path / "session.yaml"
    session.write_text(f"found:\n  BIAS01: [20220101/100,\n    20220101/101]\n{SESSION}")
    write_found(session, {"DARK01": [C]})
    assert session.read_text().startswith(SESSION)
    assert read_found(session) == {"BIAS01": (A, B), "DARK01": (C,)}


@pytest.mark.parametrize(("text", "why"), [("found: [1]", "a list of exposures for each test"), ("found: {A: [one]}", "names no unit"), ("a: [", "not valid YAML")])
def test_what_is_wrong_in_the_file_is_shown(tmp_path: Path, text: str, why: str) -> None:
    session = tmp_path / "session.yaml"
    session.write_text(text)
    with pytest.raises(BadConfig, match=why):
        read_found(session)


def test_a_test_without_exposures_and_a_name_that_is_none(tmp_path: Path) -> None:
    session = tmp_path / "session.yaml"
    session.write_text(SESSION)
    with pytest.raises(BadConfig, match="none into it yet"):
        found_of(session, ["BIAS01"])
    with pytest.raises(BadConfig, match="no name of a test"):
        write_found(session, {"a: b": [A]})
    assert session.read_text() == SESSION


def test_a_link_its_rights_and_the_ends_of_lines_stay(tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "night.yaml"
    kept.parent.mkdir()
    kept.write_bytes(SESSION.replace("\n", "\r\n").encode())
    kept.chmod(0o664)
    session = tmp_path / "session.yaml"
    session.symlink_to(kept)
    write_found(session, {"BIAS01": [A]})
    assert session.is_symlink()
    assert kept.read_bytes() == (SESSION + "\nfound:\n  BIAS01: [20220101/00000100]\n").replace("\n", "\r\n").encode()
    assert kept.stat().st_mode & 0o777 == 0o664
    assert read_found(session) == {"BIAS01": (A,)}
