"""`quicklook judge` and `quicklook limits`: stored results judged again, limits learned, shown and checked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from quicklook.api import Session, open_session
from quicklook.cli.main import app
from quicklook.core.errors import BadConfig, BadData, QuicklookError
from quicklook.core.history import Selection
from quicklook.core.judge import Judge
from quicklook.core.rejudge import rejudge
from quicklook.core.status import Status
from quicklook.io.history import FileHistory
from quicklook.service.site import declared_metrics
from quicklook.sim import FAULTS, Fault, plan_exposure, sim_instruments, write_calibrations, write_exposure

CAMERAS = sim_instruments(("r0",), scale="tiny", seed=5)
PLANS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    ("zero", ()), ("zero", ("dead_amp",)), ("zero", ("hot_noise_amp",)), ("flat", ()), ("arc", ()), ("science", ()), ("science", ("missing_fibermap",)),
)  # fmt: skip
"""Flavors and faults of exposures 100, 101, ..."""


def process(session: Session, folder: Path, expid: int, flavor: Any, faults: tuple[str, ...]) -> None:
    """An exposure from the simulator to its files."""
    camera = "r0"
    write_exposure(folder, plan_exposure(flavor, expid, faults=tuple(Fault(name=f, camera=camera) for f in faults)), CAMERAS)
    path = folder / f"raw/20220101/{expid:08d}/desi-{expid:08d}.fits.fz"
    chain = session.site.chain_name(flavor)
    done = session.process(chain, path, camera)
    session.write(done, chain)
    session.conclude(session.peek(path), [done], time.time_ns())


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with some exposures."""
    folder = tmp_path_factory.mktemp("past")
    write_calibrations(folder, CAMERAS)
    session = open_session(instrument="desi", calib=folder / "calib", out=folder / "out", plots=False)
    for expid, (flavor, faults) in enumerate(PLANS, start=100):
        process(session, folder, expid, flavor, faults)
    return folder / "out"


