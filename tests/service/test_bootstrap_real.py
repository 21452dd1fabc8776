"""A site that starts with nothing: the daemon makes bias, traces, wavelengths and fibre flat from a real night by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_site import said, turn

from quicklook.io.calibstore import FolderStore
from quicklook.service.daemon import Daemon
from quicklook.service.site import load_site


@pytest.mark.long
def test_an_empty_index_is_filled_in_order(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for number in (1, 3, 4, 5, 14, 15, 16, 17, 18):
        (tmp_path / "raw" / f"b{number}.fits.gz").write_bytes((shared_data / "kast_blue" / f"b{number}.fits.gz").read_bytes())
    given = {
        "instrument": "kast_blue", "raw": str(tmp_path / "raw"), "calib": str(tmp_path / "calib"), "out": str(tmp_path / "out"), "plots": False,
        "work": {"executor": "inline"}, "sinks": {"files": {}}, "watch": {"settle_s": 0.0, "mode": "polling", "poll_s": 0.1},
        "build": {"psf": {"count": 1}, "fiberflat": {"count": 3}, "traces": {"count": 3}, "bias": {"count": 5}},
        "adopt": {"kinds": ["bias", "pixeltraces", "psf", "fiberflat"]},
    }  # fmt: skip
    daemon = Daemon(load_site(None, options=given))
    daemon.start()
    turn(daemon, lambda: len(said(daemon, "unit_verdict")) >= 9 and daemon.idle, seconds=300.0)
    made = [e.payload["name"] for e in said(daemon, "calibration") if e.payload["adopted"]]
    last = {e.unit: e.payload["status"] for e in said(daemon, "unit_verdict")}
    daemon.stop()
    assert made.index("bias") < made.index("pixeltraces") < made.index("psf") < made.index("fiberflat")
    assert set(last.values()) == {"NORMAL"}  # flats and arc that came before the wavelengths were processed again
    assert {e.kind for e in FolderStore(tmp_path / "calib").entries()} == {"bias", "pixeltraces", "psf", "fiberflat"}
