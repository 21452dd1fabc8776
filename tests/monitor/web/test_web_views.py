"""The views of pages Now, Night, Exposure and Trends in a browser: they draw, they are accessible, and a name out of a header is never more than a name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from web_browser import Opened
from web_host import Served, Writer, serving, web_site
from web_results import NIGHT, result, write_spectra

from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.core.alarms import AlarmNow
from quicklook.core.events import AlarmChanged, PartVerdict, PlotsReady, ProductWritten, QADone, UnitDone
from quicklook.core.keys import Unit
from quicklook.core.plots import Axis, Band, Line, Panel, Plot
from quicklook.core.results import Override, UnitVerdict
from quicklook.core.severity import Severity
from quicklook.core.status import Status
from quicklook.io.folders import exposure_folder
from quicklook.io.plotfiles import save_plots
from quicklook.io.products import write_preproc

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>'
VIEWS = ("", "CCDs", "Fibres", "Spectra", "Exposure", "image", "fibers", "focal", "compare")


def _stored(out: Path, expid: int, noise: list[float | None]) -> None:
    """An exposure of two cameras as its files have it, with an image, spectra, and a plot."""
    unit = Unit(NIGHT, expid)
    folder = exposure_folder(out, "live", unit)
    (folder / "plots").mkdir(parents=True)
    parts = {"r0": Status.ALARM, "r1": Status.NORMAL}
    for camera in parts:
        one = result(expid, camera, noise)
        qas = [q.model_copy(update={"plots": ["level"], "facts": {"target": HOSTILE}}) if q.name == "read_noise" else q for q in one.qas]
        one = one.model_copy(update={"qas": qas, "reasons": [HOSTILE]})
        (folder / f"qa-{camera}-{expid:08d}.json").write_text(one.model_dump_json())
        panel = Panel(x=Axis(label=HOSTILE), y=Axis(label="level", unit="adu"), layers=(Line(x=np.arange(50.0), y=np.arange(50.0), label=HOSTILE),),
                      title=HOSTILE, bands=(Band(low=1, high=40, kind="normal", label="normal"),))  # fmt: skip
        save_plots(folder / "plots" / f"plots-{camera}-{expid:08d}.npz", [Plot(name="level", title=HOSTILE, panels=(panel,))])
    verdict = UnitVerdict(night=NIGHT, expid=expid, tag="live", revision=0, tags={"flavor": "science", "program": HOSTILE}, status=Status.ALARM,
                          reasons=[HOSTILE], parts=parts)  # fmt: skip
    (folder / "verdict.json").write_text(verdict.model_dump_json())
    write_spectra(folder, expid)
    rng = np.random.default_rng(expid)
    pixels = rng.normal(10, 3, (700, 600)).astype(np.float32)
    mask = np.zeros(pixels.shape, np.uint16)
    mask[100:150, 100:150] = 4
    whole = Section(0, 700, 0, 600)
    image = Image(camera="r0", pixels=pixels, ivar=np.ones_like(pixels), mask=mask, amplifiers=(Amplifier(name="A", data=whole, ccd=whole, gain=1.0),),
                  read_noise={"A": 3.0})  # fmt: skip
    taken = Exposure(unit=unit, instrument="bench", flavor="science", exptime=900.0)
    write_preproc(folder / f"preproc-r0-{expid:08d}.fits", image, taken)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Exposures in the journal, with names that mean harm, and others that are on the disk alone."""
    folder = tmp_path_factory.mktemp("views")
    (folder / "out").mkdir()
    site = web_site(folder, ("r0", "r1"))
    writer = Writer(site)
    writer.beat()
    for expid in range(20, 26):
        writer.expose(expid, Status.ALARM if expid % 2 else Status.NORMAL, flavor=HOSTILE, tags={"program": HOSTILE, "object": HOSTILE, "start": HOSTILE})
    now = time.time_ns()
    alarm = AlarmNow(key=HOSTILE, fingerprint="ab0123456789", rule=HOSTILE, state="firing", severity=Severity.ALARM, worst=Severity.ALARM, frame=False,
                     what=HOSTILE, where=HOSTILE, began=now, fired=now, facts={HOSTILE: HOSTILE})  # fmt: skip
    writer.say(AlarmChanged(name="alarm", alarm=alarm))
    for expid, noise in ((5, [2.0, 2.1]), (6, [2.2, 2.0]), (7, [9.0, None])):
        _stored(site.out, expid, noise)
    with serving(site) as made:
        yield made


