"""What page Exposure and page Trends ask: figures, spectra, the focal plane, comparisons, histories, out of real files of results."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from web_host import Served
from web_results import FIBERS, NIGHT, metric, result, write_spectra

from monitor.web.figures_encode import untyped
from monitor.web.pages import exposure, exposure_focal, exposure_image, exposure_spectra, trends, trends_panel
from monitor.web.pages.exposure_asks import CompareAsk, FigureAsk, FocalAsk, ImageAsk, PixelAsk, SpectraAsk, SpectrumAsk, TileAsk
from monitor.web.pages.trends_asks import HistoryAsk, TrendAsk
from quicklook.ccd.spectra import Scores
from quicklook.core.errors import BadConfig, NotReadyYet
from quicklook.core.events import Event
from quicklook.core.hosting import About, ExposureNow, FileRef, PartLine
from quicklook.core.keys import Unit
from quicklook.core.plots import Axis, Line, Panel, Plot
from quicklook.core.results import PartResult, QAResult, UnitVerdict
from quicklook.core.status import Status
from quicklook.io.folders import exposure_folder
from quicklook.io.plotfiles import save_plots

AT = {"night": NIGHT, "expid": 7}


class Files:
    """A host over files of results alone."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.marked: list[Event] = []

    def add(self, one: PartResult) -> None:
        folder = exposure_folder(self.out, one.tag, Unit(one.night, one.expid))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"qa-{one.part}-{one.expid:08d}.json").write_text(one.model_dump_json())

    def _results(self, unit: Unit, tag: str) -> dict[str, Path]:
        folder = exposure_folder(self.out, tag or "live", unit)
        return {p.name.split("-")[1]: p for p in sorted(folder.glob("qa-*.json"))}

    def about(self) -> About:
        return About(instrument="desi", site="", out=str(self.out), tag="live", tags=["live"], cameras=["r0", "r1"], versions={})

    def metrics(self) -> Any:
        raise NotReadyYet("there is no store")

    def housekeeping(self) -> None:
        return None

    def events(self, after: int, *, limit: int = 1000, kinds: Any = (), brief: bool = False) -> list[Event]:
        return [e for e in self.marked if e.seq > after][:limit]

    def last_seq(self) -> int:
        return self.marked[-1].seq if self.marked else 0

    def exposure(self, unit: Unit, tag: str = "", revision: int | None = None) -> ExposureNow:
        parts = {c: PartLine(state="done", status=Status.NORMAL) for c in self._results(unit, tag)}
        return ExposureNow(unit=str(unit), night=str(unit.night), expid=unit.expid, tag=tag or "live", revision=0, revisions=[0], tags_with_it=["live"], parts=parts)

    def qas(self, unit: Unit, part: str, tag: str = "", revision: int | None = None) -> list[QAResult]:
        found = self._results(unit, tag)
        if part not in found:
            raise NotReadyYet("not there")
        return PartResult.model_validate_json(found[part].read_bytes()).qas

    def files(self, unit: Unit, tag: str = "", kind: str = "", part: str | None = None, revision: int | None = None) -> list[FileRef]:
        folder = exposure_folder(self.out, tag or "live", unit)
        found = [FileRef(kind="merged", part=c, name="qa", path=str(p)) for c, p in self._results(unit, tag).items()]
        found += [FileRef(kind="product", part=p.name.split("-")[1], name=p.name.split("-")[0], path=str(p)) for p in sorted(folder.glob("*.fits"))]
        found += [FileRef(kind="plots", part=p.name.split("-")[1], name=p.name, path=str(p)) for p in sorted(folder.glob("plots-*.npz"))]
        return [f for f in found if kind in ("", f.kind) and part in (None, f.part)]


@pytest.fixture
def host(tmp_path: Path) -> Files:
    files = Files(tmp_path / "out")
    for expid, noise in ((5, [2.0, 2.1]), (6, [2.2, 2.0]), (7, [9.0, None])):
        for camera in ("r0", "r1"):
            files.add(result(expid, camera, noise))
    return files


@pytest.fixture
def stored(host: Files) -> Files:
    """With spectra of one camera."""
    write_spectra(exposure_folder(host.out, "live", Unit(NIGHT, 7)), 7)
    return host


