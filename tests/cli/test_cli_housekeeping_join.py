"""A simulated night with its telemetry: a CCD gets warm, its noise rises, and the likely cause is told wherever people look."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from inprocess import told as quicklook

from monitor.hk.store import HkStore
from quicklook.api import open_session
from quicklook.core.decision import DecisionCard
from quicklook.core.housekeeping import Batch
from quicklook.core.results import UnitVerdict
from quicklook.sim import Fault, plan_exposure, sim_instruments, write_calibrations, write_exposure

CAMERAS = sim_instruments(("b0", "r0"), scale="tiny", seed=5)
CONFIG = """
sources: {tel: {plugin: text, params: {path: none}}}
channels:
  - {name: "CCD_TEMP_*", unit: degC, plausible: [-200, 100], stale_after_s: 120}
  - {name: ROOM, unit: degC, stale_after_s: 1200}
limits:
  - name: ccd_temperature
    channels: "CCD_TEMP_*"
    unit: degC
    performance: [-121, -119]
    survival: [-133, -105]
    persistence: {count: 2, of: 3, clear: 3}
    reason: Noise and dark current hold at -120 degC.
    action: Wait until it has settled.
exposures:
  channels:
    - {channels: "CCD_TEMP_*", parts: "{name}", spoils: [read_noise, dark_level], why: Read noise rises with the temperature of the CCD.}
    - {channels: ROOM, spoils: [read_noise], why: The electronics stands in this room.}
"""
LIMITS = """
limits:
  - metric: hk_temperature
    unit: deg_C
    when: {channel: CCD_TEMP_r0, statistic: mean}
    normal: [-120.5, -119.5]
    reason: Tighter than the limits of housekeeping, for dark frames.
    action: Wait.
"""


def telemetry(store: HkStore, first: float, last: float) -> None:
    """Two samples a second of both CCDs for six hours; that of r0 warms by 4.6 K before the last exposure. The room is steady."""
    times = np.arange(first - 6 * 3600, last + 60, 2.0)
    rng = np.random.default_rng(1)
    warm = np.where(times > last - 40, np.minimum(4.6, (times - last + 40) / 5), 0.0)
    values = np.column_stack([-120 + rng.normal(0, 0.03, times.size), -120 + rng.normal(0, 0.03, times.size) + warm])
    room = Batch(source="tel", times=times[50::300], channels=("ROOM",), values=np.full((len(times[50::300]), 1), 20.0))
    store.append("tel", [Batch(source="tel", times=times, channels=("CCD_TEMP_b0", "CCD_TEMP_r0"), values=values), room], {})


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two zeros; the second has a noisy amplifier in r0, whose CCD is warm. Processed under the tag `t`."""
    folder = tmp_path_factory.mktemp("joined")
    write_calibrations(folder, CAMERAS)
    (folder / "hk.yaml").write_text(CONFIG)
    (folder / "site.yaml").write_text("instrument: desi\nraw: raw\ncalib: calib\nout: out\nhousekeeping: {config: ./hk.yaml, store: hk.sqlite}\n")
    noisy = Fault(name="hot_noise_amp", strength=4.0, camera="r0")
    paths = [write_exposure(folder, plan_exposure("zero", n, faults=f), CAMERAS) for n, f in ((100, ()), (101, (noisy,)))]
    session = open_session(folder / "site.yaml", tag="t")
    starts = [session.peek(p).start for p in paths]
    assert starts[0] is not None
    assert starts[1] is not None
    telemetry(HkStore(folder / "hk.sqlite", writing=True), starts[0].timestamp(), starts[1].timestamp())
    for path in paths:
        done = [session.process("zero", path, camera.camera) for camera in CAMERAS]
        for part in done:
            session.write(part, "zero")
        session.conclude(session.peek(path), done, time.time_ns())
    return folder


def verdict(night: Path, expid: int, tag: str = "t") -> UnitVerdict:
    return UnitVerdict.model_validate_json((night / f"out/{tag}/exposures/20220101/{expid:08d}/verdict.json").read_bytes())