@pytest.mark.parametrize(("wide", "views"), [(True, VIEWS), (False, ("CCDs", "image", "compare"))], ids=["laptop", "phone in the dark"])
def test_every_view_of_an_exposure_is_drawn_and_accessible(browser: Any, served: Served, wide: bool, views: tuple[str, ...]) -> None:
    opened = Opened(browser, served, wide=wide)
    for view in views:
        page = opened.go(f"/exposure/{NIGHT}/7?camera=r0&view={view}")
        page.locator("#heading", has_text="Exposure 7").wait_for()
        wanted = {"CCDs": ".plot-box .main-svg", "fibers": "#view .main-svg", "focal": "#view .main-svg", "compare": "#view .metrics td", "image": ".viewer canvas"}
        page.locator("#view h3").first.wait_for(state="attached")
        if view == "compare":
            page.get_by_label("exposure, NIGHT/EXPID").fill(f"{NIGHT}/6")
            page.keyboard.press("Enter")
        if view == "CCDs":
            page.locator(".plot-box").first.scroll_into_view_if_needed()   # on a phone it lies below the screen
        if view in wanted:
            page.locator(wanted[view]).first.wait_for(state="attached")
        opened.checked(f"view {view or 'overview'}")
    opened.context.close()


def test_names_out_of_headers_stay_names_on_now_and_night(browser: Any, served: Served) -> None:
    opened = Opened(browser, served)
    page = opened.go("/")
    page.locator("#latest .title", has_text="onerror").wait_for()
    opened.checked("Now")
    page = opened.go("/night")
    page.locator("#rows tr[data-unit]").nth(5).wait_for()
    assert "<script>" in page.locator("#rows tr").first.inner_text()
    opened.checked("Night")
    opened.context.close()


@pytest.mark.parametrize("wide", [True, False], ids=["laptop", "phone in the dark"])
def test_alarms_with_their_report_card(browser: Any, served: Served, wide: bool) -> None:
    opened = Opened(browser, served, wide=wide)
    page = opened.go("/alarms")
    page.locator("#report tbody tr", has_text="nobody has acted on it").wait_for()
    assert "1 alarm (0.03 a day) by 1 rule" in page.locator("#report").inner_text()
    opened.checked("Alarms")
    opened.context.close()


def test_the_table_of_a_night_is_sorted_filtered_and_walked_by_keys(browser: Any, served: Served) -> None:
    opened = Opened(browser, served)
    page = opened.go("/night")
    page.locator("#rows tr[data-unit]").nth(5).wait_for()

    def numbers() -> list[str]:
        return page.locator("#rows td:first-child").all_inner_texts()

    page.get_by_role("button", name="Exposure", exact=True).click()
    assert numbers() == sorted(numbers())
    assert page.locator("th[aria-sort=ascending]").inner_text() == "Exposure"
    page.keyboard.press("Enter")
    assert numbers() == sorted(numbers(), reverse=True)
    page.keyboard.press("/")
    page.keyboard.type("r0=alarm")
    page.locator("#shown", has_text="3 of 6").wait_for()
    assert numbers() == ["25", "23", "21"]
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/exposure/{NIGHT}/23*")
    assert not opened.wrong
    opened.context.close()


def test_from_a_metric_to_its_history_to_its_trend(browser: Any, served: Served) -> None:
    opened = Opened(browser, served)
    page = opened.go(f"/exposure/{NIGHT}/7?camera=r0&view=CCDs")
    page.get_by_role("button", name="history of read_noise", exact=True).click()
    page.locator(".metrics .main-svg").first.wait_for()
    opened.checked("history")
    page.get_by_role("link", name="in Trends").click()
    page.locator("#plot .main-svg").first.wait_for()
    page.locator("#said", has_text="values").wait_for()
    assert page.locator("#first").input_value() == "read_noise"
    page.locator("#second").fill("delta_mag")
    page.locator("#second-where").fill("fiber = 0")
    page.get_by_role("button", name="Show").click()
    page.locator(".legend", has_text="right axis").wait_for()
    opened.checked("Trends")
    page.locator("#first-where").fill("camera ! r0")
    page.get_by_role("button", name="Show").click()
    page.locator("#plot p").first.wait_for()
    opened.context.close()


def test_fibre_by_fibre_by_keys_and_the_worst_first(browser: Any, served: Served) -> None:
    opened = Opened(browser, served)
    page = opened.go(f"/exposure/{NIGHT}/7?camera=r0&view=fibers")
    page.locator("#view h3", has_text="Fibre 0 of r0").wait_for()
    page.keyboard.press("n")
    page.locator("#view h3", has_text="Fibre 1 of r0").wait_for()
    page.keyboard.press("p")
    page.locator("#view h3", has_text="Fibre 0 of r0").wait_for()
    page.get_by_label("order").select_option("delta_mag")
    page.locator("#view h3", has_text="Fibre 3 of r0").wait_for()
    assert "fiber=3" in page.url
    opened.checked("fibre by fibre")
    opened.context.close()


