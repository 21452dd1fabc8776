"""The sink that draws: pictures beside the plots as data, and events that name them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.render.sink import RenderParams, RenderSink, file_names
from quicklook.core.errors import BadData, NotReadyYet
from quicklook.core.events import Event, PlotDrawn, PlotsReady
from quicklook.core.plots import Plot
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.io.plotfiles import save_plots

FOLDER = "live/exposures/20200219/00051060/plots"
FILE = f"{FOLDER}/plots-r0-00051060.npz"


def event(names: list[str]) -> Event:
    ready = PlotsReady(path=FILE, names=names, statuses=[Status.WARNING] * len(names))
    return Event(kind="plots", unit="20200219/00051060", part="r0", revision=2, payload=ready.model_dump(mode="json"), epoch="e", seq=1, time=0)


@pytest.fixture
def sink(tmp_path: Path) -> RenderSink:
    made = RenderSink(RenderParams(dpi=40))
    made.open(SinkContext(out=str(tmp_path)))
    return made


def test_every_plot_of_the_file_is_drawn_and_announced(sink: RenderSink, tmp_path: Path, samples: dict[str, Plot]) -> None:
    plots = [samples["sky"], samples["empty"]]
    (tmp_path / FOLDER).mkdir(parents=True)
    save_plots(tmp_path / FILE, plots)
    drafts = sink.accept(event([p.name for p in plots]))
    assert [d.kind for d in drafts] == ["plot", "plot"]
    assert {(d.unit, d.part, d.tag, d.revision) for d in drafts} == {("20200219/00051060", "r0", "live", 2)}
    for plot, made in zip(plots, drafts, strict=True):
        drawn = PlotDrawn.model_validate(made.payload)
        assert drawn.name == plot.name
        assert drawn.path == f"{FOLDER}/{plot.name}-r0-00051060.png"
        data = (tmp_path / drawn.path).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert (drawn.size, drawn.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    left = sorted(p.name for p in (tmp_path / FOLDER).iterdir())
    assert left == ["empty-r0-00051060.png", "plots-r0-00051060.npz", "sky-r0-00051060.png"], "nothing half-written is left"
    assert sink.accept(event([p.name for p in plots])) == drafts, "the same event again gives the same pictures"


def test_what_somebody_should_look_at_is_drawn_first(sink: RenderSink, tmp_path: Path, samples: dict[str, Plot]) -> None:
    statuses = {"sky": Status.NORMAL, "empty": None, "read_noise": Status.ALARM, "focal_plane": Status.WARNING}
    (tmp_path / FOLDER).mkdir(parents=True)
    save_plots(tmp_path / FILE, [samples[n] for n in statuses])
    ready = PlotsReady(path=FILE, names=[samples[n].name for n in statuses], statuses=list(statuses.values()))
    asked = event([]).model_copy(update={"payload": ready.model_dump(mode="json")})
    drawn = [PlotDrawn.model_validate(d.payload).name for d in sink.accept(asked)]
    assert drawn == [samples[n].name for n in ("read_noise", "focal_plane", "sky", "empty")]


def test_a_file_that_is_gone_or_broken_is_given_up(sink: RenderSink, tmp_path: Path) -> None:
    with pytest.raises(NotReadyYet):
        sink.accept(event(["x"]))
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FILE).write_bytes(b"no archive")
    with pytest.raises(BadData):
        sink.accept(event(["x"]))


def test_file_names_are_safe_and_all_different() -> None:
    names = file_names(["read_noise", "read_noise", "Read_Noise", "../../etc/passwd", "", "..", "größe [e]", "a" * 300])
    assert len({n.casefold() for n in names}) == len(names)
    assert names[0] == "read_noise"
    for name in names:
        assert "/" not in name
        assert not name.startswith(".")
        assert 0 < len(name) < 100


def test_the_sink_is_found_without_loading_matplotlib(repo_root: Path) -> None:
    code = "import sys; import monitor.render.sink; sys.exit(any(m in sys.modules for m in ('matplotlib', 'astropy', 'scipy', 'numba')))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=repo_root).returncode == 0


def test_each_picture_is_a_piece_and_those_that_somebody_should_see_are_urgent(sink: RenderSink) -> None:
    ready = PlotsReady(path=FILE, names=["a", "b", "c"], statuses=[Status.NORMAL, Status.ALARM, None])
    pieces = sink.pieces(event([]).model_copy(update={"payload": ready.model_dump(mode="json")}))
    assert [(p.data.get("plot"), p.urgent) for p in pieces] == [("b", True), ("a", False), ("c", False), (None, False)]
    assert pieces[-1].name == "figures"
    assert len({p.line for p in pieces}) == 1, "all of them go where a later revision of the camera goes"


def test_the_pieces_of_another_revision_are_of_the_same_line(sink: RenderSink) -> None:
    first, second = (event(["a"]).model_copy(update={"revision": r}) for r in (0, 1))
    other = event(["a"]).model_copy(update={"tag": "again"})
    assert sink.pieces(first)[0].line == sink.pieces(second)[0].line != sink.pieces(other)[0].line


def test_what_is_not_drawn_is_told_with_what_takes_its_place(sink: RenderSink) -> None:
    first, second = (event(["a", "b"]).model_copy(update={"revision": r, "seq": r + 1}) for r in (0, 1))
    (said,) = sink.skipped(first, sink.pieces(first), second)
    assert (said.kind, said.unit, said.part, said.revision) == ("plots_skipped", "20200219/00051060", "r0", 0)
    assert (said.payload["names"], said.payload["path"]) == (["a", "b", "figures"], FILE)
    assert (said.payload["by"], said.payload["by_revision"]) == (2, 1)


def test_a_plot_that_cannot_be_drawn_costs_no_other(sink: RenderSink, tmp_path: Path, samples: dict[str, Plot], monkeypatch) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    save_plots(tmp_path / FILE, [samples["sky"], samples["empty"]])
    real = RenderSink._draw

    def draw(self, event, plot, status, path):
        if plot.name == "sky":
            raise RuntimeError("a fault of the code")
        return real(self, event, plot, status, path)

    monkeypatch.setattr(RenderSink, "_draw", draw)
    with pytest.raises(RuntimeError):
        sink.accept(event(["sky", "empty"]))
    assert (tmp_path / FOLDER / "empty-r0-00051060.png").is_file()
    assert not (tmp_path / FOLDER / "sky-r0-00051060.png").exists()


def test_a_file_that_was_written_anew_with_other_plots_is_found_by_name(sink: RenderSink, tmp_path: Path, samples: dict[str, Plot]) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    save_plots(tmp_path / FILE, [samples["empty"], samples["sky"]])
    asked = event(["sky", "gone"])
    sky, gone = sink.pieces(asked)[:2]
    assert [d.payload["name"] for d in sink.work(asked, sky)] == ["sky"]
    with pytest.raises(BadData, match="no plot gone"):
        sink.work(asked, gone)
