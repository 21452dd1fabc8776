"""Exposure numbers that wait mode has found for the tests of a session, written back into the session file, for aim mode.

They stand at the end of the file, under the key `found`, one line a test::

    found:
      BIAS01: [20220101/00000100, 20220101/00000101]

All else of the file, comments included, stays as it is written. `write_found` is called by wait mode when a test is closed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from quicklook.core.errors import BadConfig
from quicklook.core.keys import Unit
from quicklook.core.validation import suggest
from quicklook.io.atomic import atomic
from quicklook.io.configfiles import read_config

KEY = "found"
_BLOCK = re.compile(rf"^{KEY}:[^\n]*\n?(?:[ \t]+[^\n]*\n?|[ \t]*\n)*", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")


def read_found(session: str | Path) -> dict[str, tuple[Unit, ...]]:
    """The exposures of each test, as they stand in a session file; empty where none were written yet. Raises BadConfig, with file and line."""
    doc = read_config(session)
    given = doc.get((KEY,), {})
    if not isinstance(given, dict):
        raise BadConfig(f"{doc.where((KEY,))}: write under `{KEY}` a list of exposures for each test")
    out = {}
    for test, units in given.items():
        try:
            out[str(test)] = tuple(Unit.parse(str(u)) for u in units)
        except (ValueError, TypeError) as error:
            raise BadConfig(f"{doc.where((KEY, test))}: {error}") from error
    return out


def found_of(session: str | Path, tests: Iterable[str]) -> dict[Unit, str]:
    """The exposures of these tests, with the name of the test. Raises BadConfig where a test has none."""
    found = read_found(session)
    for test in tests:
        if not found.get(test):
            hint = suggest(test, sorted(found), noun="tests with exposures") if found else "; wait mode has written none into it yet"
            raise BadConfig(f"{session} says no exposures of test {test!r}{hint}", what_next="Name another test, or the exposures by --expid.")
    return {unit: test for test in tests for unit in found[test]}


def write_found(session: str | Path, found: Mapping[str, Iterable[Unit]]) -> None:
    """Write the exposures of tests into a session file; those of other tests stay, those of the same are replaced. The file appears whole.

    Raises BadConfig where the file cannot be read or written or a test has a name that is none, Transient (disk).
    """
    for test in found:
        if not _NAME.match(test):
            raise BadConfig(f"{test!r} is no name of a test; use letters, digits, and _ . -")
    every = {**read_found(session), **{test: tuple(units) for test, units in found.items()}}
    # a link stays one, and the file keeps its rights and the ends of its lines
    path = Path(session).resolve()
    content = path.read_bytes()
    end = "\r\n" if b"\r\n" in content else "\n"
    lines = [f"{KEY}:", *(f"  {test}: [{', '.join(map(str, units))}]" for test, units in every.items())]
    kept = _BLOCK.sub("", content.decode("utf-8-sig").replace("\r\n", "\n")).rstrip()
    text = (f"{kept}\n\n" if kept else "") + "\n".join(lines) + "\n"
    with atomic(path) as f:
        os.fchmod(f.fileno(), stat.S_IMODE(path.stat().st_mode))
        f.write(text.replace("\n", end).encode())
