"""Real logs in fast time: no fill value is a violation, what is real is found, and few are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monitor.hk.monitor import HkMonitor
from quicklook.core.alarm_replay import alarm_replay
from quicklook.core.housekeeping import HkChange
from quicklook.core.housekeeping_watch import Replayed
from quicklook.core.severity import Severity
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


FILLS = (-9999.0, -999.0, 9999.0, 999.9, 1e30, -1e30, np.nan, np.inf, 1e20, 999999.0, -99.9)


def mutated(shared_data: Path, folder: Path, how: str) -> Replayed:
    """A part of the telemetry as it may come too, and its replay."""
    import fitsio

    data = fitsio.read(str(shared_data / "desi_telemetry" / "telemetry_part1.fits.gz"), rows=range(2000, 4000))
    data.dtype.names = tuple("expid_of_guider" if n == "expid" else n for n in data.dtype.names)
    rng = np.random.default_rng(5)
    floats = [n for n in data.dtype.names if data[n].dtype.kind == "f" and n not in ("mjd_obs", "night")]
    if how == "fills":
        for name in floats:
            hit = rng.random(len(data)) < 0.05
            data[name][hit] = rng.choice(FILLS, int(hit.sum()))
    elif how == "long fills":
        for name in floats:
            first = int(rng.integers(0, len(data) - 200))
            data[name][first : first + 200] = rng.choice(FILLS)
    elif how == "columns gone":
        names = [n for n in data.dtype.names if not n.startswith(("mirror_", "dome_"))]
        whole, data = data, np.empty(len(data), dtype=[(n, data.dtype[n]) for n in names])
        for name in names:
            data[name] = whole[name]
    parts = {"rows twice": [np.repeat(data, 2)], "reversed": [data[::-1]], "files in another order": [data[900:], data[:900]]}.get(how, [data])
    for i, part in enumerate(parts):
        plain = [(n, part.dtype[n].str.replace("U", "S")) for n in part.dtype.names]
        fitsio.write(str(folder / f"telemetry_{i}.fits"), np.asarray(part).astype(plain))
    return HkMonitor().replay(find_config("hk", "desi"), folder)


@pytest.mark.long
@pytest.mark.parametrize("how", ["fills", "long fills", "columns gone", "rows twice", "reversed", "files in another order"])
def test_telemetry_that_is_worse(shared_data: Path, tmp_path: Path, how: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    as_it_is, done = mutated(shared_data, tmp_path / "a", ""), mutated(shared_data, tmp_path / "b", how)
    before, now = told(as_it_is), told(done)
    # 999.9 um is a fill value that an rms of positions may have: it had 1422
    fills = [c for c in done.changes if c.state == "VIOLATING" and c.value in FILLS and not c.channel.startswith("RMS_")]
    assert fills == [], "no fill value violates anything"
    assert max(done.per_day.values()) <= 20
    if how in ("rows twice", "reversed", "files in another order"):
        assert now.keys() == before.keys()
        assert done.per_day == as_it_is.per_day
    real = "decbore_temp/structure_probes"
    assert real in now, "what is real is found all the same"


@pytest.mark.long
def test_messages_of_the_telemetry_are_few(shared_data: Path) -> None:
    done = HkMonitor().replay(find_config("hk", "desi"), shared_data / "desi_telemetry" / "telemetry_part1.fits.gz")
    said = alarm_replay().told(done.changes, find_config("alerts", "default"), until=done.last, least=Severity.WARNING)
    assert 20 < len(said.messages) < 60
    begun, ended = ([k for m in said.messages for k in getattr(m, kind)] for kind in ("begun", "ended"))
    assert sorted(begun) == sorted(ended), "each is told once, and its end once"
    assert {k.partition("/")[2] for k in begun} <= told(done).keys()


def test_a_log_gives_masked_series(shared_data: Path) -> None:
    log = next((shared_data / "ccd_hk").glob("HK_*.txt"))
    (series,) = HkMonitor().read(find_config("hk", "vis_bench"), log, ["Video_TOP"])
    assert (series.channel, series.unit) == ("HK_temp_VB_TOP", "degC")
    assert series.values.mask.all()
    assert np.diff(series.times).tolist() == [1.0, 1.0]
