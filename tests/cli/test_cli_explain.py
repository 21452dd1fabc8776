"""`explain`, `export qa`, and `run --only-qa` on the stored results of a simulated night."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from inprocess import told as quicklook

from quicklook.api import open_session
from quicklook.cli.explain import sparkline
from quicklook.sim import Fault, plan_exposure, sim_instruments, write_calibrations, write_exposure

CAMERAS = sim_instruments(("b0", "r0"), scale="tiny", seed=5)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of three zeros, the last with a noisy amplifier C."""
    folder = tmp_path_factory.mktemp("explained")
    write_calibrations(folder, CAMERAS)
    for expid, faults in ((100, ()), (101, ()), (102, (Fault(name="hot_noise_amp", strength=4.0),))):
        path = write_exposure(folder, plan_exposure("zero", expid, faults=faults), CAMERAS)
        session = open_session(instrument="desi", calib=folder / "calib", out=folder / "out", tag="t", plots=expid == 102)
        done = [session.process("zero", path, camera.camera) for camera in CAMERAS]
        for part in done:
            session.write(part, "zero")
        session.conclude(session.peek(path), done, time.time_ns())
    return folder / "out"


def explain(out: Path, *words: object) -> tuple[int, str]:
    return quicklook("explain", *words, "--out", out, "--tag", "t")


def test_what_is_shown_of_an_alarm(out: Path) -> None:
    status, text = explain(out, "20220101/102", "r0", "read_noise")
    assert status == 1
    lines = [line.strip() for line in text.splitlines()]
    values = lines[lines.index("Values (4, worst first)") + 2 :]
    assert [line.split()[0] for line in values[:4]] == ["C", "A", "B", "D"]
    assert "normal 1.1 to 4.1, warning 0.6 to 4.6 electron; outside of it ALARM   [always]" in lines
    assert any(line.startswith("written in") and "limits/desi.yaml:" in line for line in lines)
    assert any(line.startswith("read_noise: normal 0.2 to 25") and "default.yaml:" in line for line in lines)
    assert any(line.startswith("The last 3 zero exposures of r0, at amp C") and line.endswith("█") for line in lines)
    assert any(line.startswith("bias ") and "days" in line for line in lines)
    assert any(line.startswith("chain zero (configuration ") for line in lines)
    assert f"read_noise: not drawn; --plot draws it from {out}/t/exposures/20220101/00000102/plots/plots-r0-00000102.npz" in lines


def test_json_has_every_element_and_where_its_limit_is_written(out: Path) -> None:
    status, text = explain(out, "102", "r0", "read_noise", "--json")
    data = json.loads(text)
    assert status == 1
    assert data["exposure"] == "20220101/00000102"
    assert [e["at"]["amp"] for e in data["elements"]] == ["C", "A", "B", "D"]
    assert [b["exposure"][-1] for b in data["last"]] == ["0", "1", "2"]
    stored = json.loads((out / "t/exposures/20220101/00000100/qa-r0-00000100.json").read_text())
    first = next(m for q in stored["qas"] for m in q["metrics"] if m["name"] == "read_noise")
    assert data["last"][0]["value"] == first["values"][first["coords"]["amp"].index("C")]
    assert data["deciding"]["source"].split("/")[-1].startswith("desi.yaml:")
    assert data["provenance"]["calibrations"]


def test_a_metric_of_the_whole_exposure_needs_no_camera(out: Path) -> None:
    status, text = explain(out, "101", "missing_cameras")
    assert status == 0
    assert "as a whole" in text
    assert explain(out, "101", "r0", "missing_cameras")[1].strip().endswith("Leave the camera out.")


