"""The installed command uses the plugins of a stranger: list, validate, run, and the daemon's events in its sink."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from example_package import SOURCE

from quicklook.sim import SimInstrument, plan_exposure, write_calibrations, write_exposure

Quicklook = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zero of one tiny camera, and its calibrations."""
    out = tmp_path_factory.mktemp("sim")
    camera = SimInstrument(camera="r0", scale="tiny", seed=3)
    write_calibrations(out, [camera])
    write_exposure(out, plan_exposure("zero", 101), [camera])
    return out


def raw_file(simulated: Path) -> Path:
    return next((simulated / "raw").rglob("desi-*.fits.fz"))


def test_list_shows_its_plugins(quicklook: Quicklook) -> None:
    shown = quicklook("list").stdout
    for name in ("subtract_median", "mean_level", "median_level", "lines"):
        (line,) = [one for one in shown.splitlines() if one.split()[1:2] == [name]]
        assert line.endswith("quicklook-example 1.2.3")
    assert "subtract_median" not in quicklook("list", package=False).stdout


@pytest.mark.parametrize(
    ("what", "name"), [("instruments", "example_bench"), ("chains", "example"), ("limits", "example_bench"), ("metrics", "example_level")]
)
def test_list_shows_its_configuration_and_metrics(quicklook: Quicklook, what: str, name: str) -> None:
    done = quicklook("list", what)
    assert done.returncode == 0, done.stderr
    assert any(line.split()[0] == name for line in done.stdout.splitlines())


def test_its_command_is_there(quicklook: Quicklook) -> None:
    assert quicklook("hello", "--name", "night crew").stdout == "hello night crew\n"
    assert "hello" in quicklook("--help").stdout


def test_validate_knows_its_chain(quicklook: Quicklook) -> None:
    done = quicklook("validate", "example", "--instrument", "example_bench")
    assert done.returncode == 0, done.stderr
    assert "steps read, preproc, subtract_median" in done.stdout
    wrong = quicklook("validate", "example", "--instrument", "example_bench", "-c", "subtract_median.fraction=7")
    assert wrong.returncode == 2
    assert "-c subtract_median.fraction=7: must be 1" in wrong.stderr


def test_run_uses_its_algorithm_and_its_qa(quicklook: Quicklook, simulated: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(f"instrument: desi\ncalib: {simulated / 'calib'}\nout: out\nlimits: [default, desi, example]\nplots: false\n")
    done = quicklook("run", "example", raw_file(simulated), "--site", site, cwd=tmp_path)
    assert done.returncode in (0, 1, 3), done.stderr
    assert "median_level" in done.stdout
    (written,) = (tmp_path / "out").rglob("qa-r0-00000101.json")
    result = json.loads(written.read_text())
    assert [s["name"] for s in result["steps"]] == ["read", "preproc", "subtract_median"]
    metrics = {m["name"]: m for q in result["qas"] for m in q["metrics"]}
    assert metrics["example_level"]["status"] == "NORMAL"
    assert metrics["example_level"]["coords"] == {"amp": ["A", "B", "C", "D"]}
    assert metrics["example_level"]["limits"][0]["source"].endswith("limits/example.yaml:2")
    assert result["provenance"]["versions"]["quicklook-example"] == "1.2.3"
    assert result["provenance"]["chain"] == "example"


def test_its_sink_receives_the_events_of_the_daemon(quicklook: Quicklook, simulated: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(
        f"""instrument: desi
raw: {simulated / "raw"}
out: out
plots: false
chains: {{_default: example}}
limits: [default, desi, example]
work: {{executor: inline}}
watch: {{settle_s: 0, companion_s: 0}}
sinks: {{lines: {{file: said.txt}}}}
"""
    )
    done = quicklook("watch", "--site", site, "--idle", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in (tmp_path / "out" / "said.txt").read_text().splitlines()]
    topics = [line[1] for line in lines]
    assert {"qa/r0/median_level", "verdict/r0/-", "unit_verdict/-/-"} <= set(topics)
    assert {t.split("/")[0] for t in topics} == {"qa", "verdict", "unit_verdict"}  # the kinds that it asked for
    numbers = [int(line[0]) for line in lines]
    assert numbers == sorted(set(numbers))
    assert {line[2] for line in lines} == {"20220101/00000101"}


def test_a_sink_that_is_not_there_is_told(quicklook: Quicklook, tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("instrument: desi\nsinks: {line: {}}\n")
    done = quicklook("validate", "--site", site)
    assert done.returncode == 2
    assert "no sink is called 'line'; did you mean 'lines'" in done.stderr


def builds_wheels() -> bool:
    """Whether the build backend of this environment makes wheels on its own: newer ones, or with the package `wheel`."""
    try:
        return tuple(int(p) for p in version("setuptools").split(".")[:2]) >= (70, 1) or bool(version("wheel"))
    except PackageNotFoundError:
        return False


@pytest.mark.skipif(not builds_wheels(), reason="pip cannot build here without a network: setuptools is older than 70.1 and wheel is not installed")
def test_pip_installs_the_same_as_the_tests_lay_out(installed: Path, tmp_path: Path) -> None:
    import shutil

    source = shutil.copytree(SOURCE, tmp_path / "source")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--target", str(tmp_path / "site")]
    done = subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr

    def contents(folder: Path) -> set[str]:
        found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix not in (".pyc",)}
        return {f for f in found if ".dist-info/" not in f or f.endswith("entry_points.txt")}

    assert contents(tmp_path / "site") == contents(installed)
