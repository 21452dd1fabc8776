"""`aim`, `diff` and `clean`: an exposure done again in whole, from a step on, and with other parameters; what differs; what is removed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from inprocess import told

from quicklook.core.results import PartResult
from quicklook.io.spectrafile import read_frame
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

CAMERAS = sim_instruments(("r0",), scale="tiny", seed=5)
EXPOSURE = "exposures/20220101/00000101"
SITE = """\
instrument: desi
raw: raw
calib: calib
out: out
plots: false
work: {executor: EXECUTOR}
products: [preproc, fframe, sframe, traceshift]
"""


def quicklook(*words: object, cwd: Path, answer: str = "") -> tuple[int, str]:
    return told(*words, cwd=cwd, env={"QUICKLOOK_SITE": str(cwd / "site.yaml")}, answer=answer)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zero and a science exposure, done once under the tag `base`."""
    folder = tmp_path_factory.mktemp("night")
    (folder / "site.yaml").write_text(SITE.replace("EXECUTOR", "inline"))
    write_calibrations(folder, CAMERAS)
    for plan in (plan_exposure("zero", 100), plan_exposure("science", 101)):
        write_exposure(folder, plan, CAMERAS)
    code, text = quicklook("aim", "--expid", "100-101", "--tag", "base", cwd=folder)
    assert code in (0, 1, 3), text  # a tiny camera need not be NORMAL
    return folder


def result(night: Path, tag: str) -> PartResult:
    return PartResult.model_validate_json((night / "out" / tag / EXPOSURE / "qa-r0-00000101.json").read_bytes())


def values(found: PartResult) -> dict[str, list[float | None]]:
    return {m.name: m.values for q in found.qas for m in q.metrics}


def test_a_dry_run_counts_first_and_writes_nothing(night: Path) -> None:
    code, text = quicklook("aim", "--night", "20220101", "--expid", "100-105", "--where", "flavor in (science, zero)", "--dry-run", cwd=night)
    assert code == 0
    assert text.startswith("2 exposures, 2 cameras of 1 night -> tag aim-")
    assert "1  science: chain science" in text
    assert not list((night / "out").glob("aim-*"))
    assert quicklook("aim", "--expid", "7", "--dry-run", cwd=night)[0] == 3


def test_from_a_step_on_nothing_else_changes(night: Path) -> None:
    _, text = quicklook("aim", "--expid", "100-101", "--tag", "sky", "--from-step", "sky", "--from-tag", "base", cwd=night)
    assert "from step sky on, products of tag base" in text
    assert "1  left out (exposures): their chain has no such step" in text
    again, before = result(night, "sky"), result(night, "base")
    assert values(again) == values(before)
    assert (again.tag, again.status, [q.name for q in again.qas]) == ("sky", before.status, [q.name for q in before.qas])
    assert next(q for q in again.qas if q.name == "read_noise").facts["taken_from"] == "tag base, revision 0"
    for name in ("cframe-r0-00000101.fits", "fframe-r0-00000101.fits", "psf-r0-00000101.fits"):
        assert (night / "out/sky" / EXPOSURE / name).is_file()
    one, two = (read_frame(night / "out" / tag / EXPOSURE / "cframe-r0-00000101.fits") for tag in ("base", "sky"))
    assert (one.flux == two.flux).all()
    assert quicklook("diff", "base", "sky", cwd=night)[0] == 0


def test_what_is_not_stored_is_named(night: Path) -> None:
    shutil.copytree(night / "out/base", night / "out/bare")
    for tag in ("fframe", "frame"):
        (night / "out/bare" / EXPOSURE / f"{tag}-r0-00000101.fits").unlink()
    for more in ((), ("--dry-run",)):
        code, text = quicklook("aim", "--expid", "101", "--from-step", "compute_sky", "--from-tag", "bare", *more, cwd=night)
        assert code == 2
        assert "step compute_sky needs the frame that step apply_fiberflat has made, which is not stored" in text
        assert "--write frame,fframe" in text
    (night / "out/bare" / EXPOSURE / "preproc-r0-00000101.fits").unlink()
    code, text = quicklook("aim", "--expid", "101", "--only-qa", "image_level", "--from-tag", "bare", "--dry-run", cwd=night)
    assert (code, "QA image_level needs the preproc that step preproc" in text) == (2, True), text
    code, text = quicklook("aim", "--expid", "101", "--from-step", "flexur", "--from-tag", "base", cwd=night)
    assert code == 2
    assert "no step flexur; it has: preproc, flexure" in text
    shutil.rmtree(night / "out/bare")


