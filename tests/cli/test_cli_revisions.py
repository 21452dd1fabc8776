"""`run` twice keeps the earlier result; its verdict and receipt; what it says when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from inprocess import told as quicklook

from quicklook.cli.crash import report_of
from quicklook.io.metricstore import MetricStore, store_path
from quicklook.sim import Fault, plan_exposure, sim_instruments, write_calibrations, write_exposure

CAMERAS = sim_instruments(("b0", "r0"), scale="tiny", seed=5)
EXPOSURE = "run/exposures/20220101/00000100"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    write_calibrations(folder, CAMERAS)
    write_exposure(folder, plan_exposure("zero", 100), CAMERAS)
    return folder


def run(night: Path, out: Path, *words: object) -> tuple[int, str]:
    raw = night / "raw/20220101/00000100/desi-00000100.fits.fz"
    return quicklook("run", "zero", raw, "--instrument", "desi", "--calib", night / "calib", "--out", out, "-q", *words, cwd=night)


def load(path: Path) -> dict:
    return json.loads(path.read_text())


def test_a_second_run_keeps_the_first(night: Path, tmp_path: Path) -> None:
    first = run(night, tmp_path, "--write", "preproc")
    folder = tmp_path / EXPOSURE
    assert first[0] == 0, first[1]
    verdict, receipt = load(folder / "verdict.json"), load(folder / "receipt.json")
    assert (verdict["revision"], verdict["status"], sorted(verdict["parts"])) == (0, "NORMAL", ["b0", "r0"])
    times = list(receipt["times_ns"].values())
    assert times == sorted(times)
    assert {"seen", "b0/started", "b0/read", "r0/verdict", "verdict"} <= set(receipt["times_ns"])
    assert receipt["seconds_to_verdict"] == pytest.approx((times[-1] - times[0]) / 1e9, abs=0.05)
    plots = {p.name for p in (folder / "plots").iterdir()}
    again = run(night, tmp_path, "--camera", "r0", "-c", "preproc.overscan=median")
    assert again[0] == 0, again[1]
    assert [load(folder / f"qa-{name}.json")["revision"] for name in ("b0-00000100", "r0-00000100", "r0-00000100.rev0")] == [0, 1, 0]
    assert (folder / "preproc-r0-00000100.rev0.fits").is_file()
    assert (folder / "preproc-b0-00000100.fits").is_file()
    kept = {p.name for p in (folder / "plots").iterdir()}
    assert {p.replace("-r0-00000100", "-r0-00000100.rev0") for p in plots if "-r0-" in p} <= kept
    assert plots <= kept
    verdict = load(folder / "verdict.json")
    assert (verdict["revision"], sorted(verdict["parts"])) == (1, ["r0"])
    assert load(folder / "verdict.rev0.json")["revision"] == 0
    assert load(folder / "receipt.rev0.json")["revision"] == 0


def test_another_tag_is_another_result(night: Path, tmp_path: Path) -> None:
    for tag in ("one", "two"):
        assert run(night, tmp_path, "--no-plots", "--camera", "r0", "--tag", tag)[0] == 0
        assert load(tmp_path / tag / "exposures/20220101/00000100/verdict.json")["revision"] == 0
    assert not store_path(tmp_path).exists(), "a store is made by a daemon, or by hand"
    MetricStore(store_path(tmp_path), to_read=False).close()
    for words, revision in ((), 1), (("--only-qa", "read_noise"), 2):
        assert run(night, tmp_path, "--no-plots", "--camera", "r0", "--tag", "two", *words)[0] == 0
        with MetricStore(store_path(tmp_path)) as store:
            found = store.query("read_noise", tag="two")
            assert set(found["revision"].tolist()) == {revision}, "one that is there has it by itself"
            assert len(store.query("read_noise where tag = one")) == 0
            assert store.query("verdicts where camera = r0")["revision"].tolist() == [revision]


def test_the_verdict_is_that_of_the_worst_camera(tmp_path: Path) -> None:
    faulty = plan_exposure("zero", 100, faults=(Fault(name="dead_amp", camera="r0"),))
    write_calibrations(tmp_path, CAMERAS)
    write_exposure(tmp_path, faulty, CAMERAS)
    assert run(tmp_path, tmp_path / "out", "--no-plots")[0] == 1
    verdict = load(tmp_path / "out" / EXPOSURE / "verdict.json")
    assert verdict["status"] == "ALARM"
    assert verdict["reasons"][0].startswith("r0: ALARM")


@pytest.mark.parametrize("error", [ZeroDivisionError("of the program"), OSError("of nobody knows what"), UnicodeError("odd")])
def test_what_nobody_foresaw_is_a_report_and_70(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with mock.patch("quicklook.cli.validate.site_of", side_effect=error):
        code, said = quicklook("validate", cwd=tmp_path)
        (report,) = tmp_path.glob("quicklook-fault-*.txt")
        assert code == 70
        assert said.startswith(f"quicklook: this is a fault of the program: {type(error).__name__}: ")
        assert f"send {report}" in said
        assert said.count("\n") == 2
        text = report.read_text()
        assert all(word in text for word in ("Traceback", str(error), "numpy", "Python 3.", "command: "))
        assert report.stat().st_mode & 0o077 == 0
        for words, env in ((("validate",), {"QUICKLOOK_DEBUG": "1"}), (("--debug", "validate"), {})):
            with mock.patch.dict("os.environ"):
                code, said = quicklook(*words, cwd=tmp_path, env=env)
            assert (code, "Traceback" in said) == (70, True)


def test_no_password_stands_in_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["quicklook", "jobs", "--store", "postgresql://me:secret@host/name"])
    text = report_of(ValueError("postgresql+psycopg://me:secret@host:5432/name cannot be used"))
    assert "secret" not in text
    assert "command: quicklook jobs --store postgresql://me:***@host/name" in text
    assert "postgresql+psycopg://me:***@host:5432/name" in text


def test_a_fault_without_a_place_for_its_report_is_told_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with mock.patch("quicklook.cli.validate.site_of", side_effect=ZeroDivisionError("x")):
        code, said = quicklook("validate", cwd=tmp_path)
    assert (code, "no report could be written" in said) == (70, True)


@pytest.mark.parametrize(("number", "what"), [(13, "access"), (28, "room"), (5, "disk")])
def test_what_the_system_refuses_is_no_fault_of_the_program(tmp_path: Path, number: int, what: str) -> None:
    with mock.patch("quicklook.cli.validate.site_of", side_effect=OSError(number, os.strerror(number), "/the/file")):
        code, said = quicklook("validate", cwd=tmp_path)
    assert (code, "fault of the program" in said, "/the/file" in said, what in said.splitlines()[-1]) == (2, False, True, True)


def test_what_to_do_next_is_true(night: Path, tmp_path: Path) -> None:
    code, said = quicklook("run", "raw", "--instrument", "desi", "--raw", night / "raw", "--night", 20220101, "--expid", 5, cwd=tmp_path)
    assert (code, said.splitlines()[-1]) == (2, "  Check night and number, or the raw folder.")
    code, said = quicklook("listen", "--endpoint", "nowhere", cwd=tmp_path)
    assert (code, said) == (2, "quicklook: configuration: 'nowhere' is no address\n  Write tcp://HOST:PORT.\n")
    from quicklook.core.errors import Transient

    with mock.patch("quicklook.cli.validate.site_of", side_effect=Transient("the disk is away")):
        assert "by itself" not in quicklook("validate", cwd=tmp_path)[1]


def test_a_reader_that_has_gone_is_no_alarm(night: Path) -> None:
    command = f"{sys.executable} -m quicklook list metrics | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def site(folder: Path, text: str) -> Path:
    (folder / "at").mkdir(exist_ok=True)
    path = folder / "at" / "site.yaml"
    path.write_text(text)
    return path


def test_paths_in_a_site_are_relative_to_it(tmp_path: Path) -> None:
    path = site(tmp_path, "instrument: desi\nchains: {zero: mine/zeros.yaml, _default: raw}\nlimits: [default, mine/limits.yaml]\n")
    (tmp_path / "at/mine").mkdir()
    (tmp_path / "at/mine/zeros.yaml").write_text("chain: zeros\nsteps: [{name: read, qas: [read_noise]}]\n")
    (tmp_path / "at/mine/limits.yaml").write_text("limits: []\n")
    code, said = quicklook("validate", "--site", path, cwd=tmp_path)
    assert code == 0, said
    assert "chain zeros for zero" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("instrument: desi\nchains:\n  zero: zero\n  sience: raw\n", "site.yaml:4 (chains.sience): desi has no flavor 'sience'; did you mean 'science'?"),
        ("instrument: desi\nchains:\n  zero: zeros\n", "site.yaml:3 (chains.zero): no configuration chains/zeros.yaml; did you mean 'zero'?"),
        ("instrument: desi\nlimits:\n  - default\n  - mine\n", "site.yaml:4 (limits[1]): no configuration limits/mine.yaml"),
        ("instrument: desi\ncameras: [b0, q7]\n", "site.yaml:2 (cameras[1]): desi has no camera 'q7'"),
        ("instrument: desi\nsinks:\n  zmq: {endpoint: 'tcp://*:5556'}\n", "site.yaml:3 (sinks.zmq): tcp://*:5556 can be reached from other machines"),
        ("instrument: desi\nsinks:\n  zmq: {endpont: x}\n", "site.yaml:3 (sinks.zmq.endpont): unknown key 'endpont'; did you mean 'endpoint'?"),
        ("instrument: desi\nsinks:\n  fils: {}\n", "site.yaml:3 (sinks.fils): no sink is called 'fils'; did you mean 'files'?"),
    ],
)
def test_validate_refuses_with_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    code, said = quicklook("validate", "--site", site(tmp_path, text), cwd=tmp_path)
    assert code == 2
    assert says in said


def test_cameras_are_written_as_the_instrument_writes_them(tmp_path: Path) -> None:
    from quicklook.service.site import load_site

    assert load_site(site(tmp_path, "instrument: desi\ncameras: [B0]\n")).instrument.cameras.expected == ("b0",)


# ---- other packages


def distribution(folder: Path, entry_points: str, files: dict[str, str]) -> dict[str, str]:
    """A package as installed in `folder`; the environment in which it is found."""
    info = folder / "other-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200", "NO_COLOR": "1"}


def outside(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "quicklook", *words], capture_output=True, text=True, env=env, check=False)


def test_a_package_that_is_half_removed_breaks_no_command(tmp_path: Path) -> None:
    gone = "[quicklook.configs]\nother = other.configs\n[quicklook.qas]\nodd = other.qa:Odd\n[quicklook.commands]\ncmd = other.cli:add\n"
    env = distribution(tmp_path, gone, {})
    for words in (["validate", "raw"], ["list", "chains"], ["list", "metrics"]):
        done = outside(*words, env=env)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "other" in done.stderr


def test_another_package_takes_none_of_our_names(tmp_path: Path) -> None:
    files = {"other/__init__.py": "", "other/limits/default.yaml": "limits: []\n", "other/limits/theirs.yaml": "limits: []\n"}
    env = distribution(tmp_path, "[quicklook.configs]\nother = other\n", files)
    count = [outside("validate", "raw", env=e).stdout.splitlines()[0] for e in (env, {**env, "PYTHONPATH": ""})]
    assert count[0] == count[1]
    assert "theirs" in outside("list", "limits", env=env).stdout