def strict(answer: Any) -> Any:
    return json.loads(answer.model_dump_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_plot_comes_as_a_figure_and_anew_when_it_was_written_anew(host: Files) -> None:
    def plots(title: str) -> None:
        panel = Panel(x=Axis(label="x"), y=Axis(label="y"), layers=(Line(x=np.arange(3.0), y=np.arange(3.0)),))
        save_plots(exposure_folder(host.out, "live", Unit(NIGHT, 7)) / "plots-r0-00000007.npz", [Plot(name="level", title=title, panels=(panel,))])

    plots("first")
    ask = FigureAsk(**AT, part="r0", name="level")
    assert exposure.plot_figure(host, ask).title == "first"
    plots("second, longer")
    assert strict(exposure.plot_figure(host, ask))["title"] == "second, longer"
    for other in ({"part": "r0", "name": "../level"}, {"part": "r1", "name": "level"}, {"part": "-", "name": "level"}):
        with pytest.raises(NotReadyYet):
            exposure.plot_figure(host, FigureAsk(**AT, **other))


def test_spectra_say_which_fibres_are_the_worst(stored: Files) -> None:
    said = exposure_spectra.spectra(stored, SpectraAsk(**AT, part="r0"))
    assert (said.product, said.products) == ("frame", ["frame", "sky"])
    assert [f.fiber for f in said.fibers] == list(range(FIBERS))
    assert said.fibers[3].snr is None
    assert said.fibers[3].masked == 1.0
    assert said.fibers[5].objtype == "SKY"
    assert (said.fibers[2].x, said.fibers[2].y) == (2.0, 4.0)
    assert said.worst["S/N"][0] == 4
    assert said.worst["masked"][0] == 3
    assert said.worst["delta_mag"][:2] == [3, 1], "an alarm first, then what was not measured"
    assert "fiber_x" not in said.worst


def test_a_spectrum_shows_its_mask_its_error_and_its_sky(stored: Files) -> None:
    said = strict(exposure_spectra.spectrum(stored, SpectrumAsk(**AT, part="r0", fiber=2)))
    line = next(t for t in said["panel"]["data"] if t.get("mode") == "lines" and "frame" in t.get("hovertemplate", ""))
    assert np.isnan(untyped(line["y"])).sum() == 10
    masked = next(t for t in said["panel"]["data"] if t.get("hovertemplate", "").startswith("masked"))
    assert masked["text"] == ["COSMIC"] * 10
    assert said["masks"] == {"COSMIC": 10}
    assert any(t.get("yaxis") == "y2" for t in said["panel"]["data"]), "the sky is there"
    assert any(t.get("hovertemplate", "").startswith("sky line") for t in said["panel"]["data"])
    nothing = strict(exposure_spectra.spectrum(stored, SpectrumAsk(**AT, part="r0", fiber=3)))
    assert nothing["panel"]["data"] is None
    assert "masked" in nothing["panel"]["message"]


def test_the_sky_of_another_fibre_is_not_shown(host: Files) -> None:
    def has_sky(fiber: int) -> bool:
        said = exposure_spectra.spectrum(host, SpectrumAsk(**AT, part="r0", fiber=fiber))
        return any(t.get("yaxis") == "y2" for t in said.panel["data"])

    write_spectra(exposure_folder(host.out, "live", Unit(NIGHT, 7)), 7, first_of_sky=2)
    assert [has_sky(fiber) for fiber in (0, 1, 2)] == [False, False, True]


def test_what_is_not_stored_is_told(stored: Files) -> None:
    with pytest.raises(NotReadyYet, match="fibre 77"):
        exposure_spectra.spectrum(stored, SpectrumAsk(**AT, part="r0", fiber=77))
    with pytest.raises(NotReadyYet):
        exposure_spectra.spectra(stored, SpectraAsk(**AT, part="r1"))
    with pytest.raises(NotReadyYet, match="cframe"):
        exposure_spectra.spectra(stored, SpectraAsk(**AT, part="r0", product="cframe"))
    with pytest.raises(NotReadyYet, match="preproc or raw"):
        exposure_image.image(stored, ImageAsk(**AT, part="r0"))
    for wrong in ({"product": "/etc/passwd"}, {"fiber": "x"}, {"fiber": 10**30}):
        with pytest.raises(ValidationError):
            SpectrumAsk(**{**AT, "part": "r0", "fiber": 1, **wrong})
    for wrong in ({"level": -1}, {"level": 99}, {"column": 10**9}, {"low": math.nan}, {"source": "../../x"}, {"colours": "red"}):
        with pytest.raises(ValidationError):
            TileAsk(**{**AT, "part": "r0", "level": 0, "column": 0, "row": 0, **wrong})
    with pytest.raises(ValidationError):
        PixelAsk(**AT, part="r0", x=-1, y=0)


def test_columns_of_scores_are_shown_on_the_focal_plane(host: Files) -> None:
    columns = {"SUM_RAW_COUNT_R": np.array([10.0, 20.0, math.nan, 40.0, 50.0, 60.0]), "delta_mag": np.zeros(FIBERS), "<SCRIPT>": np.zeros(FIBERS)}
    folder = exposure_folder(host.out, "live", Unit(NIGHT, 7))
    write_spectra(folder, 7, Scores(camera="r0", fiber=np.arange(FIBERS, dtype=np.int32), columns=columns, units={"SUM_RAW_COUNT_R": "electron"}))
    (folder / "frame-r1-00000007.fits").write_bytes(b"no FITS")
    known = exposure_focal.focal_metrics(host, FigureAsk(**AT, part="-", name="x"))
    assert [(m.name, m.score, m.unit, m.arms) for m in known.metrics if m.score] == [("sum_raw_count", True, "electron", ["r"])]
    assert [m.name for m in known.metrics if not m.score] == ["delta_mag", "sky_peak"], "a metric goes before a column of its name"
    said = strict(exposure_focal.focal(host, FocalAsk(**AT, metric="sum_raw_count", arm="r")))
    shown, lost = said["panel"]["data"]
    assert untyped(shown["customdata"]).tolist() == [10, 20, 40, 50, 60]
    assert lost["text"] == ["r0 fibre 2"]


def test_the_focal_plane_shows_any_metric_of_fibres_of_an_arm(host: Files) -> None:
    known = exposure_focal.focal_metrics(host, FigureAsk(**AT, part="-", name="x"))
    assert [m.name for m in known.metrics] == ["delta_mag", "sky_peak"]
    assert known.placed == ["r0", "r1"]
    assert known.metrics[1].dims == {"line": [5577.0, 6300.0]}
    said = strict(exposure_focal.focal(host, FocalAsk(**AT, metric="delta_mag", arm="r")))
    assert len(said["fibers"]) == 2 * FIBERS
    seen, lost = said["panel"]["data"]
    assert seen["text"][0] == "r0 fibre 0"
    assert lost["text"] == ["r0 fibre 1", "r1 fibre 101"]
    at = strict(exposure_focal.focal(host, FocalAsk(**AT, metric="sky_peak", arm="r", at="line=6300")))
    assert untyped(at["panel"]["data"][0]["customdata"])[:FIBERS].tolist() == [6, 7, 8, 9, 10, 11]
    with pytest.raises(NotReadyYet, match="delta_mag"):
        exposure_focal.focal(host, FocalAsk(**AT, metric="delta_mags"))
    with pytest.raises(BadConfig):
        exposure_focal.focal(host, FocalAsk(**AT, metric="delta_mag", at="nonsense"))
    with pytest.raises(ValidationError):
        FocalAsk(**AT, metric="<script>")


def test_two_exposures_and_two_processings_are_compared(host: Files) -> None:
    said = exposure.compare(host, CompareAsk(**AT, other_night=NIGHT, other_expid=6))
    assert said.compared == 2
    assert [(c.part, c.metric, c.before, c.after) for c in said.changes][:1] == [("r0", "read_noise", 2.0, None)]
    assert said.changes[0].status_before is Status.NORMAL
    assert said.changes[0].status_after is Status.ALARM
    assert said.changes[0].group == "CCDs"
    host.add(result(7, "r0", [9.0, 2.0], tag="again"))
    tags = exposure.compare(host, CompareAsk(**AT, other_night=NIGHT, other_expid=7, other_tag="again"))
    assert tags.compared == 1
    assert tags.missing == ["r1"]
    assert tags.parts[0].causes == ["parameters of chain science"]
    same = exposure.compare(host, CompareAsk(**AT, other_night=NIGHT, other_expid=7, part="r1"))
    assert same.changes == []
    with pytest.raises(NotReadyYet):
        exposure.compare(host, CompareAsk(**AT, other_night=NIGHT, other_expid=99))


def test_a_file_of_results_that_is_broken_is_told_not_raised(host: Files) -> None:
    from quicklook.core.errors import BadData

    next(exposure_folder(host.out, "live", Unit(NIGHT, 6)).glob("qa-r0*")).write_text("{")
    with pytest.raises(BadData, match="qa-r0"):
        exposure.compare(host, CompareAsk(**AT, other_night=NIGHT, other_expid=6))


def test_without_a_store_histories_come_from_the_files(host: Files) -> None:
    said = trends.history(host, HistoryAsk(metric="read_noise", where="camera = r0 and amp = A"))
    assert said.columns["value"] == [2.0, 2.2, 9.0]
    assert said.columns["expid"] == ["5", "6", "7"] or said.columns["expid"] == [5, 6, 7]
    assert said.columns["status"] == ["NORMAL", "NORMAL", "ALARM"]
    assert said.unit == "electron"
    assert trends.history(host, HistoryAsk(metric="read_noise", where="camera = r0 and amp = B")).columns["value"][-1] is None
    last = trends.history(host, HistoryAsk(metric="read_noise", where="camera = r0 and amp = A", limit=1))
    assert last.columns["value"] == [9.0]
    assert trends.history(host, HistoryAsk(metric="read_noise", since="20230101")).columns["value"] == []
    with pytest.raises(BadConfig):
        trends.history(host, HistoryAsk(metric="read_noise", where="camera ! r0"))
    with pytest.raises(BadConfig, match="night"):
        trends.history(host, HistoryAsk(metric="read_noise", since="yesterday"))


@pytest.mark.parametrize(("where", "values"), [
    ("night >= 2022-01-01 and amp = A", [2.0, 2.2, 9.0]), ("night < 2022-01-01", []), ("status = alarm", [9.0]), ("status >= unknown", [None, 9.0]),
    ("not value < 3", [9.0]), ("time > 2022-01-02T03:06 and amp = A", [9.0]), ("part = r0 and step = read and expid in (5, 6) and amp = B", [2.1, 2.0]),
])  # fmt: skip
def test_without_a_store_a_condition_means_the_same(host: Files, where: str, values: list[float | None]) -> None:
    said = trends.history(host, HistoryAsk(metric="read_noise", where=f"camera = r0 and {where}"))
    assert sorted(said.columns["value"], key=str) == sorted(values, key=str)


@pytest.mark.parametrize("where", ["night = yesterday", "status = fine", "value > large", "time > soon"])
def test_without_a_store_a_condition_that_means_nothing_is_refused(host: Files, where: str) -> None:
    with pytest.raises(BadConfig, match="condition"):
        trends.history(host, HistoryAsk(metric="read_noise", where=where))


def test_without_a_store_there_are_histories_of_exposures_as_a_whole(host: Files) -> None:
    for expid in (5, 6):
        found = metric("missing_cameras", [float(expid - 5)], unit="", normal=(0, 0))
        qa = QAResult(name="missing_cameras", step="unit", group="Exposure", status=None, seconds=0.0, metrics=[found])
        verdict = UnitVerdict(night=NIGHT, expid=expid, tag="live", revision=0, status=Status.NORMAL, reasons=[], parts={}, qas=[qa])
        (exposure_folder(host.out, "live", Unit(NIGHT, expid)) / "verdict.json").write_text(verdict.model_dump_json())
    said = trends.history(host, HistoryAsk(metric="missing_cameras"))
    assert said.columns["value"] == [0.0, 1.0]
    assert said.columns["camera"] == ["", ""]


def test_a_trend_has_limits_as_bands_gaps_and_two_axes(host: Files) -> None:
    ask = TrendAsk(first="metric:read_noise", first_where="camera = r0", second="metric:delta_mag", second_where="camera = r0 and fiber = 0")
    said = strict(trends.trend(host, ask))
    left = [t for t in said["panel"]["data"] if t.get("yaxis") is None]
    np.testing.assert_allclose([untyped(t["y"])[:2] for t in left], [[2.0, 2.2], [2.1, 2.0]], rtol=1e-6)
    assert np.isnan(untyped(left[1]["y"])[2])
    assert left[0]["customdata"][2] == ["20220101/7", "ALARM", "r0"]
    assert sum(t.get("yaxis") == "y2" for t in said["panel"]["data"]) == 1
    edges = {(s["yref"], s["y0"]) for s in said["panel"]["layout"]["shapes"] if s["type"] == "line"}
    assert edges == {("y", 0.0), ("y", 4.0), ("y", -1.0), ("y", 5.0), ("y2", -1.0), ("y2", 1.0), ("y2", -2.0), ("y2", 2.0)}
    assert untyped(left[0]["x"])[0] == 1641092700000.0, "2022-01-02 03:05 UTC, milliseconds"


def test_two_of_the_same_unit_are_on_one_axis(host: Files) -> None:
    ask = TrendAsk(first="metric:read_noise", first_where="camera = r0 and amp = A", second="metric:read_noise", second_where="camera = r1 and amp = A")
    panel = strict(trends.trend(host, ask))["panel"]
    assert [t.get("yaxis") for t in panel["data"]] == [None, None]
    assert "yaxis2" not in panel["layout"]
    assert panel["layout"]["yaxis"]["title"]["text"] == "read noise [electron]"
    assert [e["text"] for e in panel["legend"][:1]] == ["r0 amp A"]
    assert len({t["line"]["color"] for t in panel["data"]}) == 2


def test_many_elements_are_summed_up_and_it_is_said(host: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trends_panel, "_MOST_GROUPS", 10)
    said = trends.trend(host, TrendAsk(first="metric:sky_peak"))
    assert [t["hovertemplate"][3:9] for t in said.panel["data"]] == ["median", "least<", "greate"]
    assert any("24 elements" in note for note in said.notes)
    assert [untyped(t["y"]).tolist() for t in said.panel["data"]] == [[5.5] * 3, [0.0] * 3, [11.0] * 3]


def test_a_series_that_is_not_there_is_told(host: Files) -> None:
    assert trends.trend(host, TrendAsk(first="metric:bias_level")).panel["message"]
    with pytest.raises(BadConfig, match="read_noise"):
        trends.trend(host, TrendAsk(first="metric:read_nois"))
    with pytest.raises(NotReadyYet, match="housekeeping"):
        trends.trend(host, TrendAsk(first="hk:TEMP"))
    with pytest.raises(BadConfig):
        trends.trend(host, TrendAsk(first=""))
    for wrong in ("read_noise", "file:/etc/passwd", "metric:"):
        with pytest.raises(ValidationError):
            TrendAsk(first=wrong)


def test_events_of_that_time_are_marked_however_many_were_before(host: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    at, asked, events = 1641092700000 * 10**6, list[int](), host.events
    monkeypatch.setattr(trends, "_MOST_PAGES", 1)
    monkeypatch.setattr(host, "events", lambda *given, **named: (found := events(*given, **named), asked.append(len(found)))[0])
    for seq in range(1, 3000):
        time = at if seq > 2990 else at - 10**15 + seq
        host.marked.append(Event(kind="raw_folder", payload={"there": seq % 2}, epoch="e", seq=seq, time=time))
    said = trends.trend(host, TrendAsk(first="metric:read_noise", first_where="camera = r0"))
    assert len(said.events) == 9
    assert sum(asked) < 50, "those long before are not read"


def test_events_of_that_time_are_marked(host: Files) -> None:
    at = 1641092700000 * 10**6
    for seq, (kind, time, payload) in enumerate([
        ("calibration", at, {"name": "bias", "adopted": True}), ("calibration", at, {"name": "dark", "adopted": False}),
        ("override", at + 10**9, {"by": "<b>me</b>", "status": "NORMAL"}), ("test", at - 10**16, {"name": "BIAS01", "status": "ALARM"}),
    ], 1):  # fmt: skip
        host.marked.append(Event(kind=kind, unit="20220101/00000007", part="r0", payload=payload, epoch="e", seq=seq, time=time))
    said = trends.trend(host, TrendAsk(first="metric:read_noise", first_where="camera = r0"))
    assert [(e.kind, e.text) for e in said.events] == [
        ("calibration", "calibration bias r0 adopted"), ("override", "20220101/00000007 r0 overridden by <b>me</b>: NORMAL")]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "/exposures/20220101/102/figures/b0/..%2F..%2Fetc%2Fpasswd", "/exposures/20220101/102/figures/%00/x", "/exposures/20220101/102/images/b0?source=/etc/passwd",
        "/exposures/20220101/102/images/..%2F..%2Fb0", "/exposures/20220101/102/images/b0/tiles/0/0/0", "/exposures/20220101/102/images/b0/tiles/-1/0/0",
        "/exposures/20220101/102/images/b0/masks/0/0/0?bits=99999999", "/exposures/20220101/102/images/b0/pixel?x=1e9&y=0",
        "/exposures/20220101/102/spectra/b0", "/exposures/20220101/102/spectra/b0/1?product=..%2Fqa", "/exposures/20220101/102/focal/read_noise?at=x",
        "/exposures/20220101/102/focal/%3Cscript%3E", "/exposures/20220101/102/compare?other_night=1&other_expid=1", "/exposures/20220101/102/compare",
        "/exposures/20220101/102/compare?other_night=20220101&other_expid=101&other_tag=..%2F..", "/trends?first=metric:read_noise&first_where='%20or%201=1--",
        "/trends?first=hk:..%2F..%2Fx", "/trends?first=metric:read_noise&limit=999999999", "/trends", "/history/read_noise?since=20229999",
        "/history/" + "a" * 500, "/trends?first=metric:*",
    ],
)  # fmt: skip
def test_whatever_is_asked_is_answered_with_what_to_do(page: Served, path: str) -> None:
    answer = page.get(path)
    assert 400 <= answer.status < 500, (answer.status, answer.body[:300])
    assert answer.json["message"]
    assert b"Traceback" not in answer.body
    assert b"root:" not in answer.body