def quicklook(*words: object) -> tuple[int, str]:
    """Exit status and what was said."""
    done = CliRunner().invoke(app, [str(w) for w in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def limits_file(folder: Path, *entries: str) -> Path:
    path = folder / "new.yaml"
    path.write_text("limits:\n" + "".join(f"  - {{{e}, reason: as a test, action: look}}\n" for e in entries))
    return path


def results(out: Path) -> list[Any]:
    return list(FileHistory(out).results(Selection(newest_first=False)))


def test_with_the_same_limits_nothing_changes_to_the_last_byte(out: Path) -> None:
    judge = Judge(open_session(instrument="desi").site.limits())
    stored = results(out)
    assert len(stored) == len(PLANS)
    assert {r.status for r in stored} >= {Status.ALARM, Status.UNKNOWN}
    for result in stored:
        assert rejudge(judge, result, definitions=declared_metrics()).model_dump_json() == result.model_dump_json()
    code, said = quicklook("judge", "--out", out)
    assert code == 0
    assert said.splitlines()[:3] == [
        f"{len(PLANS)} frames of {len(PLANS)} exposures judged again (tag live in {out}, nights 20220101 to 20220101)",
        "would change: 0 frames of 0 exposures",
        "would change: 0 metrics in all frames",
    ]


def test_what_new_limits_would_change(out: Path, tmp_path: Path) -> None:
    new = limits_file(
        tmp_path,
        "metric: read_noise, unit: electron, normal: [0, 0.1], when: {flavor: arc, camera: r0}",
        "metric: read_noise, unit: electron, normal: [0, 0.1], when: {flavor: dark}",
    )
    code, said = quicklook("judge", "--out", out, "--limits", new)
    assert code == 1
    assert "would change: 1 frame of 1 exposure" in said
    assert "20220101/00000104 r0 arc: " in said
    assert f"above 0.1 electron (normal: 0 to 0.1 electron) (4 of 4 are not NORMAL) [{new}:2]" in said
    assert f"new limits that judge nothing in these frames: {new}:3" in said
    code, text = quicklook("judge", "--out", out, "--limits", new, "--json")
    data = json.loads(text)
    assert (code, data["judged"], data["changed"], data["idle"]) == (1, len(PLANS), 1, [f"{new}:3"])
    assert [(f["exposure"], f["after"], [m["name"] for m in f["metrics"]]) for f in data["frames"]] == [("20220101/00000104", "ALARM", ["read_noise"])]


def test_what_the_limits_in_force_change_by_themselves_is_told(out: Path, tmp_path: Path) -> None:
    """Frames that were judged before the limits of the site were changed: no merit of the new ones."""
    site, new = tmp_path / "site.yaml", tmp_path / "other.yaml"
    limits_file(tmp_path, "metric: read_noise, unit: electron, normal: [0, 0.1], when: {flavor: arc}")
    new.write_text(limits_file(tmp_path, "metric: read_noise, unit: electron, normal: [0, 0.1], when: {flavor: flat}").read_text())
    limits_file(tmp_path, "metric: read_noise, unit: electron, normal: [0, 0.1], when: {flavor: arc}")
    site.write_text(f"instrument: desi\nlimits: [default, desi, ./new.yaml]\nout: {out}\n")
    _, said = quicklook("judge", "--site", site, "--limits", new)
    assert "would change: 2 frames of 2 exposures" in said
    assert "       1  of these with the limits of the site alone, which have changed since" in said
    _, text = quicklook("judge", "--site", site, "--limits", new, "--json")
    assert {f["flavor"]: f["anyway"] for f in json.loads(text)["frames"]} == {"arc": True, "flat": False}


def test_these_limits_alone(out: Path, tmp_path: Path) -> None:
    new = limits_file(tmp_path, 'metric: dead_amp, unit: "", normal: [0, 0]')
    code, text = quicklook("judge", "--out", out, "--limits", new, "--only", "--json", "--flavor", "zero")
    data = json.loads(text)
    after = {f["exposure"][-3:]: (f["before"], f["after"]) for f in data["frames"]}
    assert data["judged"] == 3
    assert after["102"] == ("ALARM", "NORMAL")  # its noise is no longer judged
    assert "101" not in {k for k, (before, now) in after.items() if before != now}
    assert code == 0


@pytest.mark.parametrize(
    ("words", "n"),
    [(("--since", 1), 7), (("--night", "20220101"), 7), (("--flavor", "zero", "--flavor", "arc"), 4), (("--flavor", "zero, arc", "--camera", "b0,r0"), 4)],
)
def test_what_is_selected(out: Path, words: tuple[object, ...], n: int) -> None:
    code, said = quicklook("judge", "--out", out, *words)
    assert said.startswith(f"{n} frames of ")
    assert code == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--night", "20220102-20220201"), "nothing of these nights is stored; there are nights 20220101 to 20220101"),
        (("--camera", "q9"), "no frame has camera q9; there are r0"),
        (("--flavor", "sience"), "no frame has flavor sience; there are arc, flat, science, zero"),
    ],
)
def test_what_selects_nothing_is_told(out: Path, words: tuple[object, ...], why: str) -> None:
    code, said = quicklook("judge", "--out", out, *words)
    assert (code, f"nothing was judged: {why}" in said) == (3, True)
    code, said = quicklook("limits", "learn", "--out", out, "-m", "read_noise", *words)
    assert (code, f"nothing was selected: {why}" in said) == (3, True)


