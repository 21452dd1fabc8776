"""Real logs in fast time: no fill value is a violation, what is real is found, and few are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monitor.hk.monitor import HkMonitor
from quicklook.core.housekeeping import HkChange
from quicklook.core.housekeeping_watch import Replayed
from quicklook.io.configfiles import find_config


def told(done: Replayed) -> dict[str, list[HkChange]]:
    out: dict[str, list[HkChange]] = {}
    for change in HkMonitor().incidents(done.changes):
        out.setdefault(change.subject, []).append(change)
    return out


def test_the_log_of_the_bench(shared_data: Path) -> None:
    done = HkMonitor().replay(find_config("hk", "vis_bench"), next((shared_data / "ccd_hk").glob("HK_*.txt")))
    found = told(done)
    assert (done.rows, done.faults) == (3, ())
    # the electronics is off, and one sensor of the six is below what a CCD survives
    assert {s for s, c in found.items() if c[0].severity.rank >= 3} == {"HK_28V_Pri_RPSU/primary_supply", "HK_temp_top_CCD2/ccd_survival"}
    # -273.15 and -246 degC (an open sensor) are no temperatures
    assert {s for s in found if s.endswith("/data")} == {
        *(f"HK_temp_{end}_CCD{n}/data" for end in ("top", "bottom") for n in (1, 2, 3) if (end, n) != ("top", 2)),
        "HK_temp_VB_TOP/data",
        "HK_temp_VB_BOT/data",
    }
    assert not [c for c in done.changes if c.state == "VIOLATING" and c.value in (-273.15, -246.08, -246.86, -246.6)]


@pytest.mark.long
def test_the_telemetry_of_desi(shared_data: Path) -> None:
    done = HkMonitor().replay(find_config("hk", "desi"), shared_data / "desi_telemetry" / "telemetry_part1.fits.gz")
    found = told(done)
    assert not [c for c in done.changes if c.state == "VIOLATING" and c.value is not None and (abs(c.value) > 1e5 or c.value in (-99.9, -273.15))]
    # a probe that reads -16 degC beside a truss at -2, a humidity that stays at 86.3 % for 30 hours, a sensor that never changed
    assert min(c.value or 0 for c in found["decbore_temp/structure_probes"]) == pytest.approx(-16)
    assert {"humidity/data", "humidity/humidity", "casscage_i_temp/data", "RMS_CORR_95/positioners"} <= found.keys()
    assert max(done.per_day.values()) < 10
    assert sum(done.per_day.values()) < 60


def test_a_log_gives_masked_series(shared_data: Path) -> None:
    log = next((shared_data / "ccd_hk").glob("HK_*.txt"))
    (series,) = HkMonitor().read(find_config("hk", "vis_bench"), log, ["Video_TOP"])
    assert (series.channel, series.unit) == ("HK_temp_VB_TOP", "degC")
    assert series.values.mask.all()
    assert np.diff(series.times).tolist() == [1.0, 1.0]