def test_plots_that_are_data_alone_are_drawn_when_asked_for(out: Path) -> None:
    picture = out / "t/exposures/20220101/00000102/plots/dead_amp-b0-00000102.png"
    assert not picture.exists()
    assert "--plot draws it" in explain(out, "102", "b0", "dead_amp")[1]
    assert str(picture) in explain(out, "102", "b0", "dead_amp", "--plot")[1]
    assert picture.is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("999", "r0", "read_noise"), "20220101/00000102"),
        (("102", "read_noise"), "was measured in b0, r0"),
        (("102", "r1", "read_noise"), "it has: b0, r0"),
        (("102", "r0", "read_nois"), "Did you mean read_noise"),
        (("102", "r0", "fiducial_snr"), "QA snr, which measures it, is in no step of chain zero"),
        (("abc", "r0", "read_noise"), "NIGHT/EXPID"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is_near(out: Path, words: tuple[str, ...], said: str) -> None:
    status, text = explain(out, *words)
    assert status == 2
    assert said in text


def test_an_exposure_of_two_nights_must_be_named_with_its_night(out: Path, tmp_path: Path) -> None:
    result = (out / "t/exposures/20220101/00000100/qa-r0-00000100.json").read_text()
    for night in (20220101, 20220102):
        folder = tmp_path / f"t/exposures/{night}/00000100"
        folder.mkdir(parents=True)
        (folder / "qa-r0-00000100.json").write_text(result.replace('"night": 20220101', f'"night": {night}').replace('"night":20220101', f'"night":{night}'))
    status, text = explain(tmp_path, "100", "r0", "read_noise")
    assert status == 2
    assert "20220101/00000100, 20220102/00000100" in text
    assert explain(tmp_path, "20220102/100", "r0", "read_noise")[0] == 0


def test_only_qa_dry_shows_and_writes_nothing(out: Path) -> None:
    folder = out / "t/exposures/20220101/00000102"
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    raw = next(out.parent.glob("raw/*/00000102/desi-*.fits.fz"))
    words = ("run", raw, "--instrument", "desi", "--calib", out.parent / "calib", "--out", out, "--tag", "t", "--only-qa", "read_noise", "--dry")
    status, text = quicklook(*words)
    assert status == 1
    assert "the same" in text
    assert "nothing was written (--dry)" in text
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    lacking = quicklook(*words[:-2], "image_level")
    assert lacking[0] == 2
    assert "image_level needs the preproc that step preproc has made, which is not stored; have it stored" in lacking[1]


def test_export_in_the_structure_of_desi(out: Path, tmp_path: Path) -> None:
    status, text = quicklook("export", "qa", "20220101/102", "--camera", "r0", "--out", out, "--tag", "t")
    data = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no strict JSON"))
    assert status == 0
    assert list(data) == ["NIGHT", "EXPID", "CAMERA", "FLAVOR", "GENERAL_INFO", "TASKS"]
    metrics = data["TASKS"]["CHECK_CCDs"]["METRICS"]
    assert metrics["NOISE_AMP_STATUS"] == "ALARM"
    assert len(metrics["NOISE_AMP"]) == 4
    assert data["TASKS"]["CHECK_CCDs"]["PARAMS"]["NOISE_AMP_NORMAL_RANGE"] == [1.1, 4.1]
    assert "FIDSNR_TGT" in data["GENERAL_INFO"]["NOT_MEASURED"]
    quicklook("export", "qa", "102", "--out", out, "--tag", "t", "--to", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"ql-mergedQA-{c}-00000102.json" for c in ("b0", "r0")]
    assert json.loads((tmp_path / "ql-mergedQA-r0-00000102.json").read_text()) == data
    assert quicklook("export", "qa", "102", "--camera", "z9", "--out", out, "--tag", "t")[0] == 2


def test_export_into_what_is_no_folder_and_of_a_damaged_result(out: Path, tmp_path: Path) -> None:
    where = ("--out", out, "--tag", "t")
    (tmp_path / "blk").touch()
    status, text = quicklook("export", "qa", "20220101/102", *where, "--to", tmp_path / "blk" / "x")
    assert (status, "fault of the program" in text, "may not be written" in text) == (2, False, True)
    shutil.copytree(out / "t", tmp_path / "t")
    damaged = tmp_path / "t/exposures/20220101/00000102/qa-r0-00000102.json"
    damaged.write_text(damaged.read_text()[:300])
    status, text = quicklook("export", "qa", "20220101/102", "--out", tmp_path, "--tag", "t", "--to", tmp_path / "made")
    assert status == 2
    assert damaged.name in text
    assert not (tmp_path / "made").exists()
    assert quicklook("export", "qa", "20220101/102", "--out", tmp_path, "--tag", "t", "--camera", "b0", "--to", tmp_path / "made")[0] == 0


def test_a_tag_without_results_names_the_one_that_has_some(out: Path) -> None:
    status, text = quicklook("explain", "102", "r0", "read_noise", "--out", out)
    assert status == 2
    assert "give --tag t." in " ".join(text.split())


def test_bars() -> None:
    assert sparkline([0.0, 7.0, float("nan"), 3.0]) == "▁█·▄"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([float("nan")]) == "·"
