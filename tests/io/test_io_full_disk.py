"""A full disk has an error of its own: what is written then is tried again for as long as it takes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from quicklook.core.errors import NoSpace, Transient
from quicklook.io import atomic as module
from quicklook.io.atomic import atomic, write_json
from quicklook.io.plotfiles import save_plots


class FullFile(module.io.FileIO):
    """A file on a disk without room."""

    def write(self, _: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.io, "FileIO", FullFile)


def test_every_way_of_writing_says_so(tmp_path: Path, full: None) -> None:
    with pytest.raises(NoSpace, match=r"a.json cannot be written: No space left on device"):
        write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(NoSpace, match=r"p.npz cannot be written"):
        save_plots(tmp_path / "p.npz", [])
    with pytest.raises(NoSpace), atomic(tmp_path / "b") as file:  # more than the buffer takes
        file.write(bytes(1 << 22))
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_an_error_that_was_raised_over_it(tmp_path: Path) -> None:
    with pytest.raises(NoSpace), atomic(tmp_path / "b"):
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        finally:
            raise ValueError("the archive cannot be closed")


def test_another_trouble_is_transient(tmp_path: Path) -> None:
    with pytest.raises(Transient) as caught, atomic(tmp_path / "b"):
        raise OSError(errno.EIO, "Input/output error")
    assert not isinstance(caught.value, NoSpace)
