"""The command `quicklook` in the process of the test: what it prints and how it ends, without the seconds that a new process takes to begin."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from quicklook.cli.main import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """As `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """All that it has printed."""
        return self.stdout + self.stderr


def quicklook(*words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, answer: str = "") -> Done:
    """Run it on a wide terminal without colours, with `answer` for what it asks. A traceback that nobody wanted is a failure of the test."""
    out, error = io.StringIO(), io.StringIO()
    environment = {"COLUMNS": "250", "NO_COLOR": "1", "QUICKLOOK_SITE": "", "QUICKLOOK_DEBUG": "", **(env or {})}
    with (
        contextlib.chdir(cwd or Path.cwd()), mock.patch.dict(os.environ, environment), mock.patch.object(sys, "argv", ["quicklook", *map(str, words)]),
        mock.patch.object(sys, "stdin", io.StringIO(answer)), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error),
        pytest.raises(SystemExit) as end,
    ):  # fmt: skip
        main()
    assert end.value.code is None or isinstance(end.value.code, int), end.value.code
    done = Done(returncode=int(end.value.code or 0), stdout=out.getvalue(), stderr=error.getvalue())
    wanted = environment["QUICKLOOK_DEBUG"] or "--debug" in words
    assert wanted or "Traceback" not in done.text, done.text
    return done


def told(*words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, answer: str = "") -> tuple[int, str]:
    """Exit status and all output."""
    done = quicklook(*words, cwd=cwd, env=env, answer=answer)
    return done.returncode, done.text
