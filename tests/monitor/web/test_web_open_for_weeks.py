"""Pages that stay open: what cannot be fetched anew is told and fetched later, and what somebody is about to press does not move away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_browser import Opened
from web_host import NIGHT, Served, Writer, serving, web_site

from quicklook.core.alarms import AlarmNow
from quicklook.core.events import AlarmChanged, UnitDone
from quicklook.core.severity import Severity
from quicklook.core.status import Status
from quicklook.service.hosting import nights
from quicklook.service.hosting.host import JournalHost
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import journal_path, take_lock
from quicklook.service.verdicts.concluding import conclude_anew

CAMERAS = tuple(f"{arm}{n}" for n in range(10) for arm in "brz")
REFUSED = {"error": "BadData", "message": "this is a fault of the program", "what_next": ""}


def _alarm(writer: Writer, key: str, state: str = "firing", worst: Severity = Severity.ALARM, folded: str = "") -> None:
    now = time.time_ns()
    alarm = AlarmNow(key=key, fingerprint=f"{key.replace('/', '')}0001", rule=key, state=state, severity=worst, worst=worst, frame=False, what=f"what of {key}",
                     facts={"fact": key}, began=now, fired=now, folded=folded)  # fmt: skip
    writer.say(AlarmChanged(name=key, alarm=alarm))


@pytest.fixture
def made(tmp_path: Path) -> Iterator[tuple[Served, Writer]]:
    """An empty night of thirty cameras, with one alarm."""
    (tmp_path / "out").mkdir()
    writer = Writer(web_site(tmp_path, CAMERAS, instrument="desi"))
    writer.beat(sinks={"alarms": 0})
    _alarm(writer, "amp/1")
    with serving(writer.site) as served:
        yield served, writer


def test_what_the_server_refuses_is_told_until_it_is_there_again(browser: Any, made: tuple[Served, Writer]) -> None:
    served, writer = made
    opened = Opened(browser, served)
    page = opened.go("/alarms")
    page.locator("#standing article", has_text="amp/1").wait_for()
    page.route("**/api/v1/alarms?past=200", lambda route: route.fulfill(status=500, json=REFUSED))
    _alarm(writer, "amp/2")
    page.locator("#stale", has_text="could not be renewed: this is a fault of the program").wait_for()
    page.unroute("**/api/v1/alarms?past=200")
    page.locator("#standing article", has_text="amp/2").wait_for()  # though no further event comes
    page.locator("#stale").wait_for(state="hidden")
    opened.context.close()


def test_a_daemon_that_is_silent_is_not_said_to_live(browser: Any, made: tuple[Served, Writer]) -> None:
    served, writer = made
    with take_lock(writer.site.out):
        opened = Opened(browser, served)
        page = opened.go("/system")
        writer.beat(sinks={"alarms": 0})
        page.locator("#daemon .st-NORMAL", has_text="lives").wait_for()
        page.locator("#daemon .st-STALE", has_text="silent").wait_for()  # some seconds later, without any event
        opened.checked("System")
        opened.context.close()


def test_a_page_that_was_refused_once_comes_back(browser: Any, made: tuple[Served, Writer]) -> None:
    served, writer = made
    writer.expose(7)
    opened = Opened(browser, served)
    opened.page.route("**/api/v1/about", lambda route: route.fulfill(status=503, json=REFUSED), times=2)
    for path, place in (("/night", "#rows tr[data-unit]"), (f"/exposure/{NIGHT}/7", "#heading .st-NORMAL")):
        opened.go(path).locator(place).first.wait_for()
        opened.page.route("**/api/v1/about", lambda route: route.fulfill(status=503, json=REFUSED), times=2)
    opened.context.close()


def test_an_alarm_that_comes_moves_nothing_away(browser: Any, made: tuple[Served, Writer]) -> None:
    served, writer = made
    opened = Opened(browser, served)
    page = opened.go("/alarms")
    page.locator("#standing details").click()
    mine = page.get_by_role("button", name="Acknowledge what of amp/1")
    mine.focus()
    _alarm(writer, "amp/0", worst=Severity.CRITICAL)
    _alarm(writer, "frame/1", folded="amp/1")
    _alarm(writer, "old/1", "resolved", worst=Severity.CRITICAL)
    page.locator("#standing article", has_text="old/1").wait_for()
    page.locator("#standing article.folded", has_text="frame/1").wait_for()
    assert page.locator("#standing article").evaluate_all("all => all.map((a) => a.dataset.key)") == ["amp/0", "amp/1", "frame/1", "old/1"]
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Acknowledge what of amp/1"
    assert page.locator("#standing details[open]").count() == 1
    assert page.locator("#standing article", has_text="amp/0").locator(".st-ALARM", has_text="CRITICAL").count() == 1
    assert page.locator("#standing article", has_text="old/1").locator(".st-NORMAL").count() == 0, "it may be over, which is not good"
    opened.checked("Alarms")
    opened.context.close()


@pytest.mark.parametrize("wide", [True, False], ids=["laptop", "phone in the dark"])
def test_a_night_of_thirty_cameras_fits(browser: Any, made: tuple[Served, Writer], wide: bool) -> None:
    served, writer = made
    unit = writer.expose(7, Status.ALARM, tags={"start": "2022-01-02T03:04:05"})
    parts = dict.fromkeys(CAMERAS, Status.NORMAL) | {"r3": Status.ALARM, "z9": Status.UNKNOWN}
    done = {"night": unit.night, "expid": unit.expid, "tag": "live", "revision": 0, "status": Status.ALARM, "parts": parts}
    writer.say(UnitDone(**done, reasons=["ALARM: r3: " + "very long, " * 30]), unit)
    opened = Opened(browser, served, wide=wide)
    page = opened.go("/night")
    strip = page.locator("#rows .cams").first
    strip.wait_for()
    assert strip.get_attribute("aria-label") == "r3 ALARM, z9 UNKNOWN"
    ends = page.locator("#rows .cams .run").evaluate_all("all => all.map((i) => Math.round(i.getBoundingClientRect().width / 10))")
    assert ends == [10, 3, 6, 9], "ten cells each, but for the two that are not NORMAL"
    sideways = page.locator("#scroll").evaluate("(s) => s.scrollWidth - s.clientWidth")
    assert sideways <= 0 or not wide
    opened.checked("Night")
    opened.context.close()


def test_the_table_goes_on_with_the_next_night(browser: Any, made: tuple[Served, Writer], monkeypatch: pytest.MonkeyPatch) -> None:
    served, writer = made
    writer.expose(7)
    follows, stays = Opened(browser, served), Opened(browser, served)
    for opened, path in ((follows, "/night"), (stays, f"/night?night={NIGHT}")):
        opened.go(path).locator(f'#rows tr[data-unit="{NIGHT}/00000007"]').wait_for()
    monkeypatch.setattr("web_host.NIGHT", NIGHT + 1)
    writer.expose(8)
    follows.page.locator(f'#rows tr[data-unit="{NIGHT + 1}/00000008"]').wait_for()
    assert follows.page.locator("#rows tr").count() == 1
    stays.page.locator("#night option", has_text=str(NIGHT + 1)).wait_for(state="attached")
    assert stays.page.locator("#rows a").all_inner_texts() == ["7"]
    for opened in (follows, stays):
        assert not opened.wrong
        opened.context.close()


def test_cameras_that_come_later_have_their_places_in_all_rows(browser: Any, tmp_path: Path) -> None:
    """Where nobody has said which cameras there are."""
    (tmp_path / "out").mkdir()
    writer = Writer(web_site(tmp_path, ()))
    writer.beat()

    def judged(expid: int, *cameras: str) -> None:
        unit = writer.expose(expid)
        done = {"night": unit.night, "expid": unit.expid, "tag": "live", "revision": 0, "status": Status.NORMAL, "reasons": []}
        writer.say(UnitDone(**done, parts=dict.fromkeys(cameras, Status.NORMAL)), unit)

    judged(7, "x1")
    with serving(writer.site) as served:
        opened = Opened(browser, served)
        page = opened.go("/night")
        marks = page.locator(f'#rows tr[data-unit="{NIGHT}/00000007"] .cams i')
        marks.first.wait_for()
        assert marks.count() == 1
        judged(8, "a1", "x1")
        page.locator(f'#rows tr[data-unit="{NIGHT}/00000008"] .cams i').nth(2).wait_for()
        assert [m.get_attribute("class") for m in marks.all()] == ["o", "gap", "run"]
        opened.context.close()


def test_a_verdict_more_does_not_count_all_the_nights_before_it(made: tuple[Served, Writer], monkeypatch: pytest.MonkeyPatch) -> None:
    served, writer = made
    counted, count = list[str](), nights._statuses
    monkeypatch.setattr(nights, "_statuses", lambda connection, night, tag: (counted.append(night), count(connection, night, tag))[1])
    for night in (20220101, 20220102, 20220103):
        monkeypatch.setattr("web_host.NIGHT", night)
        writer.expose(7)
    assert [n.statuses for n in served.host.nights()] == [{"NORMAL": 1}] * 3
    writer.expose(8, Status.ALARM)
    assert [n.statuses for n in served.host.nights()] == [{"NORMAL": 1, "ALARM": 1}, {"NORMAL": 1}, {"NORMAL": 1}]
    assert sorted(counted) == ["20220101", "20220102", "20220103", "20220103"]


def test_what_another_journal_said_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    site = web_site(tmp_path)
    writer = Writer(site)
    writer.expose(7, Status.ALARM)
    host = JournalHost(site)
    try:
        assert [u.status for u in host.night(NIGHT)] == [Status.ALARM]
        writer.journal.close()
        for path in journal_path(site.out).parent.glob("journal.sqlite*"):
            path.unlink()
        Writer(site).expose(7)  # events with the same numbers
        assert [(u.status, u.parts) for u in host.night(NIGHT)] == [(Status.NORMAL, {"b0": "NORMAL", "r0": "NORMAL"})]
        assert host.nights()[0].statuses == {"NORMAL": 1}
    finally:
        host.close()


def test_the_receipt_of_a_verdict_is_not_shown_while_it_is_judged_anew(made: tuple[Served, Writer]) -> None:
    served, writer = made
    unit = writer.expose(7)
    assert served.host.exposure(unit).receipt
    with writer.journal.transaction() as connection:
        row = jobs.latest_unit(connection, unit, "live")
        assert row is not None
        assert conclude_anew(connection, row, writer.site.out)
    now = served.host.exposure(unit)
    assert (now.revision, now.verdict, now.receipt, now.seconds_to_verdict) == (1, None, {}, None)
