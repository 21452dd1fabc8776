"""Files that are not what they should be, given as examples of an instrument: left out with the reason, or refused; never a fault of the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus import GOOD_FILE, HostileFile, hostile_files

from quicklook.core.errors import QuicklookError
from quicklook.io.instrument import make_instrument
from quicklook.io.propose import Proposal, propose

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def cases() -> Any:
    return [pytest.param(f, id=f.name.encode("ascii", "replace").decode()) for f in hostile_files()]


def proposed(*paths: Path) -> tuple[Proposal | None, str]:
    """The proposal, or what our own error says; anything else comes through."""
    try:
        return propose("bench", paths), ""
    except QuicklookError as error:
        return None, str(error)


@pytest.mark.parametrize("file", cases())
def test_alone(file: HostileFile, tmp_path: Path) -> None:
    """What comes out can be loaded; else an error of ours says why not."""
    proposal, why = proposed(file.write(tmp_path))
    assert proposal is not None or why.strip()
    if proposal is not None:
        make_instrument(yaml.safe_load(proposal.text))


@pytest.mark.parametrize("file", cases())
def test_beside_good_ones(file: HostileFile, tmp_path: Path) -> None:
    """The good files are described all the same, unless the bad one is of their kind and contradicts them."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "good").mkdir()
    good, bad = GOOD_FILE.write(tmp_path / "good"), file.write(tmp_path / "bad")
    proposal, why = proposed(good, good, bad)
    assert proposal is not None or why.strip()
    if proposal is not None:
        make_instrument(yaml.safe_load(proposal.text))
        assert len(proposal.rows) + len(proposal.left_out) == 3
