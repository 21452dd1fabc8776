"""What the command answers, in this process: exit status and all that it prints; anything that escapes is a crash."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from quicklook.cli.main import main

CRASH = -1


@dataclass(frozen=True, slots=True)
class Answer:
    """Exit status (`CRASH` if an exception came through) and output."""

    code: int
    output: str


class _Output(io.TextIOWrapper):
    """As strict as a terminal in UTF-8: a name that is no text cannot be printed."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="strict", write_through=True)

    @property
    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


def answer(*arguments: str | Path, folder: Path | None = None) -> Answer:
    """Run `quicklook` with these arguments in a working folder."""
    output = _Output()
    environment = {"COLUMNS": "250", "NO_COLOR": "1", "QUICKLOOK_SITE": ""}
    with (
        _inside(folder),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", ["quicklook", *map(str, arguments)]),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 2
        except BaseException:
            traceback.print_exc(file=output)
            code = CRASH
    return Answer(code, output.text)


@contextlib.contextmanager
def _inside(folder: Path | None) -> Iterator[None]:
    with contextlib.chdir(folder) if folder else contextlib.nullcontext():
        yield
