"""A configuration that seems to be in order and then cannot be used: the old one goes on, also where that takes a while."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from session_site import outcomes, session_in, session_site, take_zero, turn

from quicklook.core.errors import BadConfig
from quicklook.service.daemon import Daemon
from quicklook.service.running import reloading as module
from quicklook.service.running.reloading import Reloading
from quicklook.service.running.runfolder import RunFolder
from quicklook.service.running.running import Running
from quicklook.service.running.supervise import Notifier
from quicklook.service.site import Site

OLD, NEW = cast(Site, "old"), cast(Site, "new")


class Begins:
    """Begins with what is given as its turn comes: a site, or an error that it raises in place of it."""

    def __init__(self, *fates: Exception | None) -> None:
        self.fates, self.asked = list(fates), list[Any]()

    def __call__(self, site: Site) -> None:
        self.asked.append(site)
        if (fate := self.fates.pop(0)) is not None:
            raise fate


@pytest.fixture
def reloading(monkeypatch: pytest.MonkeyPatch) -> Reloading:
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    made = Reloading()
    made.want(NEW)
    return made


@pytest.mark.parametrize("error", [BadConfig("no scheduler answers"), ZeroDivisionError("of a plugin")])
def test_the_old_one_goes_on_where_the_new_one_cannot_begin(reloading, error):
    begins = Begins(error, None)
    assert reloading.change(OLD, lambda: None, begins, lambda: False)
    assert (begins.asked, reloading.site, reloading.changes) == ([NEW, OLD], None, 1)


def test_what_is_worked_on_may_end_first_but_not_for_ever(reloading, monkeypatch):
    busy = [True]
    reloading._busy = lambda: busy[0]
    assert reloading.site is None
    busy[0] = False
    assert reloading.site is NEW
    busy[0] = True
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    assert reloading.site is NEW


def test_both_are_tried_until_one_can_begin(reloading):
    begins = Begins(*[BadConfig("the scheduler is away")] * 4, None)
    assert reloading.change(OLD, lambda: None, begins, lambda: False)
    assert begins.asked == [NEW, OLD, NEW, OLD, NEW]


def test_who_wants_it_to_stop_need_not_wait(reloading):
    begins = Begins(*[BadConfig("the scheduler is away")] * 2)
    assert not reloading.change(OLD, lambda: None, begins, lambda: True)
    assert reloading.changes == 0


def test_the_service_manager_hears_that_the_old_one_goes_on(monkeypatch, tmp_path):
    heard = list[str]()
    monkeypatch.setattr(Notifier, "_send", lambda _self, *lines: heard.extend(lines))
    daemon = SimpleNamespace(reloading=Reloading(), site=OLD, idle=True)
    running = Running(cast(Any, daemon), lambda: OLD, RunFolder(id="1", label="", path=tmp_path))
    running._site = OLD
    assert not running._until()
    assert not heard
    daemon.reloading.changes += 1
    running._until()
    running._until()
    assert heard == ["READY=1", "STATUS=the last reload could not be used; see the log"]


@pytest.mark.parametrize("patience_s", [60.0, 0.0])
def test_a_test_that_is_worked_on_is_not_lost_by_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience_s: float) -> None:
    """It ends first, or is worked on once more: either way there is one outcome, and it is that of a test in order."""
    monkeypatch.setattr(module, "PATIENCE_S", patience_s)
    daemon = Daemon(session_site(tmp_path))
    daemon.reloading.reread = lambda: session_site(tmp_path)
    daemon.start()
    try:
        for expid in (1, 2, 3):
            take_zero(tmp_path, expid)
        runner = session_in(daemon)._runner
        runner.inline = False
        turn(daemon, lambda: runner._process is not None)
        process = runner._process
        assert process is not None
        assert "from now on" in daemon.reload()
        turn(daemon, lambda: daemon.reloading.changes == 1)
        assert process.exitcode == (0 if patience_s else -signal.SIGTERM)
        (done,) = outcomes(daemon)
        assert (done["complete"], done["flags"], len(done["exposures"])) == (True, [], 3)
        assert daemon.reloading.site is None
    finally:
        daemon.stop()
