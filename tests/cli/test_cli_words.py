"""What a person is told who has typed something that cannot be."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from quicklook.cli import demo
from quicklook.cli import main as program
from quicklook.cli.view import reasons_block
from quicklook.core.events import Event, UnitDone, draft
from quicklook.core.keys import Unit
from quicklook.core.status import Status


def told(monkeypatch, capsys, *words: str) -> str:
    """What the program says on the error output; it must end with status 2."""
    monkeypatch.setattr("sys.argv", ["quicklook", *words])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_file_that_is_not_there_is_no_matter_of_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    said = told(monkeypatch, capsys, "run", "nofile.fits", "--instrument", "desi")
    assert "neither a raw file nor a chain nofile.fits" in said
    assert "Say which raw files" in said
    said = told(monkeypatch, capsys, "run", "raw", "nofile.fits", "--instrument", "desi")
    assert "there is no file nofile.fits\n  Check the path." in said
    assert "name raw files" in told(monkeypatch, capsys, "run", "raw", "--instrument", "desi")
    (tmp_path / "folder").mkdir()
    assert "Name the raw files in it" in told(monkeypatch, capsys, "run", "raw", "folder", "--instrument", "desi")


def test_what_is_to_be_mended_is_where_the_mistake_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "Mend what was typed" in told(monkeypatch, capsys, "status", "--out", "none")
    (tmp_path / "site.yaml").write_text("instrument: desi\nraww: x\n")
    assert "site.yaml:2 (raww)" in (said := told(monkeypatch, capsys, "validate", "--site", "site.yaml"))
    assert "Edit the configuration." in said


def test_the_demonstration_shows_which_qa_has_found_it(tmp_path):
    shown = Console(file=io.StringIO(), width=200)
    verdict = UnitDone(night=20220101, expid=7, tag="live", revision=0, status=Status.ALARM, reasons=["r0: ALARM: noise is 3 [read_noise]"], parts={})
    event = Event(**draft(verdict, unit=Unit(20220101, 7)).model_dump(), epoch="", seq=1, time=1)
    demo._explain(shown, Path(tmp_path), 7, event, {}, reasons_block)
    assert "noise is 3 [read_noise]" in shown.file.getvalue()
