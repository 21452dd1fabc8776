"""What the sink draws beside the plots of QAs: configured figures of stored results, and contact sheets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.render.sink import RenderParams, RenderSink
from quicklook.core.errors import BadConfig
from quicklook.core.events import Draft, Event, Payload, PlotsReady, ProductWritten, UnitDone
from quicklook.core.judge import Judge
from quicklook.core.limits import LimitSet
from quicklook.core.metrics import Measures, measured
from quicklook.core.plots import Axis, Image, Panel, Plot
from quicklook.core.results import PartResult, Provenance, QAResult
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.io.atomic import write_json
from quicklook.io.plotfiles import save_plots
from quicklook.service.site import declared_metrics

UNIT = "20220101/00000007"
FOLDER = f"live/exposures/{UNIT}"
FIGURES = """
plots: test
figures:
  - {name: noise, panels: [{kind: 2d, x: amp, y: read_noise}]}
  - {name: arcs, when: {flavor: arc}, panels: [{kind: 2d, x: amp, y: read_noise}]}
"""


def preview(camera: str) -> Plot:
    image = Image(values=np.arange(12.0).reshape(3, 4), extent=(0, 4, 0, 3), c_axis=Axis(label="signal", unit="electron"))
    panel = Panel(x=Axis(label="column", unit="pixel"), y=Axis(label="row", unit="pixel"), layers=(image,))
    return Plot(name="image_preview", title=camera, panels=(panel,))


def store(out: Path, camera: str) -> None:
    """A result and plots of a camera, as a worker leaves them."""
    definition = declared_metrics()["read_noise"]
    metrics = Judge(LimitSet()).measures((definition,), Measures((measured("read_noise", [2.0, 3.0], amp="AB"),)), {})
    qa = QAResult(name="read_noise", step="read", group="CCDs", status=None, seconds=0.0, metrics=metrics)
    provenance = Provenance(versions={}, chain="c", config_sha256="", limits_sha256="")
    about = {"night": 20220101, "expid": 7, "part": camera, "tag": "live", "revision": 0, "tags": {"flavor": "science"}, "provenance": provenance}
    result = PartResult(**about, status=Status.NORMAL, reasons=[], measured=1, expected=1, steps=[], qas=[qa])
    (out / FOLDER / "plots").mkdir(parents=True, exist_ok=True)
    write_json(out / FOLDER / f"qa-{camera}-00000007.json", result.model_dump(mode="json"))
    save_plots(out / FOLDER / f"plots/plots-{camera}-00000007.npz", [preview(camera)])


def said(payload: Payload, camera: str | None) -> Event:
    body = payload.model_dump(mode="json")
    return Event(kind=payload.kind, unit=UNIT, part=camera, payload=body, epoch="e", seq=1, time=0)


def ready(camera: str) -> Event:
    path = f"{FOLDER}/plots/plots-{camera}-00000007.npz"
    return said(PlotsReady(path=path, names=["image_preview"], statuses=[Status.NORMAL]), camera)


def verdict(**parts: Status) -> Event:
    return said(UnitDone(night=20220101, expid=7, tag="live", revision=0, status=Status.NORMAL, reasons=[], parts=parts), None)


def names(drafts: list[Draft]) -> list[str]:
    return [str(d.payload["name"]) for d in drafts]


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    path = tmp_path / "figures.yaml"
    path.write_text(FIGURES)
    return path


def opened(tmp_path: Path, figures: Path, **params: Any) -> RenderSink:
    sink = RenderSink(RenderParams(dpi=30, figures=(str(figures),), **params))
    sink.open(SinkContext(out=str(tmp_path)))
    return sink


def test_figures_are_drawn_with_the_plots_of_a_camera(tmp_path: Path, figures: Path) -> None:
    store(tmp_path, "r0")
    drafts = list(opened(tmp_path, figures).accept(ready("r0")))
    assert names(drafts) == ["image_preview", "figure-noise"], "arcs are another flavor"
    assert (tmp_path / FOLDER / "plots/figure-noise-r0-00000007.png").read_bytes().startswith(b"\x89PNG")
    assert drafts[1].part == "r0"


def test_of_a_stored_result_the_figures_alone_are_drawn_where_somebody_wants_them(tmp_path: Path, figures: Path) -> None:
    store(tmp_path, "r0")
    sink = opened(tmp_path, figures, only=("arcs",), folder=str(tmp_path / "mine"))
    stored = ProductWritten(name="qa", path=f"{FOLDER}/qa-r0-00000007.json", sha256="", size=0)
    assert names(list(sink.accept(said(stored, "r0")))) == ["figure-arcs"]
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["figure-arcs-r0-00000007.png"]


def test_a_wrong_file_of_figures_is_refused_before_anything_is_opened(tmp_path: Path, figures: Path) -> None:
    figures.write_text(FIGURES.replace("y: read_noise", "y: read_nose", 1))
    with pytest.raises(BadConfig, match=r"figures\.yaml:4.*did you mean 'read_noise'"):
        RenderSink(RenderParams(figures=(str(figures),))).check()
    figures.write_text(FIGURES)
    with pytest.raises(BadConfig, match="there is no figure 'nose'; did you mean 'noise'"):
        RenderSink(RenderParams(figures=(str(figures),), only=("nose",))).check()
    RenderSink(RenderParams()).check()


def test_the_contact_sheet_comes_with_the_verdict(tmp_path: Path, figures: Path) -> None:
    store(tmp_path, "b0")
    store(tmp_path, "r0")
    sink = opened(tmp_path, figures)
    (drawn,) = sink.accept(verdict(b0=Status.NORMAL, r0=Status.ALARM, z0=Status.UNKNOWN))
    assert (drawn.payload["name"], drawn.part) == ("contact", None)
    assert (tmp_path / FOLDER / "plots/contact-00000007.png").is_file()
    assert "contact" not in names(list(sink.accept(ready("r0")))), "nothing was missing: it is not drawn again"


def test_it_is_drawn_once_more_when_the_last_pictures_have_come(tmp_path: Path, figures: Path) -> None:
    store(tmp_path, "b0")
    sink = opened(tmp_path, figures)
    assert names(list(sink.accept(verdict(b0=Status.NORMAL, r0=Status.NORMAL, z0=Status.NORMAL)))) == ["contact"]
    store(tmp_path, "r0")
    assert "contact" not in names(list(sink.accept(ready("r0"))))
    store(tmp_path, "z0")
    assert names(list(sink.accept(ready("z0"))))[-1] == "contact"


def test_no_sheet_of_one_camera_nor_of_no_picture(tmp_path: Path, figures: Path) -> None:
    sink = opened(tmp_path, figures)
    assert not sink.accept(verdict(b0=Status.NORMAL, r0=Status.NORMAL)), "no plots are made here"
    store(tmp_path, "r0")
    assert not sink.accept(verdict(r0=Status.NORMAL))
    store(tmp_path, "b0")
    assert not opened(tmp_path, figures, contact=False).accept(verdict(b0=Status.NORMAL, r0=Status.NORMAL))