def test_another_parameter_shows_in_the_diff(night: Path) -> None:
    words = ("--expid", "101", "--tag", "noisy", "--from-step", "boxcar_extract", "--from-tag", "base", "-c", "boxcar_extract.width=3.0")
    code, text = quicklook("aim", *words, cwd=night)
    assert code != 2, text
    code, text = quicklook("diff", "base", "noisy", cwd=night)
    assert code in (0, 1)
    assert "they differ in: parameters of chain science (1 camera)" in text
    assert "1 only in base: 20220101/00000100/r0" in text
    data = json.loads(quicklook("diff", "base", "noisy", "--json", cwd=night)[1])
    changed = {m["name"] for p in data["parts"] for m in p["metrics"]}
    one, two = values(result(night, "base")), values(result(night, "noisy"))
    assert changed == {n for n in one if n in two and one[n] != two[n]}


def test_a_qa_alone_goes_into_a_tag_of_its_own(night: Path) -> None:
    before = result(night, "base")
    code, text = quicklook("aim", "--expid", "101", "--tag", "one", "--only-qa", "read_noise", "--from-tag", "base", cwd=night)
    assert code != 2, text
    after = result(night, "one")
    assert values(after) == values(before)
    assert [q.name for q in after.qas if "measured_again" in q.facts] == ["read_noise"]
    assert not list((night / "out/one" / EXPOSURE).glob("*.fits"))
    assert result(night, "base") == before


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--tag", "live"), "the tag of live work"),
        (("--where", "exptime >"), "character 10"),
        (("--camera", "x9"), "no exposure that is chosen has x9"),
        (("--from-step", "sky", "--from-tag", "nowhere"), "no results under tag 'nowhere'"),
        (("--from-step", "sky", "--only-qa", "snr", "--from-tag", "base"), "not both"),
        (("--only-qa", "sn", "--from-tag", "base"), "Did you mean snr"),
        (("--tag", "base", "--from-step", "sky", "--from-tag", "base"), "under the same tag"),
        (("--session", "site.yaml", "--test", "BIAS01"), "has written none"),
        (("--resume",), "nothing to resume"),
        (("--resume", "--tag", "base"), "--expid cannot change"),
        (("--where", ""), "--where is empty"),
        (("--calib", "nowhere"), "nowhere is not there"),
        (("--calib", "raw", "--dry-run"), "holds neither"),
        (("--tag", " "), "--tag is empty"),
        (("--where", "expid=101", "--where", "camera=r0"), "more than once"),
        (("--from-tag", "base"), "--from-tag goes with"),
    ],
)
def test_what_cannot_be_is_refused(night: Path, words: tuple[str, ...], why: str) -> None:
    code, text = quicklook("aim", "--expid", "101", *words, cwd=night)
    assert (code, why in text) == (2, True), text


def test_the_processings_are_listed(night: Path) -> None:
    code, text = quicklook("aim", "--expid", "100", "--list", cwd=night)
    assert code == 0
    assert "20220101/00000100  zero: 1 processing" in text
    assert "    base@0  " in text
    (listed,) = json.loads(quicklook("aim", "--expid", "100", "--list", "--json", cwd=night)[1])
    (known,) = listed["processings"]
    assert (listed["exposure"], known["tag"], known["revision"], known["cameras"], known["last"]) == ("20220101/00000100", "base", 0, ["r0"], True)
    assert quicklook("aim", "--make-default", "base", cwd=night)[0] == 0
    assert "default last" in quicklook("aim", "--expid", "100", "--list", cwd=night)[1]
    (night / "out/default.json").unlink()