def test_in_the_verdict_and_on_the_decision_card(night: Path) -> None:
    assert (verdict(night, 100).status, verdict(night, 100).causes) == ("NORMAL", [])
    bad = verdict(night, 101)
    (cause,) = bad.causes
    assert (cause.channel, cause.limit, cause.overlap) == ("CCD_TEMP_r0", "ccd_temperature", 1.0)
    assert cause.excess == pytest.approx(3.6, abs=0.1)
    assert cause.sigma is not None
    assert cause.sigma > 50
    assert {(s.part, s.metric) for s in cause.spoiled} == {("r0", "read_noise"), ("r0", "read_noise_ratio")}
    assert any(r.startswith("WARNING: hk_out_of_range of channel CCD_TEMP_r0: ccd_temperature: -115.") for r in bad.reasons), bad.reasons
    card = DecisionCard.model_validate_json((night / "out/t/exposures/20220101/00000101/decision.json").read_bytes())
    assert card.causes == [cause.sentence]


def test_the_metrics_are_those_of_the_samples(night: Path) -> None:
    (qa,) = [q for q in verdict(night, 100).qas if q.name == "housekeeping"]
    metrics = {m.name: m for m in qa.metrics}
    assert metrics["hk_temperature"].coords["channel"] == ["CCD_TEMP_b0", "CCD_TEMP_r0", "ROOM"]
    assert metrics["hk_temperature"].values[0] == pytest.approx(-120, abs=0.1)
    assert metrics["hk_temperature"].values[8:] == [20.0, 20.0, None, None]  # one sample says nothing of its scatter
    assert metrics["hk_nearest"].values[:2] == [0.0, 0.0]
    assert any("nearest one" in r.text for r in metrics["hk_nearest"].remarks)


def test_explain_shows_it_beside_the_metric_and_of_no_other(night: Path) -> None:
    where = ("--out", night / "out", "--tag", "t", "--instrument", "desi")
    status, text = quicklook("explain", 101, "r0", "read_noise", *where)
    assert status == 1
    assert "Likely causes" in text
    assert "CCD_TEMP_r0 was 3." in text
    assert "Likely causes" not in quicklook("explain", 101, "b0", "read_noise", *where)[1]
    status, text = quicklook("explain", 101, "hk_out_of_range", *where, "--json")
    data = json.loads(text)
    assert data["status"] == "WARNING"
    assert data["elements"][0]["at"] == {"channel": "CCD_TEMP_r0"}
    assert json.loads(quicklook("explain", 101, "r0", "read_noise", *where, "--json")[1])["causes"][0]["channel"] == "CCD_TEMP_r0"


def test_limits_are_tried_on_past_exposures(night: Path) -> None:
    (night / "tight.yaml").write_text(LIMITS)
    status, text = quicklook("judge", "--limits", night / "tight.yaml", "--site", night / "site.yaml", "--tag", "t", "--metric", "hk_temperature")
    assert status == 1
    assert "hk_temperature" in text
    assert "101" in text


def test_done_again_from_the_store_by_aim_and_by_run(night: Path) -> None:
    status, text = quicklook("aim", "--expid", 101, "--tag", "again", "--site", night / "site.yaml", "-j", 1, "--camera", "r0")
    assert status == 1, text
    assert [c.channel for c in verdict(night, 101, "again").causes] == ["CCD_TEMP_r0"]
    (night / "bare.yaml").write_text("instrument: desi\nraw: raw\ncalib: calib\nout: out\nhousekeeping: {config: ./hk.yaml}\n")
    run = ("run", "--night", 20220101, "--expid", 101, "--camera", "r0", "--site", night / "bare.yaml", "--quiet", "--no-plots")
    status, text = quicklook(*run, "--tag", "none")
    assert status == 1
    assert not [q for q in verdict(night, 101, "none").qas if q.name == "housekeeping"]  # there is no store where it would be
    status, text = quicklook(*run, "--tag", "joined", "--hk", night / "hk.sqlite")
    assert status == 1
    assert "likely causes:" in text
    assert quicklook(*run, "--tag", "x", "--hk", night / "no.sqlite")[0] == 2
