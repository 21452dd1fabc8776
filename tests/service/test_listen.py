"""`quicklook listen`: what it says of a daemon that is silent, when it ends and how, and under which names it saves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from wire_tools import publisher

from quicklook.cli import listen
from quicklook.cli.main import app
from quicklook.core.events import PlotDrawn, draft
from quicklook.core.keys import Unit


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["listen", *words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_silent_daemon_is_told_and_nothing_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "SILENT_S", 0.2)
    monkeypatch.setattr(listen, "_LOOK_S", 0.05)
    code, out, error = run("--endpoint", f"ipc://{tmp_path}/nobody", "--timeout", "0.6")
    assert (code, out) == (0, "")
    assert error.count("no sign of life from ipc://") == 1
    assert "are --keys needed?" in error


def test_fewer_events_than_were_asked_for_are_another_status(tmp_path: Path) -> None:
    with publisher(tmp_path) as out:
        seqs = out.started(3)
        words = ("--endpoint", out.endpoint, "--topic", "started/", "--since", "0", "--json", "--timeout", "1")
        code, text, _ = run(*words, "--count", "3")
        assert (code, [json.loads(line)["seq"] for line in text.splitlines()]) == (0, seqs)
        assert run(*words, "--count", "4")[0] == 3


def test_a_number_of_another_journal_is_known_by_its_epoch(tmp_path: Path) -> None:
    with publisher(tmp_path) as out:
        seqs = out.started(3)
        words = ("--endpoint", out.endpoint, "--topic", "started/", "--since", "2", "--json", "--timeout", "1", "--count")
        assert len(run(*words, "1", "--epoch", out.journal.epoch)[1].splitlines()) == 1
        code, text, _ = run(*words, "3", "--epoch", "00000000-0000-0000-0000-000000000000")
        assert (code, [json.loads(line)["seq"] for line in text.splitlines()]) == (0, seqs)


def test_pictures_of_other_revisions_and_tags_have_other_names(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    plot = PlotDrawn(name="a", path="a.png", sha256=hashlib.sha256(b"x").hexdigest(), size=1)
    with publisher(tmp_path) as out:
        for tag, revision in (("live", 0), ("live", 1), ("new", 0)):
            out.journal.append([draft(plot, unit=Unit(20220101, 7), part="r0", tag=tag, revision=revision)])
        assert run("--endpoint", out.endpoint, "--topic", "plot/", "--since", "0", "--count", "3", "--timeout", "5", "--save", str(tmp_path / "s"))[0] == 0
    names = sorted(p.name for p in (tmp_path / "s").iterdir())
    assert names == [f"{tag}-20220101-00000007-r0-a-rev{n}.png" for tag, n in (("live", 0), ("live", 1), ("new", 0))]


def test_a_topic_that_no_event_has_is_told(tmp_path: Path) -> None:
    words = ("--endpoint", f"ipc://{tmp_path}/nobody", "--timeout", "0.01")
    assert "did you mean 'verdict'?" in run(*words, "--topic", "verdicts/")[2]
    assert run(*words, "--topic", "verd", "--topic", "qa/r0/x", "--topic", "")[2] == ""
