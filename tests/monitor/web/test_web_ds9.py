"""The action of page Exposure that sends a frame to DS9, with a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ds9viewer import ask_ds9, needs_ds9, own_ds9
from web_host import Served, Writer, serving, web_site
from web_results import write_spectra

from quicklook.core.keys import Unit
from quicklook.io.folders import exposure_folder
from quicklook.sim import plan_night, sim_instruments, write_exposure

NIGHT, CAMERAS = 20220101, ("r0",)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page of a site with one raw file, and a frame that was made under another tag."""
    folder: Path = tmp_path_factory.mktemp("ds9")
    write_exposure(folder, plan_night(NIGHT, 1, cameras=CAMERAS, seed=7)[0], sim_instruments(CAMERAS, scale="tiny", seed=7))
    (folder / "out").mkdir()
    again = exposure_folder(folder / "out", "again", Unit(NIGHT, 100))
    again.mkdir(parents=True)
    write_spectra(again, 100)
    with own_ds9(tmp_path_factory.mktemp("xpa")) as viewer:
        site = web_site(folder, CAMERAS, instrument="desi", raw=str(folder / "raw"), web={"ds9": viewer})
        Writer(site).expose(100)
        with serving(site) as served:
            yield served


def _show(page: Served, **args: str) -> tuple[int, dict[str, str]]:
    said = page.post("/actions/show", {"args": {"unit": f"{NIGHT}/00000100", **args}, "by": "somebody"})
    return said.status, said.json


@needs_ds9
def test_a_frame_is_sent_from_the_page(page: Served) -> None:
    viewer = page.host._site.file.web.ds9
    status, said = _show(page, part="r0", product="raw")
    assert (status, said["said"]) == (200, "DS9 shows r0-00000100")
    assert ask_ds9(viewer, "fits", "header", "keyword", "OBJECT") == "r0-00000100"
    assert float(ask_ds9(viewer, "data", "image", "20", "20", "1", "1", "yes").split()[-1]) > 500, "the bias of the raw frame"


@needs_ds9
def test_a_product_is_that_of_the_tag_that_is_looked_at(page: Served) -> None:
    status, said = _show(page, part="r0", product="frame")
    assert (status, said["error"]) == (422, "BadData"), "nothing is stored under the live tag"
    assert _show(page, part="r0", product="frame", tag="again")[0] == 200
    assert ask_ds9(page.host._site.file.web.ds9, "fits", "header", "keyword", "OBJECT") == "frame-r0-00000100"


@needs_ds9
def test_what_is_wrong_is_said(page: Served) -> None:
    assert _show(page, part="r0", product="../x")[0] == 400
    assert _show(page, part="r0", tag="../../etc")[0] == 400
    assert _show(page, part="b9", product="raw")[0] == 422
    assert page.post("/actions/show", {"args": {"unit": f"{NIGHT}/00000100"}, "by": "somebody"}, token="wrong").status == 401
