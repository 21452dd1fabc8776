"""`run` ends with what to do; absent cameras; `override` on files; `listen` shows both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli_revisions import quicklook

from quicklook.cli.listen import _line
from quicklook.client import Message
from quicklook.core.decision import DecisionCard
from quicklook.core.events import Decided, Event, Overridden, draft
from quicklook.core.keys import Unit
from quicklook.core.results import Override, PartResult, UnitVerdict
from quicklook.core.status import Status
from quicklook.sim import Fault, plan_exposure, sim_instruments, write_calibrations, write_exposure

CAMERAS = sim_instruments(("b0", "r0"), scale="tiny", seed=5)
RAW = "raw/20220101/00000100/desi-00000100.fits.fz"
FOLDER = "run/exposures/20220101/00000100"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    write_calibrations(folder, CAMERAS)
    write_exposure(folder, plan_exposure("zero", 100, faults=(Fault(name="dead_amp", camera="r0"),)), CAMERAS)
    return folder


def test_run_says_what_to_do_and_a_person_may_know_better(night: Path, tmp_path: Path) -> None:
    options = ("--instrument", "desi", "--out", tmp_path)
    status, text = quicklook("run", RAW, *options, "--calib", "calib", "-q", "--no-plots", "--goal", "efftime=900", cwd=night)
    assert status == 1
    assert "20220101/00000100 CALL SOMEBODY: detectors are not as they should be (dead_amp in r0)" in text
    assert "goal efftime of 900 s (given by hand): effective_time was not measured" in text
    folder = tmp_path / FOLDER
    card = DecisionCard.model_validate_json((folder / "decision.json").read_text())
    assert (card.decision, card.status, card.cameras, card.revision) == ("call", Status.ALARM, 2, 0)
    words = ("override", "100", "r0", "--status", "normal", "--by", "Ann", "--reason", "known since May", "--tag", "run")
    status, text = quicklook(*words, *options, cwd=night)
    assert status == 0, text
    assert "was (revision 0): ■ ALARM" in text
    assert "is (revision 1): ● NORMAL" in text
    assert "GO ON" in text
    assert "files alone" in text
    verdict = UnitVerdict.model_validate_json((folder / "verdict.json").read_text())
    assert (verdict.status, verdict.revision, verdict.parts["r0"], verdict.overrides[0].reason) == (Status.NORMAL, 1, Status.NORMAL, "known since May")
    assert json.loads((folder / "verdict.rev0.json").read_text())["status"] == "ALARM"
    part = PartResult.model_validate_json((folder / "qa-r0-00000100.json").read_text())
    assert part.override is not None
    assert (part.revision, part.status, part.override.was) == (1, Status.NORMAL, Status.ALARM)
    assert part.reasons[0] == "NORMAL: by Ann, in place of ALARM: known since May"
    assert PartResult.model_validate_json((folder / "qa-r0-00000100.rev0.json").read_text()).status is Status.ALARM
    # what is processed again comes after it
    assert quicklook("run", RAW, *options, "--calib", "calib", "-q", "--no-plots", cwd=night)[0] == 1
    assert json.loads((folder / "verdict.json").read_text())["revision"] == 2
    assert json.loads((folder / "qa-r0-00000100.rev1.json").read_text())["override"]["by"] == "Ann"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("20220101/100", "r0", "--status", "GOOD", "--by", "a", "--reason", "b"), "--status GOOD: write one of ALARM, WARNING, UNKNOWN, NORMAL"),
        (("20220101/100", "r0", "--status", "NORMAL", "--by", "", "--reason", "b"), "give --by NAME and --reason TEXT"),
        (("20220101/100", "r0", "--status", "NORMAL", "--by", "a", "--reason", " "), "give --by NAME and --reason TEXT"),
        (("100", "--status", "NORMAL", "--by", "a", "--reason", "b"), "there are no results under tag 'live'"),
        (("x/100", "--status", "NORMAL", "--by", "a", "--reason", "b"), "'x/100' names no unit; write NIGHT/EXPID"),
        (("20220101/100", "--status", "NORMAL", "--by", "a", "--reason", "b"), "there is no verdict of exposure 20220101/00000100 under tag live"),
    ],
)
def test_what_override_refuses(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    status, text = quicklook("override", *words, "--instrument", "desi", "--out", tmp_path, cwd=tmp_path)
    assert status == 2
    assert says in text
    assert "Edit the configuration" not in text or "names no unit" in text


def test_a_camera_that_should_be_there_is_one_alarm_with_its_picture(night: Path, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(f"instrument: desi\ncameras: [b0, r0, z0]\ncalib: {night / 'calib'}\nout: {tmp_path}\n")
    (tmp_path / "bare.yaml").write_text("chain: bare\nsteps: [{name: read, qas: [dead_amp]}]\nunit_qas: [missing_cameras]\n")
    for revision in (0, 1):
        status, text = quicklook("run", tmp_path / "bare.yaml", night / RAW, "--site", tmp_path / "site.yaml", "-q", cwd=night)
        assert status == 1
        assert "2 of 3 cameras" in text
        verdict = json.loads((tmp_path / FOLDER / "verdict.json").read_text())
        assert (verdict["revision"], verdict["missing"]) == (revision, ["z0"])
        assert [r for r in verdict["reasons"] if "z0" in r] == [r for r in verdict["reasons"] if "missing_cameras is 1" in r]
    plots = {p.name for p in (tmp_path / FOLDER / "plots").iterdir() if "missing" in p.name or p.name.startswith("plots-0")}
    names = ("missing_cameras-00000100.png", "plots-00000100.npz", "missing_cameras-00000100.rev0.png", "plots-00000100.rev0.npz")
    assert plots == set(names)
    # of a camera that was asked for nothing else is expected
    quicklook("run", tmp_path / "bare.yaml", night / RAW, "--camera", "b0", "--site", tmp_path / "site.yaml", "-q", "--no-plots", cwd=night)
    assert json.loads((tmp_path / FOLDER / "verdict.json").read_text())["missing"] == []


def test_a_goal_that_nobody_knows_is_refused(night: Path, tmp_path: Path) -> None:
    status, text = quicklook("run", RAW, "--instrument", "desi", "--out", tmp_path, "--goal", "depth=3", "-q", "--no-plots", cwd=night)
    assert status == 2
    assert "there is no goal 'depth'" in text
    assert not (tmp_path / FOLDER).exists(), "it is refused before anything is done"


def test_listen_shows_a_decision_as_a_block() -> None:
    unit = Unit(20220101, 7)
    card = DecisionCard(
        night=unit.night, expid=unit.expid, tag="live", revision=0, status=Status.ALARM, decision="call", rule="x", why="it is dark", action="call Ann",
        reasons=["ALARM: r0: dead"], measured=3, expected=4, cameras=1, cameras_expected=2,
    )  # fmt: skip
    change = Override(part="r0", was=Status.ALARM, status=Status.NORMAL, by="Bob", reason="known", time=1)
    events = [draft(Decided(**card.model_dump()), unit=unit), draft(Overridden(**change.model_dump()), unit=unit, part="r0")]
    shown = [_line(Message(event=Event(**e.model_dump(), epoch="e", seq=5, time=1))) for e in events]
    assert shown[0].splitlines()[1:] == [
        "        CALL SOMEBODY: it is dark   ALARM",
        "        1 of 2 cameras and 3 of 4 QAs measured; no goal was given",
        "        why:",
        "          - ALARM: r0: dead",
        "        what to do:",
        "          - call Ann",
    ]
    assert shown[1].endswith("NORMAL: by Bob, in place of ALARM: known")
