"""The daemon from end to end, in this process: files in, events, verdicts and files out."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from quicklook.core.errors import BadConfig
from quicklook.core.keys import Unit
from quicklook.service.daemon import Daemon
from quicklook.service.site import load_site
from quicklook.sim import Fault, plan_exposure, raw_path, sim_instruments, write_calibrations, write_exposure

NIGHT = 20220101
CAMERAS = sim_instruments(("b0", "r0"), scale="tiny", seed=3)
QUICK = {"settle_s": 0.05, "patience_s": 0.5, "companion_s": 0.4, "gather_s": 0.3, "rescan_s": 0.5}


@pytest.fixture
def site(tmp_path):
    write_calibrations(tmp_path, CAMERAS)
    (tmp_path / "raw").mkdir()
    return make_site(tmp_path)


def make_site(folder: Path, **options):
    given = {
        "instrument": "desi",
        "cameras": ["b0", "r0"],
        "raw": str(folder / "raw"),
        "calib": str(folder / "calib"),
        "out": str(folder / "out"),
        "work": {"executor": "inline"},
        "watch": QUICK,
        "sinks": {"files": {}},
        **options,
    }
    return load_site(None, options=given)


def run(site, seconds: float = 120.0, until=None):
    """Run a daemon until it is idle (or `until(daemon)`); returns its events."""
    daemon = Daemon(site)
    end, seen_work = time.monotonic() + seconds, False
    daemon.start()
    try:
        while time.monotonic() < end:
            daemon.step()
            seen_work = seen_work or daemon.journal.last_seq() > 1
            if until(daemon) if until else (seen_work and daemon.idle):
                break
        daemon.drain(5)
        return daemon.journal.events(limit=100000)
    finally:
        daemon.stop()


def unit_verdicts(events):
    return {Unit.parse(e.unit).expid: e.payload for e in events if e.kind == "unit_verdict"}


def folder_of(site, expid: int) -> Path:
    return site.out / "live" / "exposures" / str(NIGHT) / f"{expid:08d}"


def test_two_exposures_get_one_verdict_each_and_their_files(site, tmp_path):
    for expid, flavor in ((100, "zero"), (101, "flat")):
        write_exposure(tmp_path, plan_exposure(flavor, expid, night=NIGHT), CAMERAS)
    events = run(site, until=lambda d: len(unit_verdicts(d.journal.events(limit=10000))) == 2 and d.idle)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    verdicts = unit_verdicts(events)
    assert {n: v["status"] for n, v in verdicts.items()} == {100: "NORMAL", 101: "NORMAL"}, verdicts
    assert [e.part for e in events if e.kind == "verdict" and e.unit.endswith("101")] == ["b0", "r0"]
    for expid in (100, 101):
        folder = folder_of(site, expid)
        for name in (f"qa-b0-{expid:08d}.json", f"qa-r0-{expid:08d}.json", "verdict.json", "receipt.json"):
            json.loads((folder / name).read_text(), parse_constant=lambda word: pytest.fail(f"{word} in {name}"))
        receipt = json.loads((folder / "receipt.json").read_text())
        order = [receipt["times_ns"][k] for k in ("closed", "seen", "readable", "b0/started", "b0/read", "b0/preproc", "b0/verdict", "verdict")]
        assert order == sorted(order)
        assert receipt["seconds_to_verdict"] == pytest.approx((order[-1] - order[0]) / 1e9, abs=1e-3)
    assert not [p for p in site.out.rglob(".*")], "temporary files are left behind"


def test_steps_and_qas_stand_before_their_verdict(site, tmp_path):
    write_exposure(tmp_path, plan_exposure("zero", 100, night=NIGHT), CAMERAS)
    kinds = [e.kind for e in run(site) if e.part == "r0"]
    assert kinds[0] == "started"
    assert kinds.index("step") < kinds.index("qa") < kinds.index("verdict") < kinds.index("product")


def test_a_missing_companion_is_waited_for_and_then_unknown(site, tmp_path):
    planned = plan_exposure("science", 100, night=NIGHT, faults=(Fault(name="missing_fibermap"),))
    write_exposure(tmp_path, planned, CAMERAS)
    start = time.monotonic()
    verdict = unit_verdicts(run(site))[100]
    assert time.monotonic() - start > QUICK["companion_s"]
    assert verdict["status"] == "UNKNOWN"
    assert any("fibermap" in reason for reason in verdict["reasons"])


def test_a_late_companion_within_its_time_is_used(site, tmp_path):
    planned = plan_exposure("science", 100, night=NIGHT)
    raw = write_exposure(tmp_path, planned, CAMERAS)
    late = raw.with_name("fibermap-00000100.fits")
    held = tmp_path / "held.fits"
    os.rename(late, held)
    daemon = Daemon(make_site(tmp_path, chains={"_default": "raw"}, watch={**QUICK, "companion_s": 60.0}))
    daemon.start()
    try:
        start = time.monotonic()
        while time.monotonic() < start + 60 and not unit_verdicts(daemon.journal.events()):
            daemon.step()
            if held.exists() and time.monotonic() > start + 1:
                os.rename(held, late)
        verdict = unit_verdicts(daemon.journal.events())[100]
        assert verdict["status"] == "NORMAL", verdict["reasons"]
    finally:
        daemon.stop()


def test_a_truncated_file_is_refused_with_its_bytes_and_taken_when_whole(site, tmp_path):
    planned = plan_exposure("zero", 100, night=NIGHT)
    raw = write_exposure(tmp_path, planned, CAMERAS)
    whole = raw.read_bytes()
    cut = int(0.4 * len(whole))
    raw.write_bytes(whole[:cut])
    events = run(site, until=lambda d: any(e.kind == "refused" for e in d.journal.events()))
    refused = next(e for e in events if e.kind == "refused")
    assert str(cut) in refused.payload["failure"]["message"].replace(",", "")
    raw.write_bytes(whole)
    verdicts = unit_verdicts(run(site, until=lambda d: bool(unit_verdicts(d.journal.events())) and d.idle))
    assert verdicts[100]["status"] == "NORMAL"


def test_a_file_that_stalls_between_two_cameras_is_waited_for(site, tmp_path):
    raw = write_exposure(tmp_path, plan_exposure("zero", 100, night=NIGHT), CAMERAS)
    whole = raw.read_bytes()
    raw.write_bytes(whole[: len(whole) // 2])
    daemon = Daemon(make_site(tmp_path, watch={**QUICK, "companion_s": 60.0}))
    assert daemon.reader.peek(raw).cameras == ("b0",), "the cut does not lie between the two cameras"
    daemon.start()
    try:
        start = time.monotonic()
        while time.monotonic() < start + 60 and not unit_verdicts(daemon.journal.events()):
            daemon.step()
            if time.monotonic() > start + 1 and raw.stat().st_size < len(whole):
                raw.write_bytes(whole)
        verdict = unit_verdicts(daemon.journal.events())[100]
    finally:
        daemon.stop()
    assert (verdict["status"], sorted(verdict["parts"])) == ("NORMAL", ["b0", "r0"])


def test_an_absent_camera_is_one_alarm(site, tmp_path):
    write_exposure(tmp_path, plan_exposure("zero", 100, night=NIGHT), CAMERAS[:1])
    verdict = unit_verdicts(run(site))[100]
    assert verdict["status"] == "ALARM"
    assert verdict["missing"] == ["r0"]
    assert [q["name"] for q in verdict["qas"]] == ["missing_cameras"]
    assert json.loads((folder_of(site, 100) / "decision.json").read_text())["decision"] == "call"
    assert sum("r0" in reason for reason in verdict["reasons"]) == 1


def test_what_was_done_is_not_done_again_and_a_changed_file_is_a_new_revision(site, tmp_path):
    planned = plan_exposure("zero", 100, night=NIGHT)
    write_exposure(tmp_path, planned, CAMERAS)
    first = run(site)
    quiet = run(site, seconds=1.5, until=lambda d: False)
    assert [e.kind for e in quiet[len(first) :] if e.kind not in ("heartbeat", "disk")] == []
    time.sleep(0.05)
    raw = raw_path(tmp_path, planned)
    raw.write_bytes(raw.read_bytes())
    last = run(site, until=lambda d: sum(e.kind == "unit_verdict" for e in d.journal.events(limit=10000)) == 2)
    assert [e.revision for e in last if e.kind == "unit_verdict"] == [0, 1]
    names = {p.name for p in folder_of(site, 100).iterdir()}
    assert {"verdict.rev0.json", "verdict.rev1.json", "verdict.json", "qa-r0-00000100.json", "qa-r0-00000100.rev0.json"} <= names
    assert (folder_of(site, 100) / "plots" / "plots-r0-00000100.rev0.npz").is_file()


def test_two_daemons_do_not_share_a_folder(site):
    daemon = Daemon(site)
    daemon.start()
    try:
        with pytest.raises(BadConfig, match="another daemon"):
            Daemon(site).start()
    finally:
        daemon.stop()


def test_newest_first(site, tmp_path):
    for expid in (100, 101, 102, 103):
        write_exposure(tmp_path, plan_exposure("zero", expid, night=NIGHT), CAMERAS)
    events = run(site, until=lambda d: len(unit_verdicts(d.journal.events(limit=10000))) == 4)
    done = [Unit.parse(e.unit).expid for e in events if e.kind == "unit_verdict"]
    assert done == sorted(done, reverse=True)