def test_the_image_is_painted_zoomed_and_read_by_keys(browser: Any, served: Served) -> None:
    opened = Opened(browser, served)
    page = opened.go(f"/exposure/{NIGHT}/7?camera=r0&view=image")
    canvas = page.locator(".viewer canvas")
    canvas.wait_for()
    # from a copy: who reads the canvas of the page often is warned by the browser
    colours = """() => { const c = document.querySelector('.viewer canvas'); window.copy ??= document.createElement('canvas');
        if (!c.width || !c.height) return 0;
        copy.width = c.width; copy.height = c.height;
        const g = copy.getContext('2d', { willReadFrequently: true }); g.drawImage(c, 0, 0);
        const d = g.getImageData(0, 0, c.width, c.height).data;
        const seen = new Set(); for (let i = 0; i < d.length; i += 404) seen.add(d[i] * 65536 + d[i + 1] * 256 + d[i + 2]); return seen.size; }"""
    page.wait_for_function(f"() => ({colours})() > 20")  # it is painted
    canvas.focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.locator(".readout", has_text="electron").wait_for()
    assert "amplifier A" in page.locator(".readout").inner_text()
    assert page.locator("label", has_text="DEAD").count() == 1
    opened.checked("image")
    opened.context.close()


def test_what_is_looked_at_stays_where_it_is_while_files_of_the_exposure_are_written(browser: Any, following: tuple[Served, Writer, Unit]) -> None:
    served, writer, unit = following
    opened = Opened(browser, served)
    page = opened.go(f"/exposure/{NIGHT}/{unit.expid}?camera=r0&view=CCDs")
    page.locator("article.qa").nth(29).wait_for(state="attached")
    page.locator("#qa-metric_29").scroll_into_view_if_needed()
    page.evaluate("() => { window.card = document.querySelector('#qa-metric_29'); window.was = scrollY; }")
    assert page.evaluate("() => scrollY") > 500
    page.locator("#qa-metric_29 .plot-box", has_text="Plot late:").wait_for()   # is not there yet
    folder = exposure_folder(writer.site.out, "live", unit)
    (folder / "plots").mkdir(parents=True)
    path = folder / "plots" / f"plots-r0-{unit.expid:08d}.npz"
    panel = Panel(x=Axis(label="x"), y=Axis(label="y", unit="adu"), layers=(Line(x=np.arange(9.0), y=np.arange(9.0)),))
    save_plots(path, [Plot(name="late", title="late", panels=(panel,))])
    stored = str(path.relative_to(writer.site.out))
    writer.say(PartVerdict(status=Status.NORMAL, reasons=["again"], measured=30, expected=30, seconds=0.3), unit, "r0")
    writer.say(PlotsReady(path=stored, names=["late"], statuses=[None]), unit, "r0")
    page.locator("#qa-metric_29 .plot-box .main-svg").first.wait_for()          # fetched without being scrolled to
    assert page.evaluate("() => window.card === document.querySelector('#qa-metric_29')"), "the view was made anew"
    assert page.evaluate("() => Math.abs(scrollY - window.was)") < 5, "the page has jumped"
    page.get_by_role("tab", name="Overview").click()
    page.get_by_role("tab", name="CCDs").focus()
    for n in range(3):
        writer.say(ProductWritten(name=f"product{n}", path=stored, sha256="0" * 64, size=1), unit, "r0")
    page.locator("#view li", has_text="product2").wait_for()
    assert page.evaluate("() => document.activeElement.id") == "tab-CCDs", "the focus was lost"
    assert not [w for w in opened.wrong if "404" not in w], "a plot that is not there yet is asked for"
    opened.context.close()


def test_a_verdict_that_somebody_has_said_is_marked_so(browser: Any, following: tuple[Served, Writer, Unit]) -> None:
    served, writer, unit = following
    said = Override(status=Status.NORMAL, was=Status.ALARM, by="somebody", reason="I know it", time=time.time_ns())
    done = {"night": unit.night, "expid": unit.expid, "tag": "live", "revision": 0, "status": Status.NORMAL, "parts": {"r0": Status.ALARM}}
    writer.say(UnitDone(**done, reasons=["NORMAL: by somebody"], overrides=[said]), unit)
    opened = Opened(browser, served)
    for path, place in (("/", "#latest .title"), (f"/exposure/{NIGHT}/{unit.expid}", "#heading")):
        page = opened.go(path)
        page.locator(place, has_text="overridden by hand").wait_for()
    opened.checked("overridden")
    opened.context.close()


@pytest.fixture
def following(tmp_path: Path) -> Iterator[tuple[Served, Writer, Unit]]:
    """An exposure with thirty QAs, whose last plot is not there yet."""
    (tmp_path / "out").mkdir()
    writer = Writer(web_site(tmp_path, ("r0",)))
    writer.beat()
    unit = writer.expose(30)
    for n in range(30):
        writer.say(QADone(name=f"metric_{n}", step="preproc", group="ccds", status=Status.NORMAL, seconds=0.1, plots=["late"] if n == 29 else []), unit, "r0")
    with serving(writer.site) as made:
        yield made, writer, unit
