"""Plots of tests are published and drawn as those of exposures are."""

from __future__ import annotations

from pathlib import Path

from bench_site import said, turn
from session_site import session_site, take_zero

from monitor.render.sink import RenderParams, RenderSink
from quicklook.core.events import PlotsReady
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.io.plotfiles import load_plots
from quicklook.service.daemon import Daemon


def test_the_plots_of_a_test_are_said_with_it_and_can_be_drawn(tmp_path: Path) -> None:
    daemon = Daemon(session_site(tmp_path))
    daemon.start()
    try:
        for expid in (1, 2, 3):
            take_zero(tmp_path, expid)
        turn(daemon, lambda: said(daemon, "test"), 120)
        events, (test,) = said(daemon, "plots"), said(daemon, "test")
        out = daemon.site.out
    finally:
        daemon.stop()
    found = {
        name: (e, status) for e in events for r in [PlotsReady.model_validate(e.payload)] for name, status in zip(r.names, r.statuses, strict=True)
    }
    assert {"zero_pairs", "bias_structure", "read_noise_series", "bias_level_series"} <= set(found)
    assert {(e.part, e.unit) for e in events} == {("a", None)}
    assert all(e.seq < test.seq for e in events), "who hears that a test is over can ask for its plots"
    assert found["read_noise_series"][1] is Status.NORMAL, "the worst of the series of that metric"
    sink = RenderSink(RenderParams(dpi=40))
    sink.open(SinkContext(out=str(out)))
    for event in events:
        ready = PlotsReady.model_validate(event.payload)
        assert ready.names == [p.name for p in load_plots(out / ready.path)]
        drawn = sink.accept(event)
        assert [d.kind for d in drawn] == ["plot"] * len(ready.names)
        assert all((out / d.payload["path"]).is_file() for d in drawn)
    assert found["zero_pairs"][0].payload["path"].endswith("BIAS01/basic/zeros/plots/plots-zeros-a-00000001.npz")