def test_a_broken_file_is_counted(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "live/exposures/20220101/00000001"
    folder.mkdir(parents=True)
    (folder / "qa-r0-00000001.json").write_text("{")
    code, said = quicklook("judge", "--out", tmp_path)
    assert "left out, for it cannot be read: 1 file" in said
    assert code == 3


def test_what_cannot_be_judged(out: Path, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="there are no results under tag 'never'"):
        quicklook("judge", "--out", out, "--tag", "never")
    with pytest.raises(BadConfig, match="--night 2022: write a night as YYYYMMDD"):
        quicklook("judge", "--out", out, "--night", "2022")
    for night, why in (("20220102-20220101", "the first night is later than the last"), ("20220231", "write a night as YYYYMMDD")):
        with pytest.raises(BadConfig, match=f"--night {night}: {why}"):
            quicklook("judge", "--out", out, "--night", night)
    with pytest.raises(BadConfig, match="give --since or --night, not both"):
        quicklook("judge", "--out", out, "--night", "20220101", "--since", 3)
    with pytest.raises(BadConfig, match="--only needs limits"):
        quicklook("judge", "--out", out, "--only")
    with pytest.raises(BadConfig, match=r"new.yaml:2 \(limits\[0\]\): no QA measures 'reed_noise'; did you mean 'read_noise'"):
        quicklook("judge", "--out", out, "--limits", limits_file(tmp_path, "metric: reed_noise, unit: electron, normal: [0, 1]"))


def test_check(tmp_path: Path) -> None:
    path = limits_file(tmp_path, "metric: read_noise, unit: electron, normal: [0, 1], when: {flavor: zeroo, arm: r}")
    code, said = quicklook("limits", "check", path)
    assert code == 0
    assert f"warning: {path}:2: the limit of read_noise holds for flavor 'zeroo', which desi has not (did you mean 'zero'?)" in said
    assert "good: 1 limit of 1 metric" in said
    twice = ("metric: read_noise, unit: electron, normal: [0, 1], when: {arm: r}",) * 2
    _, said = quicklook("limits", "check", limits_file(tmp_path, *twice))
    assert f"warning: {path}:2: the limit of read_noise never applies: that at {path}:3 has the same conditions and comes later" in said
    with pytest.raises(BadConfig, match="limit of read_noise is in 'adu'"):
        quicklook("limits", "check", limits_file(tmp_path, "metric: read_noise, unit: adu, normal: [0, 1]"))


def test_show(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    limits_file(
        tmp_path,
        "metric: read_noise, unit: electron, normal: [0, 1], when: {camera: r0, amp: B}",
        "metric: read_noise, unit: electron, normal: [0, 2], when: {arm: r}",
        "metric: read_noise, unit: electron, normal: [0, 3], when: {arm: b}, valid: {from: 2022-01-01}",
        "metric: read_noise_image, unit: electron, normal: [0, 5], when: {flavor: science}",
        "metric: read_noise_image, unit: electron, normal: [0, 4], when: {flavor: science, exptime: '>=60 <120'}",
    )
    site.write_text("instrument: desi\nlimits: [default, ./new.yaml]\n")
    _, said = quicklook("limits", "show", "--site", site, "--metric", "read_noise", "--camera", "r0")
    heads = [line[:24] for line in said.splitlines() if "read_noise" in line]
    assert heads == ["could read_noise: normal", "wins  read_noise: normal", "      read_noise: normal"]
    _, said = quicklook("limits", "show", "--site", site, "-m", "read_noise", "--at", "camera=r0", "--at", "amp=B")
    assert said.splitlines()[0].startswith("wins  read_noise: normal 0 to 1 electron [camera r0; amp B]")
    _, said = quicklook("limits", "show", "--site", site, "-m", "read_noise", "--at", "camera=b3", "--at", "night=20220105")
    assert said.splitlines()[0].startswith("wins  read_noise: normal 0 to 3 electron [arm b; 2022-01-01 to ]")
    _, said = quicklook("limits", "show", "--site", site, "-m", "read_noise_image", "--flavor", "science", "--at", "exptime=90")
    assert said.splitlines()[0].startswith("wins  read_noise_image: normal 0 to 4 electron [flavor science; exptime >=60 <120]")
    _, said = quicklook("limits", "show", "--site", site, "-m", "read_noise_image", "--flavor", "science", "--at", "exptime=120")
    assert said.splitlines()[0].startswith("wins  read_noise_image: normal 0 to 5 electron [flavor science]")
    _, said = quicklook("limits", "show", "--site", site)
    assert len(said.splitlines()) == len(open_session(site).site.limits().limits)
    with pytest.raises(BadConfig, match="nothing has no limit, so it is never judged"):
        quicklook("limits", "show", "--site", site, "-m", "nothing")
    with pytest.raises(BadConfig, match="--at camera: write NAME=VALUE"):
        quicklook("limits", "show", "--site", site, "--at", "camera")


def test_list_limits_shows_all() -> None:
    _, said = quicklook("list", "limits")
    lines = said.splitlines()
    assert {"default", "desi", "virus"} <= set(lines)
    assert sum("configs/limits/desi.yaml:" in line for line in lines) > 10
    for line in open_session(instrument="desi").site.limits().limits:
        assert f"{line.metric}: normal" in said


def test_learn_from_what_is_stored(out: Path, tmp_path: Path) -> None:
    code, said = quicklook("limits", "learn", "--out", out, "-m", "read_noise", "--by", "camera,amp", "--write", tmp_path / "no.yaml")
    assert code == 3
    assert "read_noise: 4 groups were measured in 6 exposures each, at least 20 are needed" in said
    assert not (tmp_path / "no.yaml").exists()
    path = tmp_path / "new.yaml"
    code, said = quicklook("limits", "learn", "--out", out, "-m", "read_noise", "--by", "camera,amp", "--at-least", 5, "--write", path)
    assert (code, "4 limits from 7 exposures" in said) == (0, True)
    assert quicklook("limits", "check", path)[0] == 0
    text = path.read_text()
    assert "rests on 6 exposures, 6 values" in text  # with the noisy one, whose other alarms are of the same QA
    assert "; left out, ALARM for another metric: 1" in text
    _, said = quicklook("judge", "--out", out, "--limits", path, "--json")
    changed = {f["exposure"][-3:] for f in json.loads(said)["frames"]}
    assert not changed & {"100", "103", "104", "105"}  # what is sound stays so


TABLE = "NIGHT,EXPID,CAMERA,AMP,RN\n" + "".join(
    f"2022010{i},{i},r0,{amp},{3 + 0.01 * ((7 * i + j) % 5) + (0.9 if (i, amp) == (4, 'C') else 0)}\n" for i in range(1, 8) for j, amp in enumerate("ABCD")
)


def test_a_table_is_learned_from_and_judged(tmp_path: Path) -> None:
    table, new = tmp_path / "t.csv", tmp_path / "new.yaml"
    table.write_text(TABLE)
    words = ("--table", table, "--metric", "read_noise=RN")
    assert quicklook("limits", "learn", *words, "--by", "amp", "--at-least", 7, "--write", new)[0] == 0
    code, said = quicklook("judge", *words, "--limits", new)
    assert code == 1
    assert "t.csv: 28 values: 27 NORMAL, 1 ALARM" in said
    assert "20220104/00000004 r0: ALARM: read_noise of amp C is 3.9" in said
    code, said = quicklook("limits", "outliers", *words, "--by", "camera,amp", "--at-least", 6)
    assert code == 1
    assert "28 values of 4 groups in 7 exposures, each judged by the others: 1 ALARM" in said
    assert "it is out in 1 of 7 exposures" in said
    code, said = quicklook("limits", "outliers", *words, "--by", "camera,amp", "--at-least", 6, "--json")
    data = json.loads(said)
    assert (data["judged"], data["findings"][0]["outliers"][0]["exposure"]) == (28, "20220104/00000004")
    code, said = quicklook("limits", "outliers", *words, "--by", "camera,amp", "--at-least", 8)
    assert (code, "each judged by the others: nothing could be judged" in said, "none is out" in said) == (3, True, False)
    with pytest.raises(BadConfig, match="must be finite"):
        quicklook("limits", "learn", *words, "--narrowest", "nan")
    with pytest.raises(BadConfig, match="which column holds which metric"):
        quicklook("limits", "learn", "--table", table)


@pytest.mark.long
def test_every_fault_judged_again_stays_as_it_was(tmp_path: Path) -> None:
    """Some sixty exposures of the simulator, with each of its faults and without, of every flavor."""
    write_calibrations(tmp_path, CAMERAS)
    session = open_session(instrument="desi", calib=tmp_path / "calib", out=tmp_path / "out", plots=False)
    judge, metrics = Judge(session.site.limits()), declared_metrics()
    expid = 1000
    for fault in ("", *FAULTS):
        for flavor in ("zero", "dark", "flat", "arc", "science"):
            expid += 1
            try:
                process(session, tmp_path, expid, flavor, (fault,) if fault else ())
            except (QuicklookError, ValueError):
                continue  # a fault that this flavor cannot have, or a file that is no exposure
    stored = results(tmp_path / "out")
    assert len(stored) > 40
    for result in stored:
        assert rejudge(judge, result, definitions=metrics).model_dump_json() == result.model_dump_json()
