"""The pictures of the live page in docs/images: a small simulated night, watched by the real daemon, and a browser that looks at it.

By hand: python docs/make_screenshots.py. It takes some minutes, and needs /usr/bin/chromium.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# the root first: below tests are folders named as our packages
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "browser"), str(ROOT / "tests")]

from chromium import ARGUMENTS, CHROMIUM  # noqa: E402
from web_night import WebNight, until  # noqa: E402

IMAGES = ROOT / "docs" / "images"
WIDE, PHONE = (1280, 860), (390, 800)
MOST_BYTES = 150_000


def main() -> None:
    """Make all of them."""
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        night = WebNight(Path(name))
        night.prepare(10)
        night.start()
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        try:
            page = _open(browser, night, WIDE)
            until(lambda: _workers(page), 900, "workers that are warm")
            faulty = next(i for i, p in enumerate(night.plan) if p.faults)
            for number in [n for n in range(len(night.plan)) if n != faulty] + [faulty]:
                unit = night.expose(number)
                until(lambda unit=unit: _judged(page, unit), 120, f"the verdict of {unit}")  # type: ignore[misc]
            time.sleep(30.0)  # plots are drawn, housekeeping has a past
            _all(browser, night, unit)
        finally:
            browser.close()
            night.stop()
    for path in sorted(IMAGES.glob("page-*.png")):
        sys.stdout.write(f"{path.name}: {path.stat().st_size / 1000:.0f} kB\n")


def _open(browser: Any, night: WebNight, size: tuple[int, int], scheme: str = "light") -> Any:
    page = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme).new_page()

    def reached() -> bool:
        try:
            page.goto(night.url)
        except Exception:
            return False
        return True

    until(reached, 300, "the page of the daemon")
    page.wait_for_selector("html[data-link=live]", timeout=120_000)
    return page


def _asked(page: Any, path: str) -> Any:
    return page.evaluate("(path) => fetch(path).then((r) => r.json())", f"/api/v1{path}")


def _workers(page: Any) -> int:
    beat = _asked(page, "/state?units=0")["state"]["heartbeat"]
    return int(beat["workers"]) if beat else 0


def _judged(page: Any, unit: str) -> bool:
    night, expid = unit.split("/")
    return bool(_asked(page, f"/exposures/{int(night)}/{int(expid)}").get("verdict"))


def _all(browser: Any, night: WebNight, unit: str) -> None:
    where, expid = unit.split("/")
    exposure = f"/exposure/{where}/{int(expid)}"
    wide, phone = _open(browser, night, WIDE), _open(browser, night, PHONE, "dark")
    for name, path in (("now", "/"), ("night", "/night"), ("exposure", exposure), ("trends", "/trends"), ("housekeeping", "/housekeeping"),
                       ("alarms", "/alarms"), ("system", "/system")):  # fmt: skip
        _shoot(wide, night.url + path, f"page-{name}")
    _shoot(phone, f"{night.url}/", "page-now-phone")
    wide.goto(f"{night.url}{exposure}")
    wide.get_by_role("tab", name="CCDs").click()
    wide.locator(".plot-box").first.scroll_into_view_if_needed()
    wide.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=60_000)
    wide.wait_for_timeout(1500)
    _save(wide, "page-plots")


def _shoot(page: Any, url: str, name: str) -> None:
    page.goto(url)
    page.wait_for_selector("html[data-link=live]")
    page.wait_for_timeout(3000)
    _save(page, name)


def _save(page: Any, name: str) -> None:
    """With as few colours as a page has: small, and sharp."""
    from io import BytesIO

    from PIL import Image

    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    path = IMAGES / f"{name}.png"
    picture.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        picture.quantize(48, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
