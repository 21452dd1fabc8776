"""A simulated day of the CCD bench with its housekeeping logs, through the daemon: one CCD gets warm and noisy; fill values, a gap, a log that stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bench_site import WATCH, said, turn

from quicklook.core.results import MetricResult, UnitVerdict
from quicklook.service.daemon import Daemon
from quicklook.service.site import load_site
from quicklook.sim.bench import Bench, make_ccd
from quicklook.sim.benchplan import BenchExposure, Mishaps

CAMERAS = ("ROE1_CCD1", "ROE1_CCD2")
CONFIG = """
sources:
  roe1:
    plugin: text
    params: {path: RAW/*/HK_*_ROE1.txt, delimiter: tab, date_pattern: '_(\\d{6})D', date_format: '%d%m%y', time: TimeStamp, scan_s: 0.2}
    silent_after_s: null
channels:
  - {name: "CCD?_TEMP_T", unit: degC, plausible: [-200, 100], stale_after_s: 20}
  - {name: "CCD?_OD_T", unit: V, stale_after_s: 20}
  - {name: ROE_STATUS, stale_after_s: 20}
limits:
  - name: ccd_temperature
    channels: "CCD?_TEMP_T"
    unit: degC
    performance: [-121, -119]
    survival: {range: [-133, 35], low: ALARM, high: CRITICAL}
    persistence: {count: 3, of: 5, clear: 5}
    reason: Dark current holds at -120 degC alone.
    action: Wait.
  - {name: roe_status, channels: ROE_STATUS, kind: identity, equals: 0, reason: The electronics says that it is in order., action: Look.}
exposures:
  margin_s: 1
  channels:
    - {channels: "CCD?_TEMP_T", parts: "ROE?_CCD{name}", spoils: [read_noise, dark_level], why: Noise and dark current rise with temperature.}
    - {channels: ["CCD?_OD_T", ROE_STATUS]}
"""


class Day:
    """A bench whose exposures follow each other, 30 s darks; and a daemon that watches it."""

    def __init__(self, folder: Path, *, wait_s: float) -> None:
        self.folder, self.raw, self.n = folder, folder / "raw", 0
        self.raw.mkdir()
        (folder / "hk.yaml").write_text(CONFIG.replace("RAW", str(self.raw)))
        self.ccds = [make_ccd(c, f"S-{i}", seed=3, scale="small") for i, c in enumerate(CAMERAS)]
        options = {
            "instrument": "vis_bench", "cameras": CAMERAS, "raw": str(self.raw), "out": str(folder / "out"), "plots": False, "sinks": {},
            "watch": WATCH, "work": {"executor": "inline"}, "housekeeping": {"config": str(folder / "hk.yaml"), "every_s": 0.1, "wait_s": wait_s},
        }  # fmt: skip
        self.daemon = Daemon(load_site(None, options=options))
        self.daemon.start()

    def expose(self, change: Callable[[list[str]], list[str]] = lambda rows: rows, *, noisy: str = "") -> UnitVerdict:
        """Take one, with its log changed: a header, and rows of TimeStamp, CCD1, CCD2, ... Returns its verdict."""
        self.n += 1
        start = datetime(2016, 11, 25, 9, tzinfo=UTC) + timedelta(minutes=2 * self.n)
        exposure = BenchExposure(obsid=self.n, test="DARK01", position=1, flavor="dark", exptime=30.0, wavelength=0.0, start=start, label="dark")
        ccds = [replace(c, read_noise=dict.fromkeys(c.read_noise, 30.0)) if c.camera == noisy else c for c in self.ccds]
        self._logged(ccds, exposure, change)
        Bench(folder=self.raw, ccds=ccds, mishaps=Mishaps()).write(exposure)
        turn(self.daemon, lambda: len(said(self.daemon, "unit_verdict")) >= self.n, 60)
        return UnitVerdict.model_validate(said(self.daemon, "unit_verdict")[-1].payload)

    def _logged(self, ccds: list[object], exposure: BenchExposure, change: Callable[[list[str]], list[str]]) -> None:
        """The log of this exposure, with that of the frames in another folder: a log is written once, as it is to be."""
        beside = Bench(folder=self.folder / "aside", ccds=ccds, mishaps=Mishaps())  # type: ignore[arg-type]
        day = beside.folder / "25Nov16"
        day.mkdir(parents=True, exist_ok=True)
        beside._housekeeping(day, exposure)
        (log,) = day.glob(f"HK_{exposure.obsid}_*.txt")
        header, *rows = log.read_text().splitlines()
        place = self.raw / "25Nov16" / log.name
        place.parent.mkdir(exist_ok=True)
        place.write_text("\n".join([header, *change(rows)]) + "\n")


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Day]:
    # a verdict waits until the log is read, however busy the machine is; only who waits for what does not come gives another time
    made = Day(tmp_path, wait_s=getattr(request, "param", 60.0))
    # the log of an exposure is written before it, changed; the bench is not to write it again
    plain = Bench._housekeeping
    monkeypatch.setattr(Bench, "_housekeeping", lambda bench, day, exposure: None if bench.folder == made.raw else plain(bench, day, exposure))
    yield made
    made.daemon.stop()


def metric(verdict: UnitVerdict, name: str) -> MetricResult:
    return next(m for q in verdict.qas if q.name == "housekeeping" for m in q.metrics if m.name == name)


def at(found: MetricResult, channel: str, statistic: str = "") -> float | None:
    row = found.coords["channel"].index(channel)
    if not statistic:
        return found.values[row]
    return found.values[row * len(found.coords["statistic"]) + found.coords["statistic"].index(statistic)]


def column(rows: list[str], number: int, value: Callable[[int], str]) -> list[str]:
    """With another value in a column; it is given the row."""
    out = []
    for k, row in enumerate(rows):
        cells = row.split("\t")
        cells[number] = value(k)
        out.append("\t".join(cells))
    return out


def test_a_warm_ccd_is_found_as_the_cause_and_no_other(day: Day) -> None:
    healthy = day.expose()
    assert healthy.causes == []
    assert at(metric(healthy, "hk_temperature"), "CCD1_TEMP_T", "mean") == pytest.approx(-120, abs=0.05)
    assert at(metric(healthy, "hk_voltage"), "CCD2_OD_T", "median") == pytest.approx(26, abs=0.01)
    bad = day.expose(lambda rows: column(rows, 2, lambda k: f"{-120 + 0.2 * k:.3f}"), noisy="ROE1_CCD2")
    (cause,) = bad.causes
    assert (cause.channel, cause.limit) == ("CCD2_TEMP_T", "ccd_temperature")
    assert {s.part for s in cause.spoiled} == {"ROE1_CCD2"}
    assert 0.5 < cause.overlap < 1
    assert cause.excess == pytest.approx(4.8, abs=0.2)
    assert "CCD2_TEMP_T was" in cause.sentence


def test_noise_alone_has_no_cause_and_warmth_alone_spoils_nothing(day: Day) -> None:
    assert day.expose(noisy="ROE1_CCD1").causes == []
    assert day.expose(lambda rows: column(rows, 1, lambda _: "-100.0")).causes == []
    # the one that is warm is not the one that is noisy
    crossed = day.expose(lambda rows: column(rows, 1, lambda _: "-100.0"), noisy="ROE1_CCD2")
    assert crossed.causes == []
    assert any("hk_out_of_range of channel CCD1_TEMP_T" in r for r in crossed.reasons)


def test_fill_values_and_a_gap_are_no_excursions(day: Day) -> None:
    filled = day.expose(lambda rows: column(rows, 1, lambda k: ("-273.15", "1e20", "999999", "-120.0")[k % 4]))
    assert at(metric(filled, "hk_temperature"), "CCD1_TEMP_T", "peak_to_peak") == 0.0
    assert at(metric(filled, "hk_invalid_fraction"), "CCD1_TEMP_T") == pytest.approx(0.75, abs=0.05)
    assert metric(filled, "hk_out_of_range").status == "NORMAL"
    assert metric(filled, "hk_invalid_fraction").status == "WARNING"
    gap = day.expose(lambda rows: [*rows[:10], *rows[20:]])
    assert metric(gap, "hk_out_of_range").status == "NORMAL"
    assert at(metric(gap, "hk_nearest"), "CCD1_TEMP_T") == 0.0
    gap = day.expose(lambda rows: [*rows[:5], *rows[-3:]])
    assert metric(gap, "hk_out_of_range").status == "UNKNOWN", "for so long that its data were stale"
    assert at(metric(gap, "hk_out_of_range"), "CCD1_TEMP_T") is None
    assert at(metric(gap, "hk_nearest"), "CCD1_TEMP_T") == 0.0


@pytest.mark.parametrize("day", [2.0], indirect=True)
def test_a_log_that_does_not_come_is_unknown(day: Day) -> None:
    day.expose()
    gone = day.expose(lambda _: [])
    assert gone.status == "UNKNOWN"
    assert metric(gone, "hk_out_of_range").status == "UNKNOWN"
    assert at(metric(gone, "hk_temperature"), "CCD1_TEMP_T", "mean") is None
