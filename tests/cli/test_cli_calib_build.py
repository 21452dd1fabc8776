"""`quicklook calib build` from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from astropy.io import fits
from inprocess import Done, quicklook

from quicklook.core.builder import load_builder
from quicklook.io.calibstore import FolderStore
from quicklook.io.configfiles import find_config, list_configs
from quicklook.io.reader import FitsReader
from quicklook.sim import Fault, WriteOptions, plan_exposure, sim_instruments, write_exposure

CAMERAS = sim_instruments(("b0", "r0"), scale="tiny", seed=5)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Zeros 10 to 16, of which 13 has a dead amplifier in r0; darks 20 to 23 of two lengths."""
    folder = tmp_path_factory.mktemp("night")
    plain = WriteOptions(truth=False)
    for i in range(10, 17):
        faults = (Fault(name="dead_amp", camera="r0"),) if i == 13 else ()
        write_exposure(folder, plan_exposure("zero", i, faults=faults), CAMERAS, plain)
    for i in range(20, 24):
        write_exposure(folder, plan_exposure("dark", i, exptime=600.0 if i < 22 else 1200.0), CAMERAS, plain)
    return folder


def build(night: Path, *words: object) -> Done:
    return quicklook("calib", "build", *words, "--instrument", "desi", "--raw", night / "raw")


def test_a_bias_and_a_dark_of_every_camera(night: Path, tmp_path: Path) -> None:
    done = build(night, "bias", "--night", 20220101, "--expid", "10-16", "--calib", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "b0: ● NORMAL" in done.stdout
    assert "made from 10, 11, 12, 14, 15, 16" in done.stdout
    assert "desi-00000013.fits.fz was left out (ALARM): ALARM: dead_amp of amp" in " ".join(done.stdout.split())
    dark = build(night, "dark", "--expid", "20-23", "--calib", tmp_path, "--camera", "r0", "-q", "--no-plots")
    assert dark.returncode == 0, dark.stdout + dark.stderr
    entries = {(e.kind, e.camera): e for e in FolderStore(tmp_path).entries()}
    assert set(entries) == {("bias", ("b0",)), ("bias", ("r0",)), ("dark", ("r0",)), ("mask", ("r0",))}
    assert entries["bias", ("r0",)].made_from == (10, 11, 12, 14, 15, 16)
    assert entries["bias", ("b0",)].made_from == (10, 11, 12, 13, 14, 15, 16)
    record = json.loads((tmp_path / "calib-dark-r0-20220101-00000020.json").read_text())
    assert [c["kind"] for c in record["result"]["provenance"]["calibrations"]] == ["bias"]  # the one that was made before
    header = fits.getheader(tmp_path / record["files"]["dark"])
    assert (header["EXPTIME"], header["CALSRC00"].split("/")[-1]) == (3600.0, "bias-r0-20220101-00000010.fits")
    checked = quicklook("calib", "check", "--calib", tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_is_made_can_be_used_at_once(night: Path, tmp_path: Path) -> None:
    build(night, "bias", "--expid", "10-12,14-16", "--calib", tmp_path / "calib", "--camera", "r0", "-q")
    raw = next((night / "raw").rglob("desi-00000011.fits.fz"))
    done = quicklook("run", "zero", raw, "--camera", "r0", "--instrument", "desi", "--calib", tmp_path / "calib", "--out", tmp_path / "out", "--no-plots")
    assert done.returncode == 0, done.stdout
    result = json.loads(next((tmp_path / "out").rglob("qa-r0-00000011.json")).read_text())
    assert [(c["kind"], c["chosen_as"]) for c in result["provenance"]["calibrations"]] == [("bias", "night")]


def test_files_may_be_named_and_nothing_needs_to_be_entered(night: Path, tmp_path: Path) -> None:
    files = sorted((night / "raw").rglob("desi-0000001[0-2,4-5].fits.fz"))
    done = build(night, "bias", "--files", *files, "--camera", "b0", "--out", tmp_path / "made", "--no-add", "--no-plots")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not in the index" in done.stdout
    assert {p.name for p in (tmp_path / "made").iterdir()} == {"bias-b0-20220101-00000010.fits", "calib-bias-b0-20220101-00000010.json"}


def test_too_few_end_with_3_and_say_why(night: Path, tmp_path: Path) -> None:
    done = build(night, "bias", "--expid", "10-13", "--camera", "r0", "--calib", tmp_path)
    assert done.returncode == 3
    assert "made from 5 good exposures (zero) at least; 3 of 4 are" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bias", "--expid", "10-16"), "where shall the calibration go? give --calib FOLDER"),
        (("bais", "--expid", "10-16", "--calib", "x"), "did you mean 'bias'?"),
        (("bias", "--calib", "x"), "nothing to build from"),
        (("bias", "--expid", "16-10", "--calib", "x"), "'16-10' is no number and no range"),
        (("bias", "--expid", "99", "--calib", "x"), "there is no exposure 99"),
        (("bias", "--files", "nothing.fits", "--calib", "x"), "there is no file nothing.fits"),
        (("bias", "--expid", "10-16", "--calib", "x", "--camera", "z9"), "no file has camera z9; there are: b0, r0"),
        (("bias", "--expid", "10-16", "--calib", "x", "-c", "master_bias.clipp=4"), "did you mean 'clip'"),
    ],
)
def test_what_cannot_be_ends_with_2(night: Path, words: tuple[str, ...], message: str) -> None:
    done = build(night, *words)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert not Path("x").exists()


def test_a_parameter_may_be_set(night: Path, tmp_path: Path) -> None:
    done = build(night, "bias", "--expid", "10-16", "--camera", "b0", "--calib", tmp_path, "-c", "master_bias.head=3", "-q", "--no-plots")
    assert done.returncode == 0, done.stdout + done.stderr


def test_exposures_of_several_nights_are_named_with_them() -> None:
    from types import SimpleNamespace

    from quicklook.cli.calib_build import _made_from
    from quicklook.core.group import MemberVerdict

    members = [MemberVerdict(night=n, expid=e, status=None, taken=e != 9, reasons=[]) for n, e in ((20220101, 3), (20220101, 9), (20220101, 4), (20220102, 3))]
    assert _made_from(SimpleNamespace(products={"bias": 1}, members=members[:3])) == "made from 3, 4"  # type: ignore[arg-type]
    assert _made_from(SimpleNamespace(products={"bias": 1}, members=members)) == "made from 3, 4 of night 20220101; 3 of night 20220102"  # type: ignore[arg-type]
    assert _made_from(SimpleNamespace(products={}, members=members)) == "nothing was made"  # type: ignore[arg-type]


def test_every_builder_that_is_shipped_can_be_loaded() -> None:
    names = list_configs("builders")
    assert {"bias", "dark"} <= set(names)
    for name in names:
        builder = load_builder(find_config("builders", name), provides=FitsReader.provides)
        assert builder.name, name
        assert builder.doc, name
        assert builder.member.qas, f"{name}: without a QA no exposure is ever in order"
    assert quicklook("list", "builders").stdout.split() == list(names)
