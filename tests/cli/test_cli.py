"""The command line from outside: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from inprocess import Done, quicklook

from quicklook.sim import Fault, plan_exposure, sim_instruments, write_calibrations, write_exposure

CAMERAS = sim_instruments(("b0", "r0"), scale="tiny", seed=5)


def program(*words: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own."""
    done = subprocess.run([sys.executable, "-m", "quicklook", *map(str, words)], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    write_calibrations(folder, CAMERAS)
    write_exposure(folder, plan_exposure("zero", 100), CAMERAS)
    write_exposure(folder, plan_exposure("zero", 101, faults=(Fault(name="dead_amp", camera="r0"),)), CAMERAS)
    write_exposure(folder, plan_exposure("science", 102, faults=(Fault(name="missing_fibermap"),)), CAMERAS)
    write_exposure(folder, plan_exposure("flat", 103), CAMERAS)
    write_exposure(folder, plan_exposure("science", 104, faults=(Fault(name="missing_fibermap"), Fault(name="wrong_night"))), CAMERAS)
    return folder


def raw(night: Path, expid: int) -> Path:
    return night / f"raw/20220101/{expid:08d}/desi-{expid:08d}.fits.fz"


def options(night: Path, out: Path) -> list[object]:
    return ["--instrument", "desi", "--calib", night / "calib", "--out", out]


def run(night: Path, out: Path, *words: object) -> Done:
    return quicklook("run", *words, *options(night, out))


def test_a_good_zero_is_normal_and_its_files_are_there(night, tmp_path):
    done = program("run", "zero", raw(night, 100), "--write", "preproc", *options(night, tmp_path))
    assert done.returncode == 0, done.stdout
    assert "b0: ● NORMAL" in done.stdout
    assert "read_noise" in done.stdout
    folder = tmp_path / "run/exposures/20220101/00000100"
    names = {p.name for p in folder.iterdir()}
    assert {"qa-b0-00000100.json", "qa-r0-00000100.json", "preproc-b0-00000100.fits", "plots"} <= names
    assert len(list((folder / "plots").glob("*.png"))) >= 8
    result = json.loads((folder / "qa-r0-00000100.json").read_text())
    assert result["status"] == "NORMAL"
    assert result["measured"] == result["expected"] > 5
    assert result["provenance"]["calibrations"][0]["kind"] == "bias"
    assert result["provenance"]["versions"]["numpy"]


def test_a_dead_amplifier_is_an_alarm_by_name_and_exit_status_1(night, tmp_path):
    done = program("run", "raw", raw(night, 101), "--camera", "r0", "--no-plots", "-q", *options(night, tmp_path))
    assert done.returncode == 1
    assert "ALARM: dead_amp of amp B" in done.stdout
    assert "what to do" in done.stdout


def test_a_missing_fibre_map_is_unknown_and_exit_status_3(night, tmp_path):
    done = run(night, tmp_path, "raw", raw(night, 102), "--no-plots", "-q")
    assert done.returncode == 3
    assert "UNKNOWN: companion_missing" in done.stdout


def test_a_step_that_failed_is_exit_status_3_although_the_verdict_is_a_warning(night, tmp_path):
    done = run(night, tmp_path, raw(night, 104), "--camera", "r0", "--no-plots", "-q")
    assert "WARNING" in done.stdout.splitlines()[0]
    assert "UNKNOWN: step compute_sky failed" in done.stdout
    assert done.returncode == 3


def test_an_exposure_by_its_number(night, tmp_path):
    done = run(night, tmp_path, "raw", "--raw", night / "raw", "--night", 20220101, "--expid", 103, "--camera", "b0", "--no-plots", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20220101/00000103 b0: ● NORMAL" in done.stdout


def test_without_a_chain_the_flavor_chooses(night, tmp_path):
    by_number = run(night, tmp_path, "--raw", night / "raw", "--night", 20220101, "--expid", 100, "--camera", "b0", "--no-plots")
    by_file = run(night, tmp_path, raw(night, 103), "--camera", "b0", "--no-plots")
    assert (by_number.returncode, by_file.returncode) == (0, 0), by_number.stderr + by_file.stderr
    assert "chain zero" in by_number.stdout
    assert "camera b0" in by_file.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["raw", "absent.fits"], "there is no file absent.fits"),
        (["zeros", "absent.fits"], "there is no file"),
        (["raw"], "nothing to run"),
    ],
)
def test_what_cannot_run_ends_with_2_and_says_why(night, tmp_path, words, said):
    done = run(night, tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("preproc.overscn=row", "did you mean 'overscan'"),
        ("preprok.overscan=row", "did you mean 'preproc'"),
        ("preproc.overscan", "step.param=value"),
        ("preproc.pixflat_min=high", "number"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_setting_and_a_hint(night, tmp_path, setting, said):
    done = run(night, tmp_path, "raw", raw(night, 100), "-c", setting)
    assert done.returncode == 2
    assert f"-c {setting}" in done.stderr
    assert said in done.stderr


def test_badamps_are_masked_and_left_out_of_every_sum(night, tmp_path):
    done = run(night, tmp_path, "raw", raw(night, 100), "--camera", "b0", "--badamps", "b0D", "--no-plots", "--write", "preproc")
    result = json.loads((tmp_path / "run/exposures/20220101/00000100/qa-b0-00000100.json").read_text())
    assert (done.returncode, result["status"]) == (0, "NORMAL"), done.stdout
    metrics = [m for q in result["qas"] for m in q["metrics"] if "amp" in m["coords"] and m["not_applicable"] is None]
    assert {m["name"] for m in metrics} >= {"dead_amp", "read_noise", "bias_level", "saturated_fraction", "lit_fraction", "masked_fraction"}
    for metric in metrics:
        at = metric["coords"]["amp"].index("D")
        assert (metric["values"][at], metric["statuses"][at]) == (None, None), metric["name"]
        assert {"at": ["D"], "text": "known to be bad"} in metric["remarks"]
    assert result["tags"]["bad_amplifiers"] == "D"


@pytest.mark.parametrize(("name", "said"), [("b0Q", "camera b0 of desi has amplifiers A, B, C, D"), ("zz", "begins with no camera of desi")])
def test_a_bad_amplifier_that_there_is_not_is_refused(night, tmp_path, name, said):
    done = run(night, tmp_path, "raw", raw(night, 100), "--badamps", name)
    assert done.returncode == 2
    assert f"--badamps: {name}" in done.stderr
    assert said in done.stderr


def test_a_chain_file_with_a_fault_is_refused_with_file_and_line(night, tmp_path):
    chain = tmp_path / "mine.yaml"
    chain.write_text("chain: mine\nsteps:\n  - name: read\n  - name: preproc\n    params:\n      overscan: sideways\n")
    done = run(night, tmp_path, chain, raw(night, 100))
    assert done.returncode == 2
    assert "mine.yaml:6" in done.stderr


def test_validate_expand_is_a_chain_that_means_the_same(tmp_path):
    done = quicklook("validate", "raw", "--expand", "-c", "preproc.overscan=median")
    assert done.returncode == 0, done.stderr
    expanded = yaml.safe_load(done.stdout)
    params = expanded["steps"][1]["params"]
    assert params["overscan"] == "median"
    assert len(params) > 10
    again = tmp_path / "raw.yaml"
    again.write_text(done.stdout)
    assert quicklook("validate", again, "--expand").stdout == done.stdout


def test_validate_says_good_for_every_shipped_instrument():
    names = quicklook("list", "instruments").stdout.split()
    assert {"desi", "kast_blue", "virus", "vis_bench"} <= set(names)
    for name in names:
        done = quicklook("validate", "--instrument", name)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("good\n")


def test_list_shows_parameters_with_defaults_and_descriptions():
    done = quicklook("list", "algorithms", "--long")
    assert "preproc" in done.stdout
    assert "overscan =" in done.stdout
    assert "read_noise" in quicklook("list", "metrics").stdout
    assert "dead_amp" in quicklook("list", "faults").stdout


def test_simulate_writes_a_night(tmp_path):
    done = quicklook("simulate", tmp_path / "n", "-n", 2, "--scale", "tiny", "--camera", "r0")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "n").rglob("desi-*.fits.fz"))) == 2
    assert (tmp_path / "n/calib").is_dir()


@pytest.mark.parametrize("words", [["--flavor", "sky"], ["--fault", "gremlins"], ["--scale", "huge"], ["--camera", "q0"]])
def test_simulate_refuses_what_it_does_not_know(tmp_path, words):
    done = quicklook("simulate", tmp_path, *words)
    assert done.returncode == 2
    assert words[1] in done.stderr


def test_bench_shows_every_step_warm_and_first_and_the_floors():
    done = program("bench", "raw", "--scale", "tiny", "-n", 2, "--json", "-c", "preproc.cosmics=false")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    for name in ("read", "preproc", "read / read_noise", "all QAs", "file to verdict"):
        assert 0 < report["warm_s"][name]["min"] <= report["first_call_s"][name] * 1.5
    assert report["first_call_s"]["new process to verdict"] > report["first_call_s"]["file to verdict"]
    assert len(report["floors"]) == 3
    assert all(value > 0 for value in report["floors"].values())


def test_listen_refuses_an_address_that_is_none():
    done = program("listen", "--endpoint", "nowhere", "--timeout", "0.2")
    assert done.returncode == 2
    assert "is no address" in done.stderr
    assert "Write tcp://HOST:PORT." in done.stderr
