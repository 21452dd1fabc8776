"""`quicklook query`: asked, listed, filled from stored results and the journal."""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from store_events import NIGHT, Told, exposure, metric, noise, qa, seen, unit_of, verdict
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.errors import BadConfig, NotReadyYet
from quicklook.core.events import Draft, Overridden, UnitDone, draft
from quicklook.core.results import PartResult, Provenance, QAResult, UnitVerdict
from quicklook.core.status import Status
from quicklook.io.atomic import write_json
from quicklook.io.folders import exposure_folder
from quicklook.io.metricstore import store_path
from quicklook.io.metricstore.opening import open_store
from quicklook.io.metricstore.writing import Writer
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.rerun.restoring import note_exposures
from quicklook.service.site import load_site

TAGS = {"flavor": "zero", "start": "2022-01-02T00:07:00+00:00", "program": "calib"}


def ask(*words: object) -> Result:
    done = CliRunner(env={"COLUMNS": "250", "QUICKLOOK_SITE": ""}).invoke(app, ["query", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def out(tmp_path: Path) -> Path:
    engine = open_store(str(store_path(tmp_path)), to_read=False)
    told = Told()
    for expid in (7, 8):
        assert Writer(engine).write(exposure(told, expid, ("b0", "r0"))) == []
    engine.dispose()
    return tmp_path


def test_formats(out: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(ask("read_noise where camera=r0 and night>=20220101", "--csv", "--out", out).stdout)))
    assert len(rows) == 8
    assert rows[2]["read_noise [electron]"] == "4.5"
    found = json.loads(ask("read_noise where camera=r0 and amp=C", "--json", "--out", out).stdout)
    assert [dict(zip(found["columns"], row, strict=True))["status"] for row in found["rows"]] == ["WARNING"] * 2
    shown = ask("read_noise where camera=r0", "--out", out).stdout
    assert "camera r0" in shown.splitlines()[0], "what is the same in every row stands above"
    assert "read_noise [electron]" in shown
    one = ask("read_noise where camera=r0 and amp=A and expid=7", "--out", out).stdout
    assert "time 2022-01-02T00:07:00.000Z, night 20220101, expid 7, camera r0" in one, "of one row, too"
    limited = ask("read_noise", "--limit", 3, "--table", "--out", out)
    assert "there are older ones" in limited.stderr
    listed = ask("--list", "--out", out).stdout
    assert "read_noise [electron] by amp: what read_noise is" in listed
    assert "verdicts: verdicts of cameras" in listed
    assert ask("--list", "dead*", "--out", out).stdout == "dead_fibers: what dead_fibers is\n"


def test_the_verdict_of_the_whole_exposure_says_so_in_a_table(tmp_path: Path) -> None:
    whole = UnitDone(night=NIGHT, expid=7, tag="live", revision=0, tags=TAGS, status=Status.NORMAL, reasons=[], parts={})
    engine = open_store(str(store_path(tmp_path)), to_read=False)
    told = Told()
    assert Writer(engine).write([*exposure(told, 7, ("b0",)), told(whole, unit_of(7))]) == []
    engine.dispose()
    rows = ask("verdicts", "--out", tmp_path).stdout.splitlines()
    assert len([row for row in rows if "(all)" in row]) == 1, rows
    found = json.loads(ask("verdicts", "--json", "--out", tmp_path).stdout)
    assert sorted(row[found["columns"].index("camera")] for row in found["rows"]) == ["", "b0"]


def test_exposures_whose_numbers_have_17_digits_are_told_apart(tmp_path: Path) -> None:
    engine, told = open_store(str(store_path(tmp_path)), to_read=False), Told()
    for expid in (20220101203000123, 20220101203000124):
        assert Writer(engine).write(exposure(told, expid)) == []
    engine.dispose()
    for what in ("verdicts", "dead_fibers"):
        found = json.loads(ask(f"{what} where expid = 20220101203000124", "--json", "--out", tmp_path).stdout)
        assert [row[found["columns"].index("expid")] for row in found["rows"]] == [20220101203000124]


def test_old_elements_are_dropped_by_hand(out: Path) -> None:
    # the exposures are of 2022
    assert ask("--prune", 30, "--dry-run", "--out", out).stdout == "elements of 4 cameras of exposures would be dropped\n"
    assert len(ask("read_noise", "--csv", "--out", out).stdout.splitlines()) == 17
    assert ask("--prune", 30, "--out", out).stdout.startswith("elements of 4 metrics of 4 cameras of exposures were dropped")
    left = ask("read_noise", "--csv", "--out", out)
    assert len(left.stdout.splitlines()) == 5
    assert "only the median is kept" in left.stderr
    assert ask("--prune", 30, "--dry-run", "--out", out).stdout.startswith("elements of 0 ")


@pytest.mark.parametrize("words", [("--prune", "0"), ("--prune", "nan"), ("--prune", "-3"), ("--prune", "x")])
def test_days_that_are_none(out: Path, words: tuple[str, ...]) -> None:
    assert ask(*words, "--out", out).exit_code == 2
    assert len(ask("read_noise", "--csv", "--out", out).stdout.splitlines()) == 17


def test_nothing_found_is_status_3_with_the_header_alone(out: Path) -> None:
    done = ask("read_noise where camera=b9", "--csv", "--out", out)
    assert done.exit_code == 3
    assert done.stdout.startswith("time,night,")
    assert "nothing was found" in done.stderr
    other = ask("read_noise", "--tag", "other", "--out", out)
    assert (other.exit_code, other.stdout) == (3, ""), "no table of nothing"
    assert "no recent result has tag 'other'; there are live" in other.stderr
    assert "no recent result has camera 'R0'; there are b0, r0" in ask("read_noise where camera in (R0) and amp = A", "--out", out).stderr
    assert ask("read_noise where camera = r0 and value > 100", "--out", out).stderr == "nothing was found\n"
    assert ask("read_noise", "--tag", "all", "--since", "2022-01-02T00:08", "--until", NIGHT, "--out", out).exit_code == 0


@pytest.mark.parametrize(
    "words", [(), ("read_nois",), ("read_noise", "--csv", "--json"), ("read_noise", "--revision", "first"), ("read_noise where x=1",), ("read_noise", "--since", "x"), ("--dry-run",)]
)
def test_what_cannot_be_asked(out: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(BadConfig) as refused:
        ask(*words, "--out", out)
    assert refused.value.what_next


def test_without_a_store_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotReadyYet) as none:
        ask("read_noise", "--out", tmp_path)
    assert "--rebuild" in none.value.what_next
    with pytest.raises(NotReadyYet):
        ask("--prune", 30, "--out", tmp_path)
    assert list(tmp_path.iterdir()) == []


def store_result(out: Path, expid: int, tag: str, revision: int, *, whole: bool, level: float = 2.0) -> None:
    folder = exposure_folder(out, tag, unit_of(expid))
    about: dict[str, Any] = {"night": NIGHT, "expid": expid, "tag": tag, "revision": revision, "status": Status.NORMAL, "reasons": []}
    found = QAResult(**qa(noise((level, 3.0, 4.5, 8.0)), metric("dead_fibers", [1.0])).model_dump())
    made_by = Provenance(versions={}, chain="zero", config_sha256="", limits_sha256="")
    result = PartResult(part="r0", tags={**TAGS, "arm": "r"}, measured=1, expected=1, steps=[], qas=[found], provenance=made_by, **about)
    name = f"qa-r0-{expid:08d}"
    ending = f".rev{revision}.json" if level != 2.0 else ".json"
    write_json(folder / f"{name}{ending}", result.model_dump(mode="json"))
    if whole:
        write_json(folder / "verdict.json", UnitVerdict(tags=TAGS, parts={"r0": Status.NORMAL}, **about).model_dump(mode="json"))


def test_a_store_is_filled_from_files_and_journal(tmp_path: Path) -> None:
    store_result(tmp_path, 7, "live", 1, whole=True)
    store_result(tmp_path, 7, "live", 0, whole=False, level=1.5)  # an earlier revision, kept under its number
    store_result(tmp_path, 8, "run", 0, whole=False)
    folder = exposure_folder(tmp_path, "live", unit_of(9))
    folder.mkdir(parents=True)
    (folder / "qa-r0-00000009.json").write_text("{broken")
    journal = Journal(journal_path(tmp_path), time.time_ns)
    events = exposure(Told(), 10)
    journal.append([Draft(**e.model_dump(include=set(Draft.model_fields))) for e in events])
    change = Overridden(part="r0", was=Status.NORMAL, status=Status.ALARM, by="me", reason="why", time=5)
    journal.append([draft(change, unit=unit_of(10), part="r0", revision=1)])
    journal.close()
    done = ask("--rebuild", "--out", tmp_path)
    assert "filled from 2 stored exposures and 4 events of the journal" in done.stdout
    assert "qa-r0-00000009.json is left out" in done.stderr
    before = ask("read_noise where amp = A", "--csv", "--tag", "all", "--revision", "all", "--out", tmp_path).stdout
    rows = list(csv.DictReader(io.StringIO(before)))
    assert [(r["expid"], r["tag"], r["revision"], r["read_noise [electron]"]) for r in rows] == [
        ("7", "live", "0", "1.5"), ("7", "live", "1", "2.0"), ("8", "run", "0", "2.0"), ("10", "live", "0", "2.0"),
    ]  # fmt: skip
    assert ask("read_noise where arm = r and program = calib and flavor = zero", "--tag", "run", "--out", tmp_path).exit_code == 0
    assert ask("overrides where by = me", "--out", tmp_path).exit_code == 0
    assert "2022-01-02T00:07:00.000Z" in before
    ask("--rebuild", "--out", tmp_path)
    assert ask("read_noise where amp = A", "--csv", "--tag", "all", "--revision", "all", "--out", tmp_path).stdout == before, "nothing is doubled"


def test_results_of_aim_mode_are_brought_into_a_store_that_is_there(tmp_path: Path) -> None:
    store_result(tmp_path, 7, "redo", 0, whole=True)
    store_result(tmp_path, 8, "redo", 0, whole=True)
    site = load_site(None, options={"instrument": "desi", "out": str(tmp_path)})
    path = store_path(tmp_path)
    assert note_exposures(site, "redo", [unit_of(7)]) == ""
    assert not path.exists(), "it makes none"
    open_store(str(path), to_read=False).dispose()
    assert note_exposures(site, "redo", [unit_of(7)]) == ""
    found = json.loads(ask("read_noise where arm = r and amp = A", "--tag", "redo", "--json", "--out", tmp_path).stdout)
    assert [row[2] for row in found["rows"]] == [7], "of these exposures alone"
    path.write_bytes(b"no database " * 100)
    assert "query --rebuild" in note_exposures(site, "redo", [unit_of(8)]), "the run itself is not lost"


def test_the_store_of_a_site(out: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(f"instrument: desi\nout: {tmp_path}/other\nsinks: {{metrics: {{url: {store_path(out)}}}}}\n")
    assert ask("read_noise", "--site", site, "--csv").exit_code == 0
    site.write_text(f"instrument: desi\nout: {tmp_path}\nsinks: {{metrics: {{ulr: x}}}}\n")
    with pytest.raises(BadConfig, match="url"):
        ask("read_noise", "--site", site)


def test_escapes_in_names_do_nothing_to_a_terminal(tmp_path: Path) -> None:
    engine = open_store(str(store_path(tmp_path)), to_read=False)
    told = Told()
    strange = metric("level", [1.0, 2.0], coords={"amp": ["\x1b[2J", "B"]})
    events = exposure(told, 7)
    assert Writer(engine).write([*events, told(qa(strange), unit_of(7), "r0\x1b]0;x\x07")]) == []
    engine.dispose()
    done = ask("level", "--out", tmp_path)
    assert "\x1b[2J" not in done.stdout
    assert "\x07" not in done.stdout


def test_the_script_of_the_how_to_runs_as_it_is_written(out: Path, repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    text = (repo_root / "docs/how-to/query-metrics.md").read_text()
    script = textwrap.dedent(re.search(r"(    from quicklook\.metrics import MetricStore\n.*?)\n\n(?=\S)", text, re.DOTALL)[1])  # type: ignore[index]
    monkeypatch.chdir(out)
    names: dict[str, Any] = {}
    exec(script.replace("out/metrics.sqlite", "metrics.sqlite"), names)
    assert names["found"]["value"].tolist() == [2.0, 2.0]
    names["store"].close()


def test_the_examples_of_the_how_to_can_be_asked(out: Path, repo_root: Path) -> None:
    text = (repo_root / "docs/how-to/query-metrics.md").read_text()
    asked = [found for found in re.findall(r'quicklook query "([^"]+)"', text) if "detectors." not in found]  # a script's own
    assert len(asked) >= 6
    engine = open_store(str(store_path(out)), to_read=False)
    told, unit = Told("two"), unit_of(9)
    more = [metric("sky_chi2_fiber", [1.0]), metric("delta_mag", [1.0]), metric("hk_temperature", [1.0], coords={"channel": ["C"], "statistic": ["median"]})]
    seen_ = seen(9, arm="r")
    assert Writer(engine).write([told(seen_, unit), told(qa(*more, name="others"), unit, "r0"), told(verdict(), unit, "r0")]) == []
    engine.dispose()
    assert all(ask(query, "--out", out).exit_code in (0, 3) for query in asked)


def test_verdicts_are_asked_for_by_tags_of_camera_and_exposure(tmp_path: Path) -> None:
    for expid in (7, 8):
        store_result(tmp_path, expid, "live", 0, whole=True)
    ask("--rebuild", "--out", tmp_path)
    found = json.loads(ask("verdicts where arm = r and flavor = zero and status <= NORMAL and expid = 7", "--json", "--out", tmp_path).stdout)
    assert [dict(zip(found["columns"], row, strict=True))["camera"] for row in found["rows"]] == ["r0"]
    assert ask("verdicts where arm = b", "--out", tmp_path).exit_code == 3
    started = json.loads(ask("verdicts where start < 2023 and camera = r0", "--json", "--out", tmp_path).stdout)
    assert len(started["rows"]) == 2, "the exposure says it"
