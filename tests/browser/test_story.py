"""A night as a person sees it: followed live, drilled into, an alarm acknowledged, the daemon killed and back; every page accessible."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from watched import Watched
from web_night import WebNight, until

PAGES = ("/", "/night", "/exposure/latest", "/trends", "/housekeeping", "/alarms", "/system")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebNight]:
    """The site, its daemon at work and its workers warm."""
    made = WebNight(tmp_path_factory.mktemp("night"))
    made.prepare()
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def shown(browser: Any, night: WebNight) -> Watched:
    """Page Now, opened once and never loaded again."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    watched = Watched(context.new_page())
    until(lambda: _opened(watched, night), 240, "the page of the daemon")
    return watched


def _opened(watched: Watched, night: WebNight) -> bool:
    from playwright.sync_api import Error

    try:
        watched.page.goto(night.url, wait_until="load")
    except Error:
        return False
    return True


def _faulty(night: WebNight) -> int:
    return next(i for i, p in enumerate(night.plan) if p.faults)


def _axe(page: Any, where: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    told = [f"{v['id']}: {v['help']}; {[n['html'][:160] for n in v['nodes'][:3]]}" for v in found]
    assert not told, f"{where}: " + "\n".join(told)


def test_the_story_of_a_night(shown: Watched, night: WebNight) -> None:
    page = shown.page
    page.evaluate("window.neverLoadedAgain = true")
    page.wait_for_selector("html[data-link=live]", timeout=240_000)
    until(lambda: _warm(page), 240, "workers that are warm")
    shown.errors.clear()

    # the page follows the night without being loaded again
    night.expose(0)
    page.locator("#latest").get_by_text("NORMAL").first.wait_for(timeout=120_000)
    number = _faulty(night)
    unit = night.expose(number)
    expid = str(int(unit.split("/")[1]))
    link = page.locator("#latest").get_by_role("link", name=expid, exact=True)
    link.wait_for(timeout=120_000)
    page.locator("#latest .st-ALARM").first.wait_for(timeout=120_000)
    page.locator("#alarm-count.alarming").wait_for(timeout=120_000)
    assert page.evaluate("window.neverLoadedAgain"), "the page was loaded again"

    # from Now to a plot
    link.click()
    page.wait_for_url(f"**/exposure/*/{expid}*")
    page.get_by_role("tab", name="CCDs").click()
    until(lambda: _plotted(page), 60, "a plot of the exposure")
    page.get_by_role("tab", name="Image").click()
    page.locator(".viewer canvas").wait_for()   # of the raw file: this site stores no preprocessed images

    _acknowledge(shown, night)
    assert not shown.faults()
    _killed_and_back(shown, night)
    assert not shown.faults(server_was_down=True)


def _plotted(page: Any) -> bool:
    """Plots are drawn as they come into view."""
    page.evaluate("document.querySelector('.plot-box')?.scrollIntoView()")
    page.wait_for_timeout(300)
    return page.locator(".js-plotly-plot .main-svg").count() > 0


def _warm(page: Any) -> bool:
    told = page.evaluate("fetch('/api/v1/state?units=0').then((r) => r.json()).then((s) => s.state.heartbeat ? s.state.heartbeat.workers : 0)")
    return bool(told)


def _acknowledge(shown: Watched, night: WebNight) -> None:
    """An exposure that is not good stands as an alarm until somebody knows of it."""
    page = shown.page
    page.get_by_role("navigation").get_by_role("link", name="Alarms").click()
    alarm = page.locator("article.alarm", has_text="dead_amp").first
    alarm.wait_for(timeout=120_000)
    key = alarm.get_attribute("data-key")
    mine = page.locator(f'article.alarm[data-key="{key}"]')
    mine.get_by_role("button", name="Acknowledge").click()
    page.locator("#ask-dialog").get_by_label("What is done").fill("I look at the amplifier")
    page.locator("#ask-ok").click()
    page.locator("#token-name").fill("observer")
    page.locator("#token-text").fill(night.token)
    page.locator("#token-dialog").get_by_role("button", name="Use").click()
    mine.wait_for(state="detached", timeout=120_000)  # what an exposure has raised is over when somebody knows of it
    page.locator("#past tr", has_text="observer, after").first.wait_for(timeout=120_000)
    assert night.token not in page.content()


def _killed_and_back(shown: Watched, night: WebNight) -> None:
    page = shown.page
    page.get_by_role("navigation").get_by_role("link", name="Now").click()
    page.wait_for_selector("html[data-link=live]")
    page.evaluate("window.stillTheSame = true")
    night.kill()
    page.locator("#stale:visible").wait_for(timeout=120_000)
    assert "STALE" in page.locator("#stale").inner_text()
    night.start()
    page.wait_for_selector("html[data-link=live]", timeout=240_000)
    page.locator("#stale").wait_for(state="hidden")
    assert page.evaluate("window.stillTheSame"), "it recovers by itself"
    page.locator("#latest .st-ALARM").first.wait_for(timeout=120_000)


@pytest.mark.parametrize("look", ["light", "dark phone"])
def test_every_page_is_accessible_and_without_error(browser: Any, night: WebNight, shown: Watched, look: str) -> None:
    wide = look == "light"
    context = browser.new_context(
        viewport={"width": 1280 if wide else 390, "height": 850}, color_scheme="light" if wide else "dark", reduced_motion="reduce"
    )
    context.set_default_timeout(60_000)
    watched = Watched(context.new_page())
    for path in PAGES:
        watched.page.goto(night.url + path)
        watched.page.wait_for_selector("html[data-link=live]")
        watched.page.wait_for_load_state("load")
        watched.page.wait_for_timeout(400)
        _axe(watched.page, f"{path} ({look})")
        if not wide:
            width = watched.page.evaluate("document.documentElement.scrollWidth")
            assert width <= 391, f"{path} is {width} px wide on a phone"
        if folder := os.environ.get("QUICKLOOK_SHOTS"):
            watched.page.screenshot(path=str(Path(folder) / f"{path.strip('/').replace('/', '-') or 'now'}-{look.replace(' ', '-')}.png"), full_page=True)
    assert not watched.faults()
    context.close()


def test_by_keyboard_alone(browser: Any, night: WebNight, shown: Watched) -> None:
    context = browser.new_context()
    watched = Watched(context.new_page())
    page = watched.page
    page.goto(night.url)
    page.wait_for_selector("html[data-link=live]")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the contents"
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url("**/alarms")
    page.wait_for_selector("html[data-link=live]")
    page.keyboard.press("g")
    page.keyboard.press("n")
    page.wait_for_url(night.url + "/")
    assert not watched.faults()
    context.close()