def test_a_run_goes_on_with_the_options_it_began_with(night: Path) -> None:
    shutil.copytree(night / "calib", night / "calib-new", dirs_exist_ok=True)
    words = ("aim", "--expid", "100", "--tag", "cut", "--calib", "calib-new", "-c", "preproc.overscan=row", "--write", "preproc")
    assert quicklook(*words, cwd=night)[0] in (0, 1, 3)
    plan = night / "out/cut/aim.json"
    ended = json.loads(plan.read_text())
    plan.write_text(json.dumps({**ended, "state": "running"}))
    (night / "out/cut/aim.done").unlink()  # as if it had been killed at the very beginning
    code, text = quicklook("aim", "--resume", "--tag", "cut", "--calib", "calib", cwd=night)
    assert (code, "calibrations: " in text, "calib-new then" in text) == (2, True, True), text
    code, text = quicklook("aim", "--resume", "--tag", "cut", "-c", "preproc.overscan=none", cwd=night)
    assert (code, "chain or parameters for zero" in text) == (2, True), text
    code, text = quicklook("aim", "--resume", "--tag", "cut", cwd=night)
    assert (code in (0, 1, 3), "1 exposure of 1" in text) == (True, True), text
    again = PartResult.model_validate_json((night / "out/cut/exposures/20220101/00000100/qa-r0-00000100.json").read_bytes())
    assert {Path(c.source).parts[-4] for c in again.provenance.calibrations} == {"calib-new"}
    assert again.provenance.config_sha256 == ended["configuration"]["zero"]
    shutil.rmtree(night / "out/cut")


def test_an_option_that_is_given_twice_counts_twice(night: Path) -> None:
    text = quicklook("aim", "--expid", "100", "--expid", "101", "--camera", "b0", "--camera", "r0", "--dry-run", cwd=night)[1]
    assert "no exposure that is chosen has b0" in text
    text = quicklook("aim", "--expid", "100", "--expid", "101", "--camera", "r0", "--camera", "r*", "--dry-run", cwd=night)[1]
    assert "2 exposures, 2 cameras" in text
    text = quicklook("aim", "--night", "20220101", "--where", "flavor=arc", "--dry-run", cwd=night)[1]
    assert "nothing is chosen: 2 files" in text


def test_what_is_stored_is_listed_where_the_raw_files_are_gone(night: Path) -> None:
    (night / "raw").rename(night / "away")
    try:
        code, text = quicklook("aim", "--expid", "100", "--list", cwd=night)
    finally:
        (night / "away").rename(night / "raw")
    assert (code, "20220101/00000100  zero: " in text, "base@0" in text) == (0, True, True), text


def test_intermediate_products_are_removed_and_nothing_else(night: Path) -> None:
    out = night / "cleaned"
    shutil.copytree(night / "out/base", out / "base")
    before = {p for p in out.rglob("*") if p.is_file()}
    preproc = {p for p in before if p.name.startswith("preproc-")}
    assert len(preproc) == 2
    for words, answer, said in ((("--dry-run",), "", "2 files"), ((), "n\n", "nothing was removed"), (("--older-than", "1", "--yes"), "", "0 files")):
        code, text = quicklook("clean", out, "--kind", "preproc", *words, cwd=night, answer=answer)
        assert (code, said in text) == (0, True), text
        assert {p for p in out.rglob("*") if p.is_file()} == before
    code, text = quicklook("clean", out, "--kind", "preproc", cwd=night)
    assert (code, "nobody answered" in text) == (2, True)
    code, text = quicklook("clean", out, "--kind", "preproc", cwd=night, answer="y\n")
    assert (code, "removed: " in text) == (0, True)
    assert {p for p in out.rglob("*") if p.is_file()} == before - preproc


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("raw", "--kind", "preproc"), "no output folder of quicklook"),
        (("out", "--kind", "raw"), "no kind 'raw'"),
        (("out", "--kind", "cframe"), "are results"),
        (("out", "--kind", "preproc", "--tag", "nowhere"), "no results under tag"),
    ],
)
def test_what_may_not_be_cleaned(night: Path, words: tuple[str, ...], why: str) -> None:
    code, text = quicklook("clean", *words, "--yes", cwd=night)
    assert (code, why in text) == (2, True), text


@pytest.mark.long
def test_worker_processes_give_the_same(night: Path) -> None:
    site = (night / "site.yaml").read_text()
    (night / "site.yaml").write_text(site.replace("inline", "processes"))
    try:
        code, text = quicklook("aim", "--expid", "100-101", "--tag", "workers", cwd=night)
    finally:
        (night / "site.yaml").write_text(site)
    assert code != 2, text
    assert quicklook("diff", "base", "workers", cwd=night)[0] == 0
    assert values(result(night, "workers")) == values(result(night, "base"))
