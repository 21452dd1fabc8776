"""What somebody has zoomed into stays so when it is drawn anew; plots by keyboard; the curve of a channel of housekeeping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from web_browser import Opened
from web_host import Served, Writer, serving, web_site
from web_results import NIGHT, result, write_spectra

from monitor.hk.store import HkStore
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.core.events import PartVerdict, ProductWritten
from quicklook.core.housekeeping import Batch
from quicklook.core.keys import Unit
from quicklook.core.status import Status
from quicklook.io.folders import exposure_folder
from quicklook.io.products import write_preproc

RANGES = "() => ['xaxis', 'yaxis'].map((a) => document.querySelector('.js-plotly-plot')._fullLayout[a].range)"
HK: dict[str, Any] = {
    "sources": {"roe": {"plugin": "text", "params": {"path": "roe.txt"}}},
    "channels": [{"name": "temp_*", "unit": "degC"}],
    "limits": [{"name": "cold", "channels": "temp_*", "unit": "degC", "performance": [-125, -115], "reason": "dark", "action": "cool"}],
}


def _image(folder: Path, expid: int) -> Path:
    pixels = np.random.default_rng(expid).normal(10, 3, (700, 600)).astype(np.float32)
    amp = Amplifier(name="A", data=(whole := Section(0, 700, 0, 600)), ccd=whole, gain=1.0)
    image = Image(camera="r0", pixels=pixels, ivar=np.ones_like(pixels), mask=np.zeros(pixels.shape, np.uint16), amplifiers=(amp,), read_noise={"A": 3.0})
    path = folder / f"preproc-r0-{expid:08d}.fits"
    write_preproc(path, image, Exposure(unit=Unit(NIGHT, expid), instrument="bench", flavor="science", exptime=900.0))
    return path


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Writer, Unit]]:
    """An exposure with an image and spectra, as a daemon has told of it, and a channel of housekeeping."""
    folder = tmp_path_factory.mktemp("zoom")
    (folder / "out").mkdir()
    (folder / "hk.yaml").write_text(yaml.safe_dump(HK))
    writer = Writer(web_site(folder, ("r0",), housekeeping={"config": str(folder / "hk.yaml")}))
    store = HkStore(writer.site.out / "hk.sqlite", writing=True)
    times = time.time() - np.arange(600.0, 0.0, -10.0)
    store.append("roe", [Batch(source="roe", times=times, channels=("temp_1",), values=-120.0 + np.sin(times)[:, None])], {})
    store.close()
    writer.beat()
    unit = writer.expose(7)
    stored = exposure_folder(writer.site.out, "live", unit)
    stored.mkdir(parents=True)
    write_spectra(stored, 7)
    (stored / "qa-r0-00000007.json").write_text(result(7, "r0", [2.0, 2.1]).model_dump_json())
    for path in (_image(stored, 7), stored / "frame-r0-00000007.fits", stored / "sky-r0-00000007.fits"):
        _told(writer, unit, path)
    with serving(writer.site) as made:
        yield made, writer, unit


def _told(writer: Writer, unit: Unit, path: Path) -> None:
    name = path.name.partition("-")[0]
    writer.say(ProductWritten(name=name, path=str(path.relative_to(writer.site.out)), sha256=f"{time.time_ns():064d}", size=path.stat().st_size), unit, "r0")


def _again(writer: Writer, unit: Unit, path: Path) -> None:
    """The file is written again, and the camera is judged again."""
    _told(writer, unit, path)
    writer.say(PartVerdict(status=Status.NORMAL, reasons=[f"again {time.time_ns()}"], measured=1, expected=1, seconds=0.3), unit, "r0")


def _shows(condition: str) -> str:
    """Whether the plot that is drawn shows such ranges."""
    return f"""(given) => {{ if (!document.querySelector('.js-plotly-plot .main-svg')) return false;
        const [x, y] = ({RANGES})().map((r) => JSON.stringify(r)), wanted = given.map((r) => JSON.stringify(r)); return {condition}; }}"""


def test_a_spectrum_is_zoomed_by_keys_and_stays_so(browser: Any, followed: tuple[Served, Writer, Unit]) -> None:
    served, writer, unit = followed
    opened = Opened(browser, served)
    page = opened.go(f"/exposure/{NIGHT}/7?camera=r0&view=fibers")
    page.locator("#view .main-svg").first.wait_for()
    whole = page.evaluate(RANGES)
    page.locator(".plot").focus()
    assert page.locator(".keys").is_visible(), "which keys there are stands below the plot"
    near = whole
    for key in ("+", "+", "ArrowRight", "Shift+ArrowUp"):
        page.keyboard.press(key)
        page.wait_for_function(f"(was) => JSON.stringify(({RANGES})()) !== JSON.stringify(was)", arg=near)
        near = page.evaluate(RANGES)
    assert near[0][1] - near[0][0] < (whole[0][1] - whole[0][0]) / 2
    assert near[1][1] - near[1][0] < (whole[1][1] - whole[1][0]) / 3

    page.evaluate("() => { window.was = document.querySelector('.js-plotly-plot'); }")
    path = exposure_folder(writer.site.out, "live", unit) / "frame-r0-00000007.fits"
    _again(writer, unit, path)
    page.wait_for_function("() => { const now = document.querySelector('.js-plotly-plot .main-svg'); return now && !window.was.contains(now); }")
    assert page.evaluate(RANGES) == near, "a new file has undone the zoom"
    page.keyboard.press("n")
    page.locator("#view h3", has_text="Fibre 1 of r0").wait_for()
    page.wait_for_function(_shows("x === wanted[0] && y !== wanted[1]"), arg=near)   # the same wavelengths of the next fibre, and all of its flux
    page.keyboard.press("p")
    page.locator("#view h3", has_text="Fibre 0 of r0").wait_for()
    page.wait_for_function(_shows("x === wanted[0] && y === wanted[1]"), arg=near)
    page.locator(".plot").focus()
    page.keyboard.press("0")
    page.wait_for_function(_shows("x === wanted[0] && y === wanted[1]"), arg=whole)
    assert not opened.wrong
    opened.context.close()


def test_the_buttons_of_a_plot_are_reached_by_keys_and_none_sends_it_away(browser: Any, followed: tuple[Served, Writer, Unit]) -> None:
    opened = Opened(browser, followed[0])
    page = opened.go(f"/exposure/{NIGHT}/7?camera=r0&view=fibers")
    page.locator("#view .main-svg").first.wait_for()
    names = [b.get_attribute("data-title") or "" for b in page.locator(".modebar-btn").all()]
    assert "Zoom in" in names
    assert not [n for n in names if any(word in n.lower() for word in ("share", "cloud", "edit"))], names
    page.locator(".plot").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className").startswith("modebar-btn")
    page.locator(".modebar").evaluate("(bar) => Promise.all(bar.getAnimations().map((a) => a.finished))")
    assert page.evaluate("() => getComputedStyle(document.querySelector('.modebar')).opacity") == "1"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("() => document.activeElement.dataset.title") == names[1]
    page.keyboard.press("Tab")
    assert not page.evaluate("() => document.activeElement.className").startswith("modebar-btn"), "one stop for all of them"
    opened.checked("plot")
    opened.context.close()


def test_an_image_stays_where_somebody_is_in_it(browser: Any, followed: tuple[Served, Writer, Unit]) -> None:
    served, writer, unit = followed
    opened = Opened(browser, served)
    page = opened.go(f"/exposure/{NIGHT}/7?camera=r0&view=image")
    canvas = page.locator(".viewer canvas")
    canvas.wait_for()
    canvas.focus()
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    page.evaluate("""() => { document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowUp', bubbles: true }));
        document.querySelector('.readout').textContent = ''; }""")
    page.locator(".readout", has_text="amplifier A").wait_for()  # of the last key, for what was asked before it is not shown any more
    where = page.locator(".readout").inner_text().partition(":")[0]
    page.evaluate("() => { window.was = document.querySelector('.viewer canvas'); }")
    _again(writer, unit, _image(exposure_folder(writer.site.out, "live", unit), 7))
    page.wait_for_function("() => { const now = document.querySelector('.viewer canvas'); return now && now !== window.was; }")
    canvas.focus()
    page.keyboard.press("m")
    page.locator(".readout", has_text=f"{where}:").wait_for()
    assert not page.get_by_label("mask", exact=True).is_checked(), "the box follows the key"
    page.keyboard.press("ArrowLeft")
    page.locator(".readout:not(:empty)", has_not_text=f"{where}:").wait_for()
    assert not opened.wrong
    opened.context.close()


@pytest.mark.parametrize("wide", [True, False], ids=["laptop", "phone in the dark"])
def test_a_channel_opens_with_its_curve(browser: Any, followed: tuple[Served, Writer, Unit], wide: bool) -> None:
    opened = Opened(browser, followed[0], wide=wide)
    page = opened.go("/housekeeping")
    page.get_by_role("button", name="temp_1").click()
    page.locator("#curve .main-svg").first.wait_for()
    assert page.locator("#curve .ytitle").inner_html().startswith("temp_1 [degC]")
    page.locator("#limits td", has_text="normal -125 to -115 degC").wait_for()
    opened.checked("a channel")
    opened.context.close()


def test_now_and_exposure_say_what_was_found_in_the_same_order(browser: Any, followed: tuple[Served, Writer, Unit]) -> None:
    opened = Opened(browser, followed[0])
    found = []
    for path, place in (("/", "#latest"), (f"/exposure/{NIGHT}/7", "#found")):
        page = opened.go(path)
        page.locator(f"{place} .decision").wait_for()
        found.append(page.locator(f"{place} .decision, {place} > .reasons").evaluate_all("(all) => all.map((e) => e.innerText)"))
    assert found[0] == found[1]
    assert found[0][0].startswith("● Go on"), "first what to do"
    assert found[0][1] == "NORMAL: so", "then why"
    opened.context.close()
